/* SPDX-License-Identifier: MIT */
#version 460
/*
 * The gradient of a tile of query rows, from a block of keys. Lanes own queries and walk over keys and values.
 * No shared memory, no barrier.
 */
#extension GL_GOOGLE_include_directive : require
#include "extensions.glsl"
#include "address.glsl"
#include "element.glsl"
#include "arguments.glsl"
#include "constants.glsl"
#include "positions.glsl"
#include "tile.glsl"
#include "products.glsl"
#include "mask.glsl"
#include "segments.glsl"
#include "score.glsl"
#include "dropout.glsl"
#include "row_stats.glsl"

const uint SUM_QUADS = ROWS_PER_LANE * LANE_HEAD_QUADS;
#include "state.glsl"
#include "walk.glsl"
#include "query_rows.glsl"
#include "query_pairs.glsl"

void walk_begin_block()
{
    clear_sums();
}

void walk_end_block(bool continues, bool stores)
{
    meet_state(continues, stores);
}

void add_keys(uint left)
{
    uvec2 address[STEP];
    [[unroll]] for (uint k = 0; k < STEP; k++)
        address[k] = row_address(walk_a, arguments.key.row_stride.x, k, left);
    [[unroll]] for (uint d = 0; d < LANE_HEAD_QUADS; d++) {
        [[unroll]] for (uint k = 0; k < STEP; k++) {
            vec4 key = load_other_quad(k, address[k], d, HEAD_DIM);
            [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
                sums[r * LANE_HEAD_QUADS + d] = fma(vec4(head_dot[r * STEP + k]), key, sums[r * LANE_HEAD_QUADS + d]);
        }
    }
}

void walk_step(uint at, uint left, bool whole)
{
    if (FEW_REGISTERS || always())
        dot_heads(walk_a, arguments.key.row_stride.x, left);
    if (FEW_REGISTERS || always())
        dot_values(walk_b, arguments.value.row_stride.x, left);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        float derivatives[STEP];
        finish_scores(r, at, left, whole, derivatives);
        score_gradients(r, at, derivatives);
    }
    add_keys(left);
}

void store_result(uint tile, uint last_row)
{
    uvec2 address = tile_address(arguments.query_grad, tile);
    uint stride = arguments.query_grad.row_stride.x / ELEMENT_BYTES, slice = slice_of_lane();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = row_of(r);
        if (row <= last_row) {
            [[unroll]] for (uint d = 0; d < LANE_HEAD_QUADS; d++)
                store_quad(address, row * stride, d * LANES_PER_ROW + slice, HEAD_DIM, sums[r * LANE_HEAD_QUADS + d] * arguments.scale);
        }
    }
}

void main()
{
    uint tile = query_tile();
    uint last_row = min(TILE_ROWS, arguments.rows - tile * TILE_ROWS) - 1;
    load_own_head(arguments.query, tile, last_row);
    load_own_value(arguments.output_grad, tile, last_row);
    load_query_rows(tile, last_row);
    load_stats(tile, last_row);
    walk(walk_of_queries(tile, last_row), arguments.first == 0, arguments.last == 0);
    if (arguments.last != 0)
        store_result(tile, last_row);
}
