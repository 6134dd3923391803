/* SPDX-License-Identifier: MIT */
#version 460
/*
 * Forward attention of a tile of query rows to a block of keys on matrix units, with the running state (unnormalised output, maximum, sum) in f32.
 * Teams of subgroups own queries; keys and values of a step are staged for all of them. Shared memory and barriers: see matrix.glsl.
 */
#extension GL_GOOGLE_include_directive : require
#if defined(TYPE_F16) && !defined(MATRIX_OPERATIONS)
#define MAY_TURN_VALUES
#endif
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
#include "softmax.glsl"
#include "walk.glsl"
#define OWN_STAGED (TILE_ROWS * HEAD_STRIDE)
#include "matrix.glsl"
#include "matrix_stage.glsl"
#include "query_rows.glsl"
#define OWN_MATRICES (OWN_TILES * HEAD_DEPTH)
#include "matrix_rows.glsl"
const uint SUM_WIDTH = PADDED_VALUE / MATRIX_N / COLUMN_PARTS;
#include "matrix_sums.glsl"
#ifndef MATRIX_OPERATIONS
#include "matrix_factors.glsl"
#endif
const uint SCALES = 1;
#include "matrix_scales.glsl"

/*
 * Weights are rounded to f16: those of the greatest scores are near its largest number, so that as many of the others as can be are not lost below its
 * smallest. A bound on scores that is this far below them is as good as any other. Those of bf16 values, which have magnitudes, are also scaled.
 */
const float WEIGHT_HEADROOM = 9.0;

/* Whether a row whose maximum was `before` gets another since a score is so high, and by what its sums are multiplied then. */
bool maximum_grows(float highest, float before)
{
    return highest > before + (softmax_slack + WEIGHT_HEADROOM);
}

float maximum_shrinks(float highest, float before)
{
    return exp2(before + (WEIGHT_HEADROOM - highest));
}

float maximum[ROWS_PER_LANE];
float sum[ROWS_PER_LANE]; /* of the keys that the lane looked at, since the block began; when it ended, of all */

#ifdef MATRIX_OPERATIONS
#include "matrix_operations.glsl"
#include "matrix_weights_by_operations.glsl"
#else
#include "matrix_weights.glsl"
#endif

void load_maximum()
{
    uvec2 pairs = state_pairs();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        maximum[r] = arguments.first != 0 ? SCORE_NONE : StatePairs(pairs).at[row_of(r)].x;
}

void walk_begin_block()
{
    clear_sums();
    begin_weights();
}

void meet_state()
{
    uvec2 pairs = state_pairs();
    meet_team();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        vec2 before = StatePairs(pairs).at[row_of(r)];
        float shrink = exp2(before.x - maximum[r]);
        sum[r] = fma(before.y, shrink, sum[r]);
        if (tells_of_rows())
            row_factors[row_of(r)] = shrink;
    }
    meet_team();
    add_state(true);
}

void walk_end_block(bool continues, bool stores)
{
    uvec2 pairs = state_pairs();
    finish_weights();
    if (HAS_MAGNITUDES)
        unscale_sums(0, 0, SUM_WIDTH);
    if (continues)
        meet_state();
    if (stores) {
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            if (tells_of_rows())
                StatePairs(pairs).at[row_of(r)] = vec2(maximum[r], sum[r]);
        store_state();
    }
}

/* Writes what is one number a row; what a row's sums are multiplied by. */
void finish_rows(uint tile, uint last_row, out float row_scale[ROWS_PER_LANE])
{
    uvec2 lse = address_add(head_address(arguments.lse, gl_WorkGroupID.y), tile * TILE_ROWS * 4);
    uvec2 residual = address_add(head_address(arguments.lse_residual, gl_WorkGroupID.y), tile * TILE_ROWS * 4);
    uint head = arguments.first_head + gl_WorkGroupID.y;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = row_of(r);
        float beyond = ALIBI ? query_rows[r].slope * alibi_beyond(int(tile * TILE_ROWS + row)) : 0.0;
        float sink = SINKS ? Floats(arguments.sinks).at[head] : 0.0;
        SoftmaxRow finished = softmax_finish(maximum[r], sum[r], sink, beyond);
        row_scale[r] = finished.shrink * finished.normaliser * (DROPOUT ? arguments.dropout_scale : 1.0);
        if (row <= last_row && tells_of_rows()) {
            if (is_there(arguments.lse))
                Floats(lse).at[row] = finished.lse;
            if (is_there(arguments.lse_residual))
                Floats(residual).at[row] = finished.residual;
        }
    }
}

/* Of the columns that products[] shows, from quad `first` of rows on. */
void store_columns(uint tile, uint last_row, uint first, float row_scale[ROWS_PER_LANE])
{
    uvec2 outputs = tile_address(arguments.outputs, tile), residuals = tile_address(arguments.output_residual, tile);
    uint stride = arguments.outputs.row_stride.x / ELEMENT_BYTES, residual_stride = arguments.output_residual.row_stride.x / ELEMENT_BYTES;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = row_of(r);
        [[unroll]] for (uint i = 0; i < LANE_SHOWN; i++) {
            uint quad = i * LANES_PER_ROW + slice_of_lane();
            vec4 values = product_of(r, quad) * row_scale[r];
            if (looks_at_pairs() && row <= last_row && 4 * (first + quad) < VALUE_DIM) {
                store_quad(outputs, row * stride, first + quad, VALUE_DIM, values);
                if (is_there(arguments.output_residual))
                    store_quad(residuals, row * residual_stride, first + quad, VALUE_DIM, values - quad_decode(quad_encode(values)));
            }
        }
    }
}

void store_result(uint tile, uint last_row)
{
    float row_scale[ROWS_PER_LANE];
    finish_rows(tile, last_row, row_scale);
    [[unroll]] for (uint n = 0; n < COLUMN_PARTS * SUM_WIDTH; n += SHOWN_COLUMNS / MATRIX_N) {
        show_sums(0, SUM_WIDTH, n);
        store_columns(tile, last_row, n * (MATRIX_N / 4), row_scale);
    }
}

void main()
{
    hide_zero();
#ifdef MATRIX_OPERATIONS
    number_columns();
#endif
    uint tile = query_tile();
    uint last_row = last_query_row(tile);
    load_query_rows(tile, last_row);
    load_own(arguments.query, tile, last_row, 0, HEAD_DEPTH, STAGED_OWN_HEAD, HEAD_STRIDE, HEAD_DIM, HEAD_TENSOR);
    load_maximum();
    clear_scales();
    walk(walk_of_queries(tile, last_row), arguments.first == 0, arguments.last == 0);
    if (arguments.last != 0)
        store_result(tile, last_row);
}
