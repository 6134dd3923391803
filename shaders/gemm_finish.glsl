/* SPDX-License-Identifier: MIT */
/* What a row gets of columns that are finished together, from one on. inverse_of_columns: those of their factors. */

COLUMN_VALUES without_scales(uint row, uint column, COLUMN_VALUES sum)
{
    COLUMN_VALUES of_row = COLUMN_VALUES(LEFT_SCALED ? inverse_of(row) : 1.0), of_columns = COLUMN_VALUES(1);
    if (RIGHT_SCALED)
        of_columns = inverse_of_columns(column);
    /* the smaller first: no more may overflow than results do */
    return sum * min(of_row, of_columns) * max(of_row, of_columns);
}

void finish_columns(uint row, uint column, COLUMN_VALUES sum)
{
    if (SCALED)
        sum = without_scales(row, column, sum);
    bool is_ones = ONES && first_row + row == rows;
    finish(is_ones ? address_add(bias, first_column * 4) : tiles[0], is_ones ? 0 : row * (result_stride / RESULT_BYTES), column, sum);
}

bool is_of_result(uint row, uint column)
{
    return first_row + row < rows + ones && column < columns - first_column;
}
