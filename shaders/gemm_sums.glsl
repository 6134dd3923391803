/* SPDX-License-Identifier: MIT */
/*
 * What is done to sums on any matrix units: factors of rows and columns are loaded as matrices, and finished sums come back to lanes a matrix at a time,
 * through shared memory that only their subgroup touches.
 */

const uint SHOWN_STRIDE = MATRIX_N / 4;

shared vec4 shown[SUBGROUPS * MATRIX_M * SHOWN_STRIDE];

void change_sums()
{
    SUMS_MATRIX of_columns[COLUMN_TILES];
    [[unroll]] for (uint n = 0; n < COLUMN_TILES; n++)
        coopMatLoad(of_columns[n], changes, TILE_ROWS + subgroup_column() + n * MATRIX_N, 0, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
        SUMS_MATRIX of_rows;
        coopMatLoad(of_rows, changes, subgroup_row() + t * MATRIX_M, 0, gl_CooperativeMatrixLayoutColumnMajor);
        [[unroll]] for (uint n = 0; n < COLUMN_TILES; n++)
            sums[t * COLUMN_TILES + n] = sums[t * COLUMN_TILES + n] * of_rows * of_columns[n];
    }
}

vec4 inverse_of_columns(uint column)
{
    uint i = TILE_ROWS + column;
    return vec4(inverse_of(i), inverse_of(i + 1), inverse_of(i + 2), inverse_of(i + 3));
}

#include "gemm_finish.glsl"

void finish_sums()
{
    const uint matrix_quads = MATRIX_M * SHOWN_STRIDE;
    uint from = gl_SubgroupID * matrix_quads, which = 0;
    [[dont_unroll]] do {
        [[unroll]] for (uint i = 0; i < ROW_TILES * COLUMN_TILES; i++)
            if (i == which)
                coopMatStore(sums[i], shown, from, SHOWN_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
        meet_subgroup();
        uint row = subgroup_row() + which / COLUMN_TILES * MATRIX_M, column = subgroup_column() + which % COLUMN_TILES * MATRIX_N;
        uint quad = gl_SubgroupInvocationID;
        [[dont_unroll]] do {
            uint own_row = row + quad / SHOWN_STRIDE, own_column = column + 4 * (quad % SHOWN_STRIDE);
            if (quad < matrix_quads && is_of_result(own_row, own_column))
                finish_columns(own_row, own_column, shown[from + quad]);
            quad += SUBGROUP_LANES;
        } while (quad < matrix_quads);
        meet_subgroup();
        which++;
    } while (which < ROW_TILES * COLUMN_TILES);
}
