/* SPDX-License-Identifier: MIT */
/*
 * The sums of a team's rows as matrices, in registers for a block of the other side and in memory between blocks and dispatches: each subgroup has SUM_WIDTH
 * of them along a row. The state of a workgroup is rows of sums, of TURNS one after the other, then a pair for each row.
 */

layout(buffer_reference, scalar, buffer_reference_align = 8) buffer StatePairs {
    vec2 at[];
};

#ifndef TAKES_TURNS
const uint TURNS = 1;
const uint turn = 0;
#endif
const uint STATE_STRIDE = COLUMN_PARTS * SUM_WIDTH * MATRIX_N / 4; /* in quads */

SUMS_MATRIX sums[ROW_TILES * SUM_WIDTH];

void clear_sums()
{
    [[unroll]] for (uint i = 0; i < ROW_TILES * SUM_WIDTH; i++)
        sums[i] = SUMS_MATRIX(0.0);
}

/* row_factors[] of the team's row tile t, the same in all columns. */
SUMS_MATRIX row_factors_of(uint t)
{
    SUMS_MATRIX factor;
    coopMatLoad(factor, row_factors, team_row() + t * MATRIX_M, 0, gl_CooperativeMatrixLayoutColumnMajor);
    return factor;
}

/* Multiplies rows by row_factors[]: sums from `first` on, `width` along a row. */
void scale_sums(uint first, uint width)
{
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
        SUMS_MATRIX factor = row_factors_of(t);
        [[unroll]] for (uint n = first; n < first + width; n++)
            if (part_apart(n)) {
                if (PARTS_APART)
                    factor = row_factors_of(t);
                sums[t * SUM_WIDTH + n] = sums[t * SUM_WIDTH + n] * factor;
            }
    }
}

/* Of staged rows, the k-th MATRIX_K, the n-th matrix of columns. */
#define LOAD_ROWS(other, k, n, staged_other, stride) \
    coopMatLoad(other, staged, staged_other + (k) * MATRIX_K * stride + (n) * (MATRIX_N / 8), stride, gl_CooperativeMatrixLayoutRowMajor)
#ifdef MAY_TURN_VALUES
#define LOAD_COLUMNS(other, k, n, staged_other, stride) \
    if (TURNS_VALUES) \
        coopMatLoad(other, staged, staged_other + (n) * MATRIX_N * TURNED_STRIDE + (k) * (MATRIX_K / 8), TURNED_STRIDE, \
                    gl_CooperativeMatrixLayoutColumnMajor); \
    else \
        LOAD_ROWS(other, k, n, staged_other, stride)
#else
#define LOAD_COLUMNS LOAD_ROWS
#endif

/* Adds to sums from `first` on, `width` along a row: factors of MATRIX_K staged rows, the k-th so many. */
void add_products_of(ROWS_MATRIX factor[ROW_TILES], uint k, uint first, uint width, uint staged_other, uint stride)
{
    [[unroll]] for (uint n = 0; n < width; n++) {
        if (part_apart(n)) {
            COLUMNS_MATRIX other;
            LOAD_COLUMNS(other, k, column_part() * width + n, staged_other, stride);
            [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
                if (part_apart(SUM_WIDTH + t))
                    sums[t * SUM_WIDTH + first + n] = coopMatMulAdd(factor[t], other, sums[t * SUM_WIDTH + first + n]);
        }
    }
}

uvec2 state_address()
{
    const uint bytes = TILE_ROWS * (16 * STATE_STRIDE * TURNS + 8);
    uint workgroup = gl_WorkGroupID.x + gl_NumWorkGroups.x * (gl_WorkGroupID.y + gl_NumWorkGroups.y * gl_WorkGroupID.z);
    return address_advance(arguments.state, uvec2(bytes, 0), workgroup);
}

uvec2 state_pairs()
{
    return address_add(state_address(), TILE_ROWS * 16 * STATE_STRIDE * TURNS);
}

uint state_index(uint t, uint n)
{
    return (turn * TILE_ROWS + team_row() + t * MATRIX_M) * STATE_STRIDE + (column_part() * SUM_WIDTH + n) * (MATRIX_N / 4);
}

/* Adds what the state holds from before, times row_factors[] if wanted. */
void add_state(bool by_factors)
{
    FloatQuads state = FloatQuads(state_address());
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
        SUMS_MATRIX factor = SUMS_MATRIX(1.0);
        if (by_factors)
            factor = row_factors_of(t);
        [[unroll]] for (uint n = 0; n < SUM_WIDTH; n++) {
            if (part_apart(n)) {
                SUMS_MATRIX before;
                coopMatLoad(before, state.at, state_index(t, n), STATE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                sums[t * SUM_WIDTH + n] = sums[t * SUM_WIDTH + n] + before * factor;
            }
        }
    }
}

void store_state()
{
    FloatQuads state = FloatQuads(state_address());
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
        [[unroll]] for (uint n = 0; n < SUM_WIDTH; n++)
            if (part_apart(n))
                coopMatStore(sums[t * SUM_WIDTH + n], state.at, state_index(t, n), STATE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    controlBarrier(gl_ScopeSubgroup, gl_ScopeSubgroup, gl_StorageSemanticsBuffer, gl_SemanticsAcquireRelease);
}

/* Of sums from `first` on, `width` along a row of each subgroup's: those of the team from column matrix `from` on into products[], SHOWN_COLUMNS of them. */
void show_sums(uint first, uint width, uint from)
{
    meet_team();
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
        [[unroll]] for (uint n = 0; n < width; n++) {
            uint column = column_part() * width + n;
            if (column >= from && column < from + SHOWN_COLUMNS / MATRIX_N)
                coopMatStore(sums[t * SUM_WIDTH + first + n], products,
                             (team_row() + t * MATRIX_M) * PRODUCT_STRIDE + (column - from) * (MATRIX_N / 4), PRODUCT_STRIDE,
                             gl_CooperativeMatrixLayoutRowMajor);
        }
    meet_team();
}
