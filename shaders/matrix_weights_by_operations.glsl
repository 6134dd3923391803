/* SPDX-License-Identifier: MIT */
/*
 * Forward: from products of queries and keys to weights of values, by operations on matrices: see matrix_operations.glsl. No dropout, which looks at
 * quads of keys, and no magnitudes.
 *
 *   maxima        of rows, the same in all columns
 *   weight_sums   of rows, over the keys of each column since the block began
 */

const bool PLAIN_SCORES = !SOFTCAP && !ALIBI && !BIAS;

SUMS_MATRIX maxima[ROW_TILES];
SUMS_MATRIX weight_sums[ROW_TILES];

/* Two elements to one. */
float greater_of(const in float a, const in float b)
{
    return max(a, b);
}

float sum_of(const in float a, const in float b)
{
    return a + b;
}

/* An element of a matrix to another, by its row and column there. */
float score_of_product(const in uint row, const in uint column, const in float dot, const in uint first_row, const in uint at, const in uint left)
{
    uint tile = query_tile();
    float derivative;
    return score_of_key(query_row(tile, min(first_row + row, last_query_row(tile)), 0), dot, at, column, left, derivative);
}

float score_if_kept(const in uint row, const in uint column, const in float score, const in uint first_row, const in uint at, const in uint left)
{
    uint tile = query_tile();
    return key_is_kept(query_row(tile, min(first_row + row, last_query_row(tile)), 0), at, column, left) ? score : SCORE_MASKED;
}

/* From dot products, in their place. */
void find_scores(uint at, uint left)
{
    if (PLAIN_SCORES) {
        scale_dots();
        return;
    }
    [[unroll]] for (uint i = 0; i < STEP_MATRICES; i++) {
        uint n = i % STEP_TILES;
        coopMatPerElementNV(pairs[i], pairs[i], score_of_product, team_row() + i / STEP_TILES * MATRIX_M, at + n * MATRIX_N,
                            left_from(n * (MATRIX_N / 4), left));
    }
}

/* Scores of pairs that are not kept, or whose keys are not there. */
void mask_scores(uint at, uint left)
{
    if (!SEGMENTS) {
        mask_pairs(at, left, last_query_row(query_tile()), SCORE_MASKED);
        return;
    }
    [[unroll]] for (uint i = 0; i < STEP_MATRICES; i++) {
        uint n = i % STEP_TILES;
        coopMatPerElementNV(pairs[i], pairs[i], score_if_kept, team_row() + i / STEP_TILES * MATRIX_M, at + n * MATRIX_N,
                            left_from(n * (MATRIX_N / 4), left));
    }
}

/* Turns scores into weights. Where the highest score of a row is beyond its maximum, that grows, and its sums shrink. */
void weigh_keys()
{
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
        SUMS_MATRIX highest = pairs[t * STEP_TILES], highest_of_row;
        bool grows = false;
        [[unroll]] for (uint n = 1; n < STEP_TILES; n++)
            [[unroll]] for (uint i = 0; i < highest.length(); i++)
                highest[i] = max(highest[i], pairs[t * STEP_TILES + n][i]);
        coopMatReduceNV(highest_of_row, highest, gl_CooperativeMatrixReduceRowNV, greater_of);
        [[unroll]] for (uint i = 0; i < highest.length(); i++)
            grows = grows || maximum_grows(highest_of_row[i], maxima[t][i]);
        if (subgroupAny(grows)) {
            SUMS_MATRIX shrink;
            [[unroll]] for (uint i = 0; i < highest.length(); i++) {
                bool row_grows = maximum_grows(highest_of_row[i], maxima[t][i]);
                shrink[i] = row_grows ? maximum_shrinks(highest_of_row[i], maxima[t][i]) : 1.0;
                maxima[t][i] = row_grows ? highest_of_row[i] - WEIGHT_HEADROOM : maxima[t][i];
            }
            weight_sums[t] = weight_sums[t] * shrink;
            [[unroll]] for (uint n = 0; n < SUM_WIDTH; n++)
                sums[t * SUM_WIDTH + n] = sums[t * SUM_WIDTH + n] * shrink;
        }
        [[unroll]] for (uint n = 0; n < STEP_TILES; n++) {
            uint at = t * STEP_TILES + n;
            [[unroll]] for (uint i = 0; i < highest.length(); i++)
                pairs[at][i] = exp2(pairs[at][i] - maxima[t][i]);
            weight_sums[t] = weight_sums[t] + pairs[at];
        }
    }
}

void walk_step(uint at, uint left, bool whole)
{
    stage_step(left);
    multiply_step(0, HEAD_DEPTH, STAGED_OWN_HEAD, STAGED_HEAD, HEAD_STRIDE);
    find_scores(at, left);
    if (!whole)
        mask_scores(at, left);
    weigh_keys();
    add_pairs(EXACT_WEIGHTS || ELEMENTS_ARE_SHORT, 0, SUM_WIDTH, STAGED_VALUE, VALUE_STRIDE);
}

void begin_weights()
{
    meet_team();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        if (slice_of_lane() == 0)
            row_factors[row_of(r)] = maximum[r];
    meet_team();
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
        maxima[t] = row_factors_of(t);
        weight_sums[t] = SUMS_MATRIX(0.0);
    }
}

/* Matrices that are the same in all columns, as numbers of the lanes' rows. */
void show_rows(SUMS_MATRIX of_rows[ROW_TILES], out float of_slots[ROWS_PER_LANE])
{
    meet_team();
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
        coopMatStore(of_rows[t], products, (team_row() + t * MATRIX_M) * PRODUCT_STRIDE, PRODUCT_STRIDE,
                     gl_CooperativeMatrixLayoutRowMajor);
    meet_team();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        of_slots[r] = product_of(r, 0).x;
}

void finish_weights()
{
    SUMS_MATRIX totals[ROW_TILES];
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
        coopMatReduceNV(totals[t], weight_sums[t], gl_CooperativeMatrixReduceRowNV, sum_of);
    show_rows(maxima, maximum);
    show_rows(totals, sum);
}
