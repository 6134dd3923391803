/* SPDX-License-Identifier: MIT */
#version 460
/*
 * The gradients of a tile of keys and values on matrix units, from a block of query rows of all query heads of their group. Teams of subgroups own keys; queries
 * and gradients of outputs of a step are staged for all of them. Shared memory and barriers: see matrix.glsl.
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
#include "mask.glsl"
#include "segments.glsl"
#include "score.glsl"
#include "dropout.glsl"
#include "row_stats.glsl"
#include "walk.glsl"
#define OWN_STAGED (TILE_ROWS * (HEAD_STRIDE + VALUE_STRIDE))
#include "matrix.glsl"
#ifdef MATRIX_OPERATIONS
#define BEGINS_RUNS /* what is known of rows goes with them */
#endif
#include "matrix_stage.glsl"
#include "key_rows.glsl"
#define OWN_MATRICES (OWN_TILES * (HEAD_DEPTH + VALUE_DEPTH))
#include "matrix_rows.glsl"

/* Sums are those of keys, then those of values; or those of one, in a turn for each. */
const uint KEY_WIDTH = PADDED_HEAD / MATRIX_N / COLUMN_PARTS;
const uint VALUE_WIDTH = PADDED_VALUE / MATRIX_N / COLUMN_PARTS;
const uint VALUE_SUMS = SEPARATE_SUMS ? 0 : KEY_WIDTH;
const uint SUM_WIDTH = !SEPARATE_SUMS ? KEY_WIDTH + VALUE_WIDTH : KEY_WIDTH > VALUE_WIDTH ? KEY_WIDTH : VALUE_WIDTH;
#define TAKES_TURNS
const uint TURNS = SEPARATE_SUMS ? 2 : 1;
uint turn;
#include "matrix_sums.glsl"
#include "matrix_gradients.glsl"
const uint SCALES = SEPARATE_SUMS ? 1 : 2;
const uint OF_KEYS = 0;
const uint OF_VALUES = SCALES - 1;
#ifdef MATRIX_OPERATIONS
#include "matrix_operations.glsl"
#include "matrix_pairs_by_operations.glsl"
#else
#include "matrix_dots.glsl"
#include "matrix_factors.glsl"
#include "matrix_scales.glsl"
#include "matrix_scaled_pairs.glsl"
#endif

bool sums_keys()
{
    return !SEPARATE_SUMS || turn == 0;
}

bool sums_values()
{
    return !SEPARATE_SUMS || turn == 1;
}

void walk_begin_block()
{
    clear_sums();
}

void walk_end_block(bool continues, bool stores)
{
    if (sums_keys())
        unscale_sums(OF_KEYS, 0, KEY_WIDTH);
    if (sums_values())
        unscale_sums(OF_VALUES, VALUE_SUMS, VALUE_WIDTH);
    meet_state(continues, stores);
}

uint walk_limit(uint at)
{
    return WALK_STEP;
}

#ifdef MATRIX_OPERATIONS

uint last_key_of_tile()
{
    return min(TILE_ROWS, arguments.keys - gl_WorkGroupID.x * TILE_ROWS) - 1;
}

/* Not by &&: what glslang 15 makes of that is invalid if two functions look at it. */
const bool STATS_AHEAD = LOADS_AHEAD ? WALK_STEP <= gl_WorkGroupSize.x : false;

vec4 stats_ahead; /* of the lane's row of the next step */

vec4 stats_at(uint row)
{
    return RowStats(stats_address()).at[min(row, arguments.rows - 1)];
}

void walk_begin_run(uint at)
{
    load_step(0);
    if (STATS_AHEAD)
        stats_ahead = stats_at(at + gl_LocalInvocationID.x);
}

/* A step's rows and what is known of them. */
void stage_with_stats(uint at, uint left)
{
    uint row = gl_LocalInvocationID.x;
    barrier();
    do {
        if (row < WALK_STEP)
            show_stats(row, STATS_AHEAD ? stats_ahead : stats_at(at + row), row < left);
        row += gl_WorkGroupSize.x;
    } while (row < WALK_STEP);
    stage_step(left);
    if (STATS_AHEAD)
        stats_ahead = stats_at(at + WALK_STEP + gl_LocalInvocationID.x);
}

void walk_step(uint at, uint left, bool whole)
{
    uint last_key = last_key_of_tile();
    stage_with_stats(at, left);
    multiply_step(0, HEAD_DEPTH, STAGED_OWN_HEAD, STAGED_HEAD, HEAD_STRIDE);
    find_weights(at, left, whole && last_key + 1 == TILE_ROWS, last_key);
    if (sums_values())
        add_scaled_pairs(OF_VALUES, ELEMENTS_ARE_SHORT, VALUE_SUMS, VALUE_WIDTH, STAGED_VALUE, VALUE_STRIDE);
    if (sums_keys()) {
        multiply_step(OWN_TILES * HEAD_DEPTH, VALUE_DEPTH, STAGED_OWN_VALUE, STAGED_VALUE, VALUE_STRIDE);
        find_score_gradients();
        add_scaled_pairs(OF_KEYS, true, 0, KEY_WIDTH, STAGED_HEAD, HEAD_STRIDE);
    }
}

#else

/*
 * From dot products of queries and keys, and those of gradients of outputs and values in products[]: weights, and gradients of scores. With SEPARATE_SUMS
 * pairs are those of the turn alone, since compilers would keep both.
 */
void find_pairs(uint at, uint left, bool whole, vec4 dots[LANE_QUADS], out vec4 weights[LANE_QUADS], out vec4 pairs[LANE_QUADS])
{
    [[unroll]] for (uint i = 0; i < LANE_STEPS; i++) {
        uint quad = i * LANES_PER_ROW + slice_of_lane();
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            find_dots(r, i, dots);
        find_pair_gradients(at + 4 * quad, left_from(quad, left), whole);
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            [[unroll]] for (uint k = 0; k < STEP; k++) {
                if (SEPARATE_SUMS)
                    pairs[r * LANE_STEPS + i][k] = sums_keys() ? pair_gradient[r * STEP + k] : pair_weight[r * STEP + k];
                else
                    pairs[r * LANE_STEPS + i][k] = pair_gradient[r * STEP + k];
                weights[r * LANE_STEPS + i][k] = pair_weight[r * STEP + k];
            }
    }
}

void walk_step(uint at, uint left, bool whole)
{
    vec4 dots[LANE_QUADS], weights[LANE_QUADS], pairs[LANE_QUADS];
    clear_pairs(dots);
    clear_pairs(weights);
    clear_pairs(pairs);
    stage_step(left);
    multiply_own(0, HEAD_DEPTH, STAGED_OWN_HEAD, STAGED_HEAD, HEAD_STRIDE);
    meet_team();
    if (looks_at_pairs())
        take_products(dots);
    if (sums_keys()) {
        meet_team();
        multiply_own(OWN_TILES * HEAD_DEPTH, VALUE_DEPTH, STAGED_OWN_VALUE, STAGED_VALUE, VALUE_STRIDE);
        meet_team();
    }
    if (looks_at_pairs())
        find_pairs(at, left, whole, dots, weights, pairs);
    if (sums_values()) {
        [[unroll]] for (uint i = 0; i < LANE_QUADS; i++)
            weights[i] = SEPARATE_SUMS ? pairs[i] : weights[i];
        add_scaled_pairs(OF_VALUES, false, weights, VALUE_SUMS, VALUE_WIDTH, VALUE_TENSOR);
        meet_team();
    }
    if (sums_keys())
        add_scaled_pairs(OF_KEYS, true, pairs, 0, KEY_WIDTH, HEAD_TENSOR);
}

#endif

/* One of the two, of own rows up to last_key. */
void store_gradient(Rows rows, uint tile, uint last_key, uint first, uint width, uint dim, float factor)
{
    uvec2 address = tile_address(rows, tile);
    uint stride = rows.row_stride.x / (PARTIAL ? 4 : ELEMENT_BYTES);
    [[unroll]] for (uint n = 0; n < COLUMN_PARTS * width; n += SHOWN_COLUMNS / MATRIX_N) {
        show_sums(first, width, n);
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            [[unroll]] for (uint i = 0; i < LANE_SHOWN; i++) {
                uint quad = i * LANES_PER_ROW + slice_of_lane(), column = n * (MATRIX_N / 4) + quad;
                if (looks_at_pairs() && row_of(r) <= last_key && 4 * column < dim)
                    store_partial(address, row_of(r) * stride, column, dim, product_of(r, quad) * factor);
            }
    }
}

/* All query heads of the group. */
void walk_heads(uint tile, uint last_key)
{
    uint first_head = (arguments.first_head + gl_WorkGroupID.y) * arguments.heads_per_kv_head;
    Walk w = walk_of_tile(tile, last_key + 1);
    w.a_stride = arguments.query.row_stride;
    w.b_stride = arguments.output_grad.row_stride;
    uint g = 0;
    [[dont_unroll]] do {
        choose_query_head(gl_WorkGroupID.z, first_head + g);
        w.a = head_address(arguments.query, first_head + g);
        w.b = head_address(arguments.output_grad, first_head + g);
        walk(w, arguments.first == 0 || g > 0, arguments.last == 0 || g + 1 < arguments.heads_per_kv_head);
        g++;
    } while (g < arguments.heads_per_kv_head);
}

void store_result(uint tile, uint last_key)
{
    if (sums_keys() && is_there(arguments.key_grad))
        store_gradient(arguments.key_grad, tile, last_key, 0, KEY_WIDTH, HEAD_DIM, arguments.scale);
    if (sums_values() && is_there(arguments.value_grad))
        store_gradient(arguments.value_grad, tile, last_key, VALUE_SUMS, VALUE_WIDTH, VALUE_DIM, 1.0);
}

void main()
{
    hide_zero();
#ifdef MATRIX_OPERATIONS
    number_columns();
#endif
    uint tile = gl_WorkGroupID.x;
    uint last_key = min(TILE_ROWS, arguments.keys - tile * TILE_ROWS) - 1;
    load_own(arguments.key, tile, last_key, 0, HEAD_DEPTH, STAGED_OWN_HEAD, HEAD_STRIDE, HEAD_DIM, HEAD_TENSOR);
    load_own(arguments.value, tile, last_key, OWN_TILES * HEAD_DEPTH, VALUE_DEPTH, STAGED_OWN_VALUE, VALUE_STRIDE, VALUE_DIM, VALUE_TENSOR);
    load_key_rows(tile, last_key);
    turn = 0;
    [[dont_unroll]] do {
        clear_scales();
        walk_heads(tile, last_key);
        if (arguments.last != 0)
            store_result(tile, last_key);
        turn++;
    } while (turn < TURNS);
}
