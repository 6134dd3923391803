/* SPDX-License-Identifier: MIT */
#version 460
/*
 * The results of rows whose keys were split over workgroups: merges the states of all splits of a tile, in their order, and finishes as forward does.
 * A workgroup is the tile's, and a lane meets what the same lane left in each split. No shared memory, no barrier.
 */
#extension GL_GOOGLE_include_directive : require
#include "extensions.glsl"
#include "address.glsl"
#include "element.glsl"
#include "arguments.glsl"
#include "constants.glsl"
#include "positions.glsl"
#include "tile.glsl"
#include "score.glsl"
#include "softmax.glsl"

const uint SUM_QUADS = ROWS_PER_LANE * LANE_VALUE_QUADS;
#include "state.glsl"
#include "result.glsl"

/* Where a split's sums or pairs of row slot `slot` are; a dispatch of forward had all splits one after another. */
uint split_index(uint split, uint slot, uint slots)
{
    return state_index(slot, slots) + split * (state_workgroups() * slots * gl_WorkGroupSize.x);
}

void find_maxima(StatePairs pairs)
{
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        maximum[r] = SCORE_NONE;
        sum[r] = 0;
    }
    uint split = 0;
    do {
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            maximum[r] = max(maximum[r], pairs.at[split_index(split, r, ROWS_PER_LANE)].x);
        split++;
    } while (split < arguments.splits);
}

/* A split that kept no key of a row has no weight in it, whatever its maximum. */
void add_splits(StatePairs pairs)
{
    uint split = 0;
    do {
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
            vec2 pair = pairs.at[split_index(split, r, ROWS_PER_LANE)];
            float weight = pair.y > 0.0 ? exp2(pair.x - maximum[r]) : 0.0;
            sum[r] = fma(pair.y, weight, sum[r]);
            [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++) {
                uint i = r * LANE_VALUE_QUADS + d;
                sums[i] = fma(StateQuads(arguments.state).at[split_index(split, i, SUM_QUADS)], vec4(weight), sums[i]);
            }
        }
        split++;
    } while (split < arguments.splits);
}

void main()
{
    uint tile = query_tile();
    StatePairs pairs = StatePairs(state_pairs_after(state_workgroups() * arguments.splits));
    clear_sums();
    find_maxima(pairs);
    add_splits(pairs);
    store_result(tile, min(TILE_ROWS, arguments.rows - tile * TILE_ROWS) - 1);
}
