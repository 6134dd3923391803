/* SPDX-License-Identifier: MIT */
/*
 * Gradients of pairs by operations on matrices: see matrix_operations.glsl. For scores that are their dot products times a number: no softcap, ALiBi,
 * bias, segment ids or dropout, and no magnitudes.
 *
 * Factors in f16 are scaled as in matrix_scales.glsl, but by one power of two for a subgroup's rows, and each kind of factors. SCALES: how many there are.
 */

float pair_scales[SCALES];

void clear_scales()
{
    [[unroll]] for (uint i = 0; i < SCALES; i++)
        pair_scales[i] = FIRST_SCALE;
}

/* What backward knows of query rows, kind by kind as in row_stats.glsl: of a tile's own, or of a step's. */
#ifdef OWN_IS_KEY
const uint STATS_ROWS = WALK_STEP;
#else
const uint STATS_ROWS = TILE_ROWS;
#endif
const float NO_ROW = 3.0e38; /* as the log-sum of a row that is not there: no pair of it has weight */

shared float row_stats[3 * STATS_ROWS];

void show_stats(uint row, vec4 stats, bool is_there)
{
    row_stats[row] = is_there ? stats.x : NO_ROW;
    row_stats[STATS_ROWS + row] = is_there ? stats.y : 0.0;
    row_stats[2 * STATS_ROWS + row] = is_there ? stats.z : 0.0;
}

/* One kind, as pairs of a matrix need it: of row tile t, or of the n-th columns of a step. */
SUMS_MATRIX stats_of(uint kind, uint t, uint n)
{
    SUMS_MATRIX stats;
#ifdef OWN_IS_KEY
    coopMatLoad(stats, row_stats, kind * STATS_ROWS + n * MATRIX_N, 0, gl_CooperativeMatrixLayoutRowMajor);
#else
    coopMatLoad(stats, row_stats, kind * STATS_ROWS + team_row() + t * MATRIX_M, 0, gl_CooperativeMatrixLayoutColumnMajor);
#endif
    return stats;
}

SUMS_MATRIX weights[STEP_MATRICES]; /* what forward gave the pairs of the step */

/* From dot products; whole: all pairs are kept. */
void find_weights(uint at, uint left, bool whole, uint last_row)
{
    scale_dots();
    [[unroll]] for (uint i = 0; i < STEP_MATRICES; i++) {
        SUMS_MATRIX exponent = stats_of(0, i / STEP_TILES, i % STEP_TILES), rounded = stats_of(1, i / STEP_TILES, i % STEP_TILES);
        [[unroll]] for (uint e = 0; e < exponent.length(); e++)
            pairs[i][e] = pair_probability(pairs[i][e], vec4(exponent[e], rounded[e], 0.0, 0.0));
    }
    if (!whole)
        mask_pairs(at, left, last_row, 0.0);
    [[unroll]] for (uint i = 0; i < STEP_MATRICES; i++)
        weights[i] = pairs[i];
}

/* Turns dot products with gradients of outputs into gradients of scores. */
void find_score_gradients()
{
    [[unroll]] for (uint i = 0; i < STEP_MATRICES; i++) {
        SUMS_MATRIX delta = stats_of(2, i / STEP_TILES, i % STEP_TILES);
        [[unroll]] for (uint e = 0; e < delta.length(); e++)
            pairs[i][e] = weights[i][e] * (pairs[i][e] - delta[e]);
    }
}

/* Multiplies sums from `first` on, `width` along a row. */
void multiply_sums(uint first, uint width, float factor)
{
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
        [[unroll]] for (uint n = 0; n < width; n++)
            sums[t * SUM_WIDTH + first + n] = sums[t * SUM_WIDTH + first + n] * factor;
}

/* A smaller scale, by which the largest fits. */
void shrink_scale(uint scale, uint first, uint width, float largest)
{
    [[unroll]] for (uint apart = 1; apart < gl_WorkGroupSize.x / SUBGROUPS; apart *= 2)
        largest = max(largest, subgroupShuffleXor(largest, apart));
    float now = exp2(FACTOR_EXPONENT - ceil(log2(largest)));
    multiply_sums(first, width, now / pair_scales[scale]);
    pair_scales[scale] = now;
}

/* Adds the products of pairs and staged rows to sums from `first` on, `width` along a row. */
void add_scaled_pairs(uint scale, bool exact, uint first, uint width, uint staged_other, uint stride)
{
    float largest = 0.0;
    [[unroll]] for (uint i = 0; i < STEP_MATRICES; i++)
        [[unroll]] for (uint e = 0; e < pairs[i].length(); e++)
            largest = max(largest, abs(pairs[i][e]));
    if (subgroupAny(largest * pair_scales[scale] > LARGEST_FACTOR))
        shrink_scale(scale, first, width, largest);
    [[unroll]] for (uint i = 0; i < STEP_MATRICES; i++)
        pairs[i] = pairs[i] * pair_scales[scale];
    add_pairs(exact, first, width, staged_other, stride);
}

/* Takes the scale out of sums from `first` on, `width` along a row. */
void unscale_sums(uint scale, uint first, uint width)
{
    multiply_sums(first, width, 1.0 / pair_scales[scale]);
}
