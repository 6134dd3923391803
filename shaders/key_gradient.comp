/* SPDX-License-Identifier: MIT */
#version 460
/*
 * The gradients of a tile of keys and values, from a block of query rows of all query heads of their group. Lanes own keys and walk over queries and
 * gradients of outputs. No shared memory, no barrier. With KEEPS_SCORE_GRADS gradients of the scores of all pairs that are kept by position and segment
 * are left in memory.
 */
#extension GL_GOOGLE_include_directive : require
#define OWN_IS_KEY
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

/* Sums are those of keys, then those of values. */
const uint KEY_QUADS = ROWS_PER_LANE * LANE_HEAD_QUADS;
const uint SUM_QUADS = KEY_QUADS + ROWS_PER_LANE * LANE_VALUE_QUADS;
#include "state.glsl"
#include "walk.glsl"
#include "key_rows.glsl"

/* With KEEPS_SCORE_GRADS: where those of the tile and the query head at hand go. */
uvec2 score_grads_address;

/* Of all rows of the step and all row slots: there is room, and what is not kept is not read. */
void keep_score_gradients(uint at)
{
    if (LANES_PER_ROW == 1 || slice_of_lane() == 0) {
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            [[unroll]] for (uint k = 0; k < STEP; k++)
                Floats(score_grads_address).at[(at + k) * TILE_ROWS + row_of(r)] = pair_gradient[r * STEP + k];
    }
}

void walk_begin_block()
{
    clear_sums();
}

void walk_end_block(bool continues, bool stores)
{
    meet_state(continues, stores);
}

uint walk_limit(uint at)
{
    return STEP;
}

void add_output_grads(uint left)
{
    uvec2 address[STEP];
    [[unroll]] for (uint k = 0; k < STEP; k++)
        address[k] = row_address(walk_b, arguments.output_grad.row_stride.x, k, left);
    [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++) {
        [[unroll]] for (uint k = 0; k < STEP; k++) {
            vec4 grad = load_other_quad(k, address[k], d, VALUE_DIM);
            [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
                uint i = KEY_QUADS + r * LANE_VALUE_QUADS + d;
                sums[i] = fma(vec4(pair_weight[r * STEP + k]), grad, sums[i]);
            }
        }
    }
}

void add_queries(uint left)
{
    uvec2 address[STEP];
    [[unroll]] for (uint k = 0; k < STEP; k++)
        address[k] = row_address(walk_a, arguments.query.row_stride.x, k, left);
    [[unroll]] for (uint d = 0; d < LANE_HEAD_QUADS; d++) {
        [[unroll]] for (uint k = 0; k < STEP; k++) {
            vec4 query = load_other_quad(k, address[k], d, HEAD_DIM);
            [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
                uint i = r * LANE_HEAD_QUADS + d;
                sums[i] = fma(vec4(pair_gradient[r * STEP + k]), query, sums[i]);
            }
        }
    }
}

void walk_step(uint at, uint left, bool whole)
{
    if (FEW_REGISTERS || always())
        dot_heads(walk_a, arguments.query.row_stride.x, left);
    if (FEW_REGISTERS || always())
        dot_values(walk_b, arguments.output_grad.row_stride.x, left);
    find_pair_gradients(at, left, whole);
    if (KEEPS_SCORE_GRADS)
        keep_score_gradients(at);
    if (always())
        add_output_grads(left);
    add_queries(left);
}

void store_result(uint tile, uint last_key)
{
    const uint bytes = PARTIAL ? 4 : ELEMENT_BYTES;
    uvec2 keys = tile_address(arguments.key_grad, tile), values = tile_address(arguments.value_grad, tile);
    uint key_stride = arguments.key_grad.row_stride.x / bytes, value_stride = arguments.value_grad.row_stride.x / bytes;
    uint slice = slice_of_lane();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = row_of(r);
        if (row <= last_key && is_there(arguments.key_grad)) {
            [[unroll]] for (uint d = 0; d < LANE_HEAD_QUADS; d++)
                store_partial(keys, row * key_stride, d * LANES_PER_ROW + slice, HEAD_DIM, sums[r * LANE_HEAD_QUADS + d] * arguments.scale);
        }
        if (row <= last_key && is_there(arguments.value_grad)) {
            [[unroll]] for (uint d = 0; d < LANE_VALUE_QUADS; d++)
                store_partial(values, row * value_stride, d * LANES_PER_ROW + slice, VALUE_DIM, sums[KEY_QUADS + r * LANE_VALUE_QUADS + d]);
        }
    }
}

void main()
{
    uint tile = gl_WorkGroupID.x;
    uint last_key = min(TILE_ROWS, arguments.keys - tile * TILE_ROWS) - 1;
    uint first_head = (arguments.first_head + gl_WorkGroupID.y) * arguments.heads_per_kv_head;
    load_own_head(arguments.key, tile, last_key);
    load_own_value(arguments.value, tile, last_key);
    load_key_rows(tile, last_key);
    Walk w = walk_of_tile(tile, last_key + 1);
    w.a_stride = arguments.query.row_stride;
    w.b_stride = arguments.output_grad.row_stride;
    uint g = 0;
    do {
        choose_query_head(gl_WorkGroupID.z, first_head + g);
        score_grads_address = address_advance(head_address(arguments.score_grad, gl_WorkGroupID.y * arguments.heads_per_kv_head + g),
                                              arguments.score_grad.row_stride, tile);
        w.a = head_address(arguments.query, first_head + g);
        w.b = head_address(arguments.output_grad, first_head + g);
        walk(w, arguments.first == 0 || g > 0, arguments.last == 0 || g + 1 < arguments.heads_per_kv_head);
        g++;
    } while (g < arguments.heads_per_kv_head);
    if (arguments.last != 0)
        store_result(tile, last_key);
}
