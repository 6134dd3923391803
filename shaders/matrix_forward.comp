/* SPDX-License-Identifier: MIT */
#version 460
/*
 * Forward attention of a tile of query rows to a block of keys on matrix units, with the running state (unnormalised output, maximum, sum) in f32.
 * Subgroups own queries; keys and values of a step are staged for all of them. Shared memory and barriers: see matrix.glsl.
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
#include "softmax.glsl"
#include "walk.glsl"
#define OWN_STAGED_QUADS (TILE_ROWS * HEAD_STRIDE)
#include "matrix.glsl"
#include "matrix_stage.glsl"
#include "query_rows.glsl"
#define OWN_MATRICES (OWN_TILES * HEAD_DEPTH)
#include "matrix_rows.glsl"
const uint SUM_WIDTH = PADDED_VALUE / MATRIX_N;
#include "matrix_sums.glsl"
const uint SCALES = 1;
#include "matrix_scales.glsl"

/*
 * Weights are rounded to f16: those of the greatest scores are near its largest number, so that as many of the others as can be are not lost below its
 * smallest. A bound on scores that is this far below them is as good as any other. Those of bf16 values, which have magnitudes, are also scaled.
 */
const float WEIGHT_HEADROOM = 9.0;

float maximum[ROWS_PER_LANE];
float sum[ROWS_PER_LANE]; /* of the keys that the lane looked at, since the block began */

void load_maximum()
{
    uvec2 pairs = state_pairs();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        maximum[r] = arguments.first != 0 ? SCORE_NONE : StatePairs(pairs).at[row_of(r)].x;
}

void walk_begin_block()
{
    clear_sums();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        sum[r] = 0;
}

void meet_state()
{
    uvec2 pairs = state_pairs();
    meet_subgroup();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        vec2 before = StatePairs(pairs).at[row_of(r)];
        float shrink = exp2(before.x - maximum[r]);
        sum[r] = fma(before.y, shrink, sum[r]);
        if (slice_of_lane() == 0)
            row_factors[row_of(r)] = shrink;
    }
    meet_subgroup();
    add_state(true);
}

void walk_end_block(bool continues, bool stores)
{
    uvec2 pairs = state_pairs();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        [[unroll]] for (uint apart = 1; apart < LANES_PER_ROW; apart *= 2)
            sum[r] += subgroupShuffleXor(sum[r], apart);
    if (HAS_MAGNITUDES)
        unscale_sums(0, 0, SUM_WIDTH);
    if (continues)
        meet_state();
    if (stores) {
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            if (slice_of_lane() == 0)
                StatePairs(pairs).at[row_of(r)] = vec2(maximum[r], sum[r]);
        store_state();
    }
}

/* The scores of row slot r and their bound, which all lanes of the row then know. */
void find_scores(uint r, uint at, uint left, bool whole, out vec4 scores[LANE_STEPS], out float highest)
{
    highest = SCORE_NONE;
    [[unroll]] for (uint i = 0; i < LANE_STEPS; i++) {
        uint quad = i * LANES_PER_ROW + slice_of_lane();
        float derivatives[STEP];
        vec4 dots = dots_of(HEAD_TENSOR, r, quad);
        [[unroll]] for (uint k = 0; k < STEP; k++)
            head_dot[r * STEP + k] = dots[k];
        finish_scores(r, at + 4 * quad, left_from(quad, left), whole, derivatives);
        [[unroll]] for (uint k = 0; k < STEP; k++) {
            scores[i][k] = head_dot[r * STEP + k];
            highest = max(highest, scores[i][k]);
        }
    }
    [[unroll]] for (uint apart = 1; apart < LANES_PER_ROW; apart *= 2)
        highest = max(highest, subgroupShuffleXor(highest, apart));
}

/* Turns scores of row slot r into weights exp2(score - maximum). */
void find_weights(uint r, uint at, vec4 scores[LANE_STEPS], inout vec4 all_weights[LANE_QUADS])
{
    [[unroll]] for (uint i = 0; i < LANE_STEPS; i++) {
        uint quad = i * LANES_PER_ROW + slice_of_lane();
        vec4 weights = exp2(scores[i] - maximum[r]);
        sum[r] += (weights.x + weights.y) + (weights.z + weights.w);
        if (DROPOUT) {
            uint dropped = dropped_keys(r, at + 4 * quad);
            weights = mix(weights, vec4(0), notEqual(uvec4(dropped) & uvec4(1, 2, 4, 8), uvec4(0)));
        }
        all_weights[r * LANE_STEPS + i] = factors_of(VALUE_TENSOR, quad, weights);
    }
}

/* Whether sums must be rescaled, by row_factors[], since the maximum grew. */
bool weigh_keys(uint at, uint left, bool whole, out vec4 weights[LANE_QUADS])
{
    bool grows = false;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        vec4 scores[LANE_STEPS];
        float highest, shrink = 1.0;
        find_scores(r, at, left, whole, scores, highest);
        if (highest > maximum[r] + (softmax_slack + WEIGHT_HEADROOM)) {
            shrink = exp2(maximum[r] + (WEIGHT_HEADROOM - highest));
            maximum[r] = highest - WEIGHT_HEADROOM;
            sum[r] *= shrink;
            grows = true;
        }
        find_weights(r, at, scores, weights);
        if (HAS_MAGNITUDES)
            grows = scale_pairs(0, r, shrink, weights) || grows;
        else if (slice_of_lane() == 0)
            row_factors[row_of(r)] = shrink;
    }
    return grows;
}

void walk_step(uint at, uint left, bool whole)
{
    vec4 weights[LANE_QUADS];
    stage_step(arguments.key.row_stride.x, arguments.value.row_stride.x, left);
    multiply_own(0, HEAD_DEPTH, STAGED_OWN_HEAD, STAGED_HEAD, HEAD_STRIDE);
    meet_subgroup();
    bool grows = weigh_keys(at, left, whole, weights);
    add_pairs(EXACT_WEIGHTS, grows, weights, 0, SUM_WIDTH, STAGED_VALUE, VALUE_STRIDE);
}

/* Writes what is one number a row; what a row's sums are multiplied by. */
void finish_rows(uint tile, uint last_row, out float row_scale[ROWS_PER_LANE])
{
    uvec2 lse = address_add(head_address(arguments.lse, gl_WorkGroupID.y), tile * TILE_ROWS * 4);
    uvec2 residual = address_add(head_address(arguments.lse_residual, gl_WorkGroupID.y), tile * TILE_ROWS * 4);
    uint head = arguments.first_head + gl_WorkGroupID.y;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = row_of(r);
        float beyond = ALIBI ? slope_of[r] * alibi_beyond(int(tile * TILE_ROWS + row)) : 0.0;
        float sink = SINKS ? fma(Floats(arguments.sinks).at[head], LOG2_E, beyond) : 0.0;
        SoftmaxRow finished = softmax_finish(maximum[r], sum[r], sink, beyond);
        row_scale[r] = finished.shrink * finished.normaliser * (DROPOUT ? arguments.dropout_scale : 1.0);
        if (row <= last_row && slice_of_lane() == 0) {
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
        [[unroll]] for (uint i = 0; i < LANE_STEPS; i++) {
            uint quad = i * LANES_PER_ROW + slice_of_lane();
            vec4 values = product_of(r, quad) * row_scale[r];
            if (row <= last_row && 4 * (first + quad) < VALUE_DIM) {
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
    [[unroll]] for (uint n = 0; n < SUM_WIDTH; n += WALK_STEP / MATRIX_N) {
        show_sums(n, SUM_WIDTH);
        store_columns(tile, last_row, n * (MATRIX_N / 4), row_scale);
    }
}

void main()
{
    uint tile = query_tile();
    uint last_row = min(TILE_ROWS, arguments.rows - tile * TILE_ROWS) - 1;
    load_query_rows(tile, last_row);
    load_own(arguments.query, tile, last_row, 0, HEAD_DEPTH, STAGED_OWN_HEAD, HEAD_STRIDE, HEAD_DIM, HEAD_TENSOR);
    load_maximum();
    clear_scales();
    walk(walk_of_queries(tile, last_row), arguments.first == 0, arguments.last == 0);
    if (arguments.last != 0)
        store_result(tile, last_row);
}
