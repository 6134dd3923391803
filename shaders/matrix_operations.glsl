/* SPDX-License-Identifier: MIT */
/*
 * Pairs of own rows and those of a step in matrices of sums, from products to factors by operations on matrices (VK_NV_cooperative_matrix2): none goes
 * through shared memory. Own rows are rows of matrices, and those of the step columns. Matrices of sums become factors as they are, so that MATRIX_N is
 * MATRIX_K. Elements at one index of two such matrices belong to one pair.
 */

const uint STEP_TILES = WALK_STEP / MATRIX_N;
const uint STEP_MATRICES = ROW_TILES * STEP_TILES; /* of a row tile, one after the other */

/* Of a step. No parameter of functions: compilers that copy those spill what they copy. */
SUMS_MATRIX pairs[STEP_MATRICES];

/* Dot products of own rows, matrices `first` and on, with those of a step. */
void multiply_step(uint first, uint depth, uint staged_own, uint staged_other, uint stride)
{
    [[unroll]] for (uint n = 0; n < STEP_TILES; n++) {
        SUMS_MATRIX of_rows[PART_TILES];
        multiply_own_tiles(team_row(), n, first, depth, staged_own, staged_other, stride, of_rows);
        [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
            pairs[t * STEP_TILES + n] = of_rows[t];
    }
}

float dot_scale = arguments.dot_scale; /* read once, not for each pair */

/* Scores in base 2 that are their dot products times a number. */
void scale_dots()
{
    [[unroll]] for (uint i = 0; i < STEP_MATRICES; i++)
        [[unroll]] for (uint e = 0; e < pairs[i].length(); e++) {
            precise float score = pairs[i][e] * dot_scale;
            pairs[i][e] = score;
        }
}

shared float column_numbers[WALK_STEP];
shared float row_limits[2 * TILE_ROWS]; /* the first of a step's columns that a row keeps, and the one after the last */

/* Before the first barrier. */
void number_columns()
{
    uint column = gl_LocalInvocationID.x;
    do {
        if (column < WALK_STEP)
            column_numbers[column] = float(column);
        column += gl_WorkGroupSize.x;
    } while (column < WALK_STEP);
}

uint own_tile()
{
#ifdef OWN_IS_KEY
    return gl_WorkGroupID.x;
#else
    return query_tile();
#endif
}

/* By positions: of the step from `at` on, of which `left` are there, and own rows up to last_row. */
void find_row_limits(uint at, uint left, uint last_row)
{
#ifdef OWN_IS_KEY
    uint others = arguments.rows;
#else
    uint others = arguments.keys;
#endif
    meet_subgroup();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = row_of(r);
        int own = int(own_tile() * TILE_ROWS + row), end = row <= last_row ? int(min(left, WALK_STEP)) : 0;
        int first = BAND ? band_first(own, others) - int(at) : 0;
        end = BAND ? min(end, band_end(own, others) - int(at)) : end;
        if (slice_of_lane() == 0) {
            row_limits[row] = float(clamp(first, 0, int(WALK_STEP)));
            row_limits[TILE_ROWS + row] = float(end);
        }
    }
    meet_subgroup();
}

/* Pairs of a step that are not kept become `masked`; not by segment ids. */
void mask_pairs(uint at, uint left, uint last_row, float masked)
{
    find_row_limits(at, left, last_row);
    [[unroll]] for (uint i = 0; i < STEP_MATRICES; i++) {
        SUMS_MATRIX first, end, column;
        uint row = team_row() + i / STEP_TILES * MATRIX_M;
        coopMatLoad(first, row_limits, row, 0, gl_CooperativeMatrixLayoutColumnMajor);
        coopMatLoad(end, row_limits, TILE_ROWS + row, 0, gl_CooperativeMatrixLayoutColumnMajor);
        coopMatLoad(column, column_numbers, i % STEP_TILES * MATRIX_N, 0, gl_CooperativeMatrixLayoutRowMajor);
        [[unroll]] for (uint e = 0; e < column.length(); e++)
            pairs[i][e] = column[e] >= first[e] && column[e] < end[e] ? pairs[i][e] : masked;
    }
}

/*
 * Adds to sums from `first` on, `width` along a row: pairs times staged rows. exact: in two parts, as good as f32: first their leading bits, cut by
 * integers, since compilers take rounding to f16 and back for nothing.
 */
void add_pairs(bool exact, uint first, uint width, uint staged_other, uint stride)
{
    [[unroll]] for (uint n = 0; n < STEP_TILES; n++) {
        ROWS_MATRIX factor[ROW_TILES], rest[ROW_TILES];
        [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
            SUMS_MATRIX pair = pairs[t * STEP_TILES + n];
            if (exact) {
                SUMS_MATRIX less = pair;
                [[unroll]] for (uint i = 0; i < pair.length(); i++) {
                    pair[i] = uintBitsToFloat(floatBitsToUint(pair[i]) & LEADING_BITS);
                    less[i] -= pair[i];
                }
                rest[t] = ROWS_MATRIX(less);
            }
            factor[t] = ROWS_MATRIX(pair);
        }
        add_products_of(factor, n, first, width, staged_other, stride);
        if (exact)
            add_products_of(rest, n, first, width, staged_other, stride);
    }
}
