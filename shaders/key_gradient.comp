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

/* Sums are those of keys, then those of values; or those of one, in a turn for each. */
const uint KEY_QUADS = ROWS_PER_LANE * LANE_HEAD_QUADS;
const uint VALUE_SUM_QUADS = ROWS_PER_LANE * LANE_VALUE_QUADS;
const uint VALUE_SUMS = SEPARATE_SUMS ? 0 : KEY_QUADS;
const uint SUM_QUADS = !SEPARATE_SUMS ? KEY_QUADS + VALUE_SUM_QUADS : KEY_QUADS > VALUE_SUM_QUADS ? KEY_QUADS : VALUE_SUM_QUADS;
#define TAKES_TURNS
const uint TURNS = SEPARATE_SUMS ? 2 : 1;
uint turn;
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

bool sums_keys()
{
    return !SEPARATE_SUMS || turn == 0;
}

bool sums_values()
{
    return !SEPARATE_SUMS || turn == 1;
}

uint last_key_row(uint tile)
{
    return min(TILE_ROWS, arguments.keys - tile * TILE_ROWS) - 1;
}

/* One of the two, of own rows up to last_key. */
void store_gradient(Rows rows, uint tile, uint last_key, uint first, uint quads, uint dim, float factor)
{
    uvec2 address = tile_address(rows, tile);
    uint stride = rows.row_stride.x / (PARTIAL ? 4 : ELEMENT_BYTES);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        if (row_of(r) <= last_key && is_there(rows)) {
            [[unroll]] for (uint d = 0; d < quads; d++)
                store_partial(address, row_of(r) * stride, d * LANES_PER_ROW + slice_of_lane(), dim, sums[first + r * quads + d] * factor);
        }
    }
}

void store_result()
{
    uint tile = gl_WorkGroupID.x, last_key = last_key_row(tile);
    if (SEPARATE_SUMS && HEAD_DIM == VALUE_DIM) { /* in one place: in two, compilers keep the sums twice */
        Rows rows = arguments.key_grad;
        if (turn > 0)
            rows = arguments.value_grad;
        store_gradient(rows, tile, last_key, 0, LANE_HEAD_QUADS, HEAD_DIM, turn == 0 ? arguments.scale : 1.0);
        return;
    }
    if (sums_keys())
        store_gradient(arguments.key_grad, tile, last_key, 0, LANE_HEAD_QUADS, HEAD_DIM, arguments.scale);
    if (sums_values())
        store_gradient(arguments.value_grad, tile, last_key, VALUE_SUMS, LANE_VALUE_QUADS, VALUE_DIM, 1.0);
}

void walk_begin_block()
{
    clear_sums();
}

void walk_end_block(bool continues, bool stores)
{
    meet_state(continues, stores);
    if (!stores)
        store_result();
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
                uint i = VALUE_SUMS + r * LANE_VALUE_QUADS + d;
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
    if (SEPARATE_SUMS ? sums_keys() : FEW_REGISTERS || always())
        dot_values(walk_b, arguments.output_grad.row_stride.x, left);
    find_pair_gradients(at, left, whole && !FEW_REGISTERS); /* whole: two more limits to keep */
    if (KEEPS_SCORE_GRADS && sums_keys())
        keep_score_gradients(at);
    if (SEPARATE_SUMS ? sums_values() : always())
        add_output_grads(left);
    if (sums_keys())
        add_queries(left);
}

/* All query heads of the group. */
void walk_heads(uint tile, uint last_key)
{
    uint first_head = (arguments.first_head + gl_WorkGroupID.y) * arguments.heads_per_kv_head;
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
}

void main()
{
    uint tile = gl_WorkGroupID.x;
    uint last_key = last_key_row(tile);
    load_own_head(arguments.key, tile, last_key);
    load_own_value(arguments.value, tile, last_key);
    load_key_rows(tile, last_key);
    turn = 0;
    do {
        walk_heads(tile, last_key);
        turn++;
    } while (turn < TURNS);
}
