/* SPDX-License-Identifier: MIT */
#version 460
/*
 * The gradient of a tile of query rows on matrix units, from a block of keys. Teams of subgroups own queries; keys and values of a step are staged for all of
 * them. Shared memory and barriers: see matrix.glsl.
 */
#extension GL_GOOGLE_include_directive : require
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
#include "matrix_stage.glsl"
#include "query_rows.glsl"
#include "query_pairs.glsl"
#define OWN_MATRICES (OWN_TILES * (HEAD_DEPTH + VALUE_DEPTH))
#include "matrix_rows.glsl"
const uint SUM_WIDTH = PADDED_HEAD / MATRIX_N / COLUMN_PARTS;
#include "matrix_sums.glsl"
#include "matrix_gradients.glsl"
const uint SCALES = 1;
#ifdef MATRIX_OPERATIONS
#include "matrix_operations.glsl"
#include "matrix_pairs_by_operations.glsl"
#else
#include "matrix_dots.glsl"
#include "matrix_factors.glsl"
#include "matrix_scales.glsl"
#include "matrix_scaled_pairs.glsl"
#endif

void walk_begin_block()
{
    clear_sums();
}

void walk_end_block(bool continues, bool stores)
{
    unscale_sums(0, 0, SUM_WIDTH);
    meet_state(continues, stores);
}

#ifdef MATRIX_OPERATIONS

void walk_step(uint at, uint left, bool whole)
{
    stage_step(left);
    multiply_step(0, HEAD_DEPTH, STAGED_OWN_HEAD, STAGED_HEAD, HEAD_STRIDE);
    find_weights(at, left, whole, last_query_row(query_tile()));
    multiply_step(OWN_TILES * HEAD_DEPTH, VALUE_DEPTH, STAGED_OWN_VALUE, STAGED_VALUE, VALUE_STRIDE);
    find_score_gradients();
    add_scaled_pairs(0, true, 0, SUM_WIDTH, STAGED_HEAD, HEAD_STRIDE);
}

void show_own_stats(uint tile, uint last_row)
{
    uvec2 address = tile_address(arguments.row_stats, tile);
    [[dont_unroll]] for (uint row = gl_LocalInvocationID.x; row < TILE_ROWS; row += gl_WorkGroupSize.x)
        show_stats(row, RowStats(address).at[min(row, last_row)], row <= last_row);
}

#else

/* From dot products with keys; those with values are in products[]. */
void find_gradients(uint r, uint at, uint left, bool whole, vec4 dots[LANE_QUADS], inout vec4 gradients[LANE_QUADS])
{
    [[unroll]] for (uint i = 0; i < LANE_STEPS; i++) {
        uint quad = i * LANES_PER_ROW + slice_of_lane();
        float derivatives[STEP];
        find_dots(r, i, dots);
        finish_scores(r, at + 4 * quad, left_from(quad, left), whole, derivatives);
        score_gradients(r, at + 4 * quad, derivatives);
        [[unroll]] for (uint k = 0; k < STEP; k++)
            gradients[r * LANE_STEPS + i][k] = head_dot[r * STEP + k];
    }
}

void walk_step(uint at, uint left, bool whole)
{
    vec4 dots[LANE_QUADS], gradients[LANE_QUADS];
    clear_pairs(dots);
    clear_pairs(gradients);
    stage_step(left);
    multiply_own(0, HEAD_DEPTH, STAGED_OWN_HEAD, STAGED_HEAD, HEAD_STRIDE);
    meet_team();
    if (looks_at_pairs())
        take_products(dots);
    meet_team();
    multiply_own(OWN_TILES * HEAD_DEPTH, VALUE_DEPTH, STAGED_OWN_VALUE, STAGED_VALUE, VALUE_STRIDE);
    meet_team();
    if (looks_at_pairs()) {
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            find_gradients(r, at, left, whole, dots, gradients);
    }
    add_scaled_pairs(0, true, gradients, 0, SUM_WIDTH, HEAD_TENSOR);
}

#endif

void store_result(uint tile, uint last_row)
{
    uvec2 address = tile_address(arguments.query_grad, tile);
    uint stride = arguments.query_grad.row_stride.x / ELEMENT_BYTES;
    [[unroll]] for (uint n = 0; n < COLUMN_PARTS * SUM_WIDTH; n += SHOWN_COLUMNS / MATRIX_N) {
        show_sums(0, SUM_WIDTH, n);
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            [[unroll]] for (uint i = 0; i < LANE_SHOWN; i++) {
                uint quad = i * LANES_PER_ROW + slice_of_lane(), column = n * (MATRIX_N / 4) + quad;
                if (looks_at_pairs() && row_of(r) <= last_row && 4 * column < HEAD_DIM)
                    store_quad(address, row_of(r) * stride, column, HEAD_DIM, product_of(r, quad) * arguments.scale);
            }
    }
}

void main()
{
    hide_zero();
    uint tile = query_tile();
    uint last_row = min(TILE_ROWS, arguments.rows - tile * TILE_ROWS) - 1;
    load_query_rows(tile, last_row);
#ifdef MATRIX_OPERATIONS
    show_own_stats(tile, last_row);
    number_columns();
#else
    load_stats(tile, last_row);
#endif
    load_own(arguments.query, tile, last_row, 0, HEAD_DEPTH, STAGED_OWN_HEAD, HEAD_STRIDE, HEAD_DIM, HEAD_TENSOR);
    load_own(arguments.output_grad, tile, last_row, OWN_TILES * HEAD_DEPTH, VALUE_DEPTH, STAGED_OWN_VALUE, VALUE_STRIDE, VALUE_DIM, VALUE_TENSOR);
    clear_scales();
    walk(walk_of_queries(tile, last_row), arguments.first == 0, arguments.last == 0);
    if (arguments.last != 0)
        store_result(tile, last_row);
}
