/* SPDX-License-Identifier: MIT */
#version 460
/*
 * Forward attention of a tile of query rows to a block of keys, with the running state (unnormalised output, maximum, sum) in f32.
 * Lanes own queries and walk over keys and values. No shared memory, no barrier.
 * -DINT8_KEYS: keys and values are integers of 8 bits with a scale for each row and head, whatever the type of the rest. Scores are multiplied by
 * the key's, and the weights of values by the value's.
 * -DUNIFORM_LOADS: see uniform_loads.glsl.
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
#include "softmax.glsl"

const uint SUM_QUADS = ROWS_PER_LANE * LANE_VALUE_QUADS;
#include "state.glsl"
#include "walk.glsl"
#include "query_rows.glsl"
#include "result.glsl"

/* The state that this dispatch continues gives the first bound on scores; the rest of it is added at the end of a block. */
void load_maximum()
{
    uvec2 pairs = state_pairs();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        maximum[r] = arguments.first != 0 ? SCORE_NONE : StatePairs(pairs).at[state_index(r, ROWS_PER_LANE)].x;
}

void walk_begin_block()
{
    clear_sums();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        sum[r] = 0;
}

void walk_end_block(bool continues, bool stores)
{
    uvec2 pairs = state_pairs();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        if (continues) {
            vec2 before = StatePairs(pairs).at[state_index(r, ROWS_PER_LANE)];
            float shrink = exp2(before.x - maximum[r]);
            sum[r] = fma(before.y, shrink, sum[r]);
            [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++)
                sums[r * LANE_VALUE_QUADS + d] = fma(stored_sum(r * LANE_VALUE_QUADS + d), vec4(shrink), sums[r * LANE_VALUE_QUADS + d]);
        }
        if (stores)
            StatePairs(pairs).at[state_index(r, ROWS_PER_LANE)] = vec2(maximum[r], sum[r]);
    }
    if (stores)
        store_sums();
}

/* Turns the scores of row slot r, in head_dot[], into weights exp2(score - maximum), rescaling the state when the maximum grows. */
void weigh_keys(uint r)
{
    float highest = SCORE_NONE;
    [[unroll]] for (uint k = 0; k < STEP; k++)
        highest = max(highest, head_dot[r * STEP + k]);
    if (highest > maximum[r] + softmax_slack) {
        float shrink = exp2(maximum[r] - highest);
        maximum[r] = highest;
        sum[r] *= shrink;
        [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++)
            sums[r * LANE_VALUE_QUADS + d] *= shrink;
    }
    /* in the order in which add_values adds: where all values are 1, output and sum are the same to the bit */
    [[unroll]] for (uint k = 0; k < STEP; k++) {
        float weight = exp2(head_dot[r * STEP + k] - maximum[r]);
        head_dot[r * STEP + k] = weight;
        sum[r] += weight;
    }
}

void add_value_quad(uint k, uvec2 address, uint d)
{
    vec4 value = load_other_quad(k, address, d, VALUE_DIM);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        sums[r * LANE_VALUE_QUADS + d] = fma(vec4(head_dot[r * STEP + k]), value, sums[r * LANE_VALUE_QUADS + d]);
}

/* Sums that stay in registers let rows come one after the other, as prefetchers like it: 10.6 ms and not 14.8 on llvmpipe. */
void add_values(uint left)
{
#ifdef UNIFORM_LOADS
    between_heads = arguments.value.head_stride;
#endif
    uvec2 address[STEP];
    [[unroll]] for (uint k = 0; k < STEP; k++)
        address[k] = row_address(walk_b, arguments.value.row_stride.x, k, left);
#ifdef UNIFORM_LOADS
    [[unroll]] for (uint k = 0; k < STEP; k++)
        [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++)
            add_value_quad(k, address[k], d);
#else
    [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++)
        [[unroll]] for (uint k = 0; k < STEP; k++)
            add_value_quad(k, address[k], d);
#endif
}

#ifdef INT8_KEYS
uvec2 key_scales, value_scales; /* of the first key head's first row in the dispatch */

void find_scales()
{
    uint kv_head = (arguments.first_head + own_head_index()) / arguments.heads_per_kv_head;
    key_scales = head_address(arguments.key_scales, kv_head);
    value_scales = head_address(arguments.value_scales, kv_head);
}

/* Multiplies head_dot[] by the scales of rows from `at` on. */
void scale_rows(uvec2 scales, Rows rows, uint at, uint left)
{
    uvec2 first = address_advance(scales, rows.row_stride, at);
#ifdef UNIFORM_LOADS
    between_heads = rows.head_stride;
#endif
    [[unroll]] for (uint k = 0; k < STEP; k++) {
        uvec2 address = row_address(first, rows.row_stride.x, k, left);
#ifdef UNIFORM_LOADS
        float scale = load_of_heads(address);
#else
        float scale = Floats(address).at[0];
#endif
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            head_dot[r * STEP + k] *= scale;
    }
}
#endif

void walk_step(uint at, uint left, bool whole)
{
#ifdef UNIFORM_LOADS
    between_heads = arguments.key.head_stride;
#endif
    dot_heads(walk_a, arguments.key.row_stride.x, left);
#ifdef INT8_KEYS
    scale_rows(key_scales, arguments.key_scales, at, left);
#endif
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        float derivatives[STEP];
        finish_scores(r, at, left, whole, derivatives);
        weigh_keys(r);
        if (DROPOUT) {
            uint dropped = dropped_keys(r, at);
            [[unroll]] for (uint k = 0; k < STEP; k++)
                head_dot[r * STEP + k] = (dropped & (1u << k)) != 0 ? 0.0 : head_dot[r * STEP + k];
        }
    }
#ifdef INT8_KEYS
    scale_rows(value_scales, arguments.value_scales, at, left);
#endif
    add_values(left);
}

void main()
{
#ifdef UNIFORM_LOADS
    find_part_masks();
#endif
    uint tile = query_tile();
    uint last_row = min(TILE_ROWS, arguments.rows - tile * TILE_ROWS) - 1;
    load_own_head(arguments.query, tile, last_row);
    load_query_rows(tile, last_row);
    load_maximum();
#ifdef INT8_KEYS
    find_scales();
#endif
    walk(walk_of_queries(tile, last_row), arguments.first == 0, arguments.last == 0);
    if (arguments.last != 0)
        store_result(tile, last_row);
}
