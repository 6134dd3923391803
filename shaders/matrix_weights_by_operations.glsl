/* SPDX-License-Identifier: MIT */
/*
 * Forward: from products of queries and keys to weights of values, by operations on matrices (VK_NV_cooperative_matrix2): no pair goes through shared
 * memory. Matrices of sums become factors as they are, so that MATRIX_N is MATRIX_K. No dropout, which looks at quads of keys, and no magnitudes.
 *
 *   maxima        of rows, the same in all columns
 *   weight_sums   of rows, over the keys of each column since the block began
 */

const uint STEP_TILES = WALK_STEP / MATRIX_N;
const uint STEP_MATRICES = ROW_TILES * STEP_TILES; /* of a row tile, one after the other */

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

/* An element of a matrix to another, by its row and column there, and others of its place. */
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

float greater_at(const in uint row, const in uint column, const in float a, const in float b)
{
    return max(a, b);
}

float shrink_by(const in uint row, const in uint column, const in float highest, const in float before)
{
    return maximum_grows(highest, before) ? maximum_shrinks(highest, before) : 1.0;
}

float maximum_with(const in uint row, const in uint column, const in float highest, const in float before)
{
    return maximum_grows(highest, before) ? highest - WEIGHT_HEADROOM : before;
}

float weight_of(const in uint row, const in uint column, const in float score, const in float bound)
{
    return exp2(score - bound);
}

float leading_of(const in uint row, const in uint column, const in float weight)
{
    return leading_bits(vec4(weight)).x;
}

/* Of a step, with own rows: those that do not fit are zero, or their keys are not there. */
void find_scores(uint at, uint left, bool whole, out SUMS_MATRIX scores[STEP_MATRICES])
{
    [[unroll]] for (uint n = 0; n < STEP_TILES; n++) {
        SUMS_MATRIX products_of_rows[PART_TILES];
        uint first_key = at + n * MATRIX_N, keys_left = left_from(n * (MATRIX_N / 4), left);
        multiply_own_tiles(team_row(), n, 0, HEAD_DEPTH, STAGED_OWN_HEAD, STAGED_HEAD, HEAD_STRIDE, products_of_rows);
        [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
            uint first_row = team_row() + t * MATRIX_M, i = t * STEP_TILES + n;
            coopMatPerElementNV(scores[i], products_of_rows[t], score_of_product, first_row, first_key, keys_left);
            if (!whole)
                coopMatPerElementNV(scores[i], scores[i], score_if_kept, first_row, first_key, keys_left);
        }
    }
}

/* Where the highest score of a row is beyond its maximum, that grows, and its sums shrink. */
void raise_maxima(uint t, SUMS_MATRIX highest)
{
    bool grows = false;
    SUMS_MATRIX before = maxima[t], shrink;
    [[unroll]] for (uint i = 0; i < highest.length(); i++)
        grows = grows || maximum_grows(highest[i], before[i]);
    if (!subgroupAny(grows))
        return;
    coopMatPerElementNV(shrink, highest, shrink_by, before);
    coopMatPerElementNV(maxima[t], highest, maximum_with, before);
    weight_sums[t] = weight_sums[t] * shrink;
    [[unroll]] for (uint n = 0; n < SUM_WIDTH; n++)
        sums[t * SUM_WIDTH + n] = sums[t * SUM_WIDTH + n] * shrink;
}

/* Turns the scores of row tile t into weights. */
void weigh_keys(uint t, inout SUMS_MATRIX scores[STEP_MATRICES])
{
    SUMS_MATRIX highest = scores[t * STEP_TILES], highest_of_row;
    [[unroll]] for (uint n = 1; n < STEP_TILES; n++)
        coopMatPerElementNV(highest, highest, greater_at, scores[t * STEP_TILES + n]);
    coopMatReduceNV(highest_of_row, highest, gl_CooperativeMatrixReduceRowNV, greater_of);
    raise_maxima(t, highest_of_row);
    [[unroll]] for (uint n = 0; n < STEP_TILES; n++) {
        uint i = t * STEP_TILES + n;
        coopMatPerElementNV(scores[i], scores[i], weight_of, maxima[t]);
        weight_sums[t] = weight_sums[t] + scores[i];
    }
}

/* Adds weights, or their leading bits while the others stay, times values. */
void add_weights(bool leading, inout SUMS_MATRIX weights[STEP_MATRICES])
{
    [[unroll]] for (uint n = 0; n < STEP_TILES; n++) {
        ROWS_MATRIX factor[ROW_TILES];
        [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
            uint i = t * STEP_TILES + n;
            SUMS_MATRIX rounded = weights[i];
            if (leading) {
                coopMatPerElementNV(rounded, weights[i], leading_of);
                weights[i] = weights[i] - rounded;
            }
            factor[t] = ROWS_MATRIX(rounded);
        }
        add_products_of(factor, n, 0, SUM_WIDTH, STAGED_VALUE, VALUE_STRIDE);
    }
}

void walk_step(uint at, uint left, bool whole)
{
    SUMS_MATRIX weights[STEP_MATRICES];
    stage_step(arguments.key.row_stride.x, arguments.value.row_stride.x, left);
    find_scores(at, left, whole, weights);
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
        weigh_keys(t, weights);
    if (EXACT_WEIGHTS)
        add_weights(true, weights);
    add_weights(false, weights);
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
