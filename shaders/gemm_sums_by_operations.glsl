/* SPDX-License-Identifier: MIT */
/*
 * What is done to sums by operations on matrices (VK_NV_cooperative_matrix2): lanes change and finish the elements that they hold, which know their
 * rows and columns. No sum goes through shared memory.
 */

float change_element(const in uint row, const in uint column, const in float sum, const in uint matrix_row, const in uint matrix_column)
{
    return sum * changes[matrix_row + row] * changes[TILE_ROWS + matrix_column + column];
}

void change_sums()
{
    [[unroll]] for (uint i = 0; i < ROW_TILES * COLUMN_TILES; i++)
        coopMatPerElementNV(sums[i], sums[i], change_element, subgroup_row() + i / COLUMN_TILES * MATRIX_M,
                            subgroup_column() + i % COLUMN_TILES * MATRIX_N);
}

float inverse_of_columns(uint column)
{
    return inverse_of(TILE_ROWS + column);
}

#include "gemm_finish.glsl"

float finish_element(const in uint row, const in uint column, const in float sum, const in uint matrix_row, const in uint matrix_column)
{
    if (is_of_result(matrix_row + row, matrix_column + column))
        finish_columns(matrix_row + row, matrix_column + column, sum);
    return sum;
}

void finish_sums()
{
    uint which = 0;
    [[dont_unroll]] do {
        SUMS_MATRIX own = sums[0];
        [[unroll]] for (uint i = 1; i < ROW_TILES * COLUMN_TILES; i++)
            if (i == which)
                own = sums[i];
        coopMatPerElementNV(own, own, finish_element, subgroup_row() + which / COLUMN_TILES * MATRIX_M,
                            subgroup_column() + which % COLUMN_TILES * MATRIX_N);
        which++;
    } while (which < ROW_TILES * COLUMN_TILES);
}
