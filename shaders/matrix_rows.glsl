/* SPDX-License-Identifier: MIT */
/*
 * Rows that teams own as matrices, and their dot products with the rows of the other side that are staged. Queries are always the left matrix and
 * keys the right one, summed in one order: backward needs the bits that forward had. But for operations on matrices own rows are the left one: what
 * becomes a factor of other rows has a row for each of them.
 * OWN_MATRICES: how many a subgroup holds, those of head_dim, then those of value_dim.
 */

#if defined(OWN_IS_KEY) && !defined(MATRIX_OPERATIONS)
#define OWN_MATRIX COLUMNS_MATRIX
#define OTHER_MATRIX ROWS_MATRIX
#define MULTIPLY(own, other, sum) coopMatMulAdd(other, own, sum)
const uint OWN_SIDE = MATRIX_N;
const uint OTHER_SIDE = MATRIX_M;
const int OWN_LAYOUT = gl_CooperativeMatrixLayoutColumnMajor;
const int OTHER_LAYOUT = gl_CooperativeMatrixLayoutRowMajor;
#else
#define OWN_MATRIX ROWS_MATRIX
#define OTHER_MATRIX COLUMNS_MATRIX
#define MULTIPLY(own, other, sum) coopMatMulAdd(own, other, sum)
const uint OWN_SIDE = MATRIX_M;
const uint OTHER_SIDE = MATRIX_N;
const int OWN_LAYOUT = gl_CooperativeMatrixLayoutRowMajor;
const int OTHER_LAYOUT = gl_CooperativeMatrixLayoutColumnMajor;
#endif

const uint OWN_TILES = TEAM_ROWS / OWN_SIDE;
const uint HEAD_DEPTH = PADDED_HEAD / MATRIX_K; /* matrices along a row */
const uint VALUE_DEPTH = PADDED_VALUE / MATRIX_K;

/* A team's subgroups share its products: along a step first, then along own rows; any that are left have none. */
const uint STEP_PARTS = COLUMN_PARTS < WALK_STEP / OTHER_SIDE ? COLUMN_PARTS : WALK_STEP / OTHER_SIDE;
const uint TILE_PARTS = COLUMN_PARTS / STEP_PARTS < OWN_TILES ? COLUMN_PARTS / STEP_PARTS : OWN_TILES;
const uint PART_TILES = OWN_TILES / TILE_PARTS;

OWN_MATRIX own[FEW_REGISTERS ? 1 : OWN_MATRICES];

/* Matrices `first` and on: rows of a tensor that has `depth` matrices in each, from `begin` on, which are staged. */
void load_staged_own(uint begin, uint first, uint depth, uint stride)
{
    [[unroll]] for (uint t = 0; t < OWN_TILES; t++) {
        uint row = team_row() + t * OWN_SIDE;
        if (row >= begin && row < begin + WALK_STEP) {
            [[unroll]] for (uint d = 0; d < depth; d++)
                coopMatLoad(own[first + t * depth + d], staged, (row - begin) * stride + d * (MATRIX_K / 8), stride, OWN_LAYOUT);
        }
    }
}

/* As many of a tensor's own rows at a time as a step has: where they stay, or through `staged` into matrices `first` and on. */
void load_own(Rows rows, uint tile, uint last_row, uint first, uint depth, uint staged_own, uint stride, uint dim, uint tensor)
{
    const uint at_once = TILE_ROWS < WALK_STEP ? TILE_ROWS : WALK_STEP;
    uvec2 address = tile_address(rows, tile);
    [[unroll]] for (uint begin = 0; begin < TILE_ROWS; begin += at_once) {
        barrier();
        stage(FEW_REGISTERS ? staged_own + begin * stride : 0, stride, at_once, address, rows.row_stride.x, begin, last_row + 1, dim, tensor);
        barrier();
        take_magnitudes(begin, tensor);
        if (!FEW_REGISTERS)
            load_staged_own(begin, first, depth, stride);
    }
}

/* Of PART_TILES tiles of own rows from own_row on, with those that the n-th matrix of staged rows has. */
void multiply_own_tiles(uint own_row, uint n, uint first, uint depth, uint staged_own, uint staged_other, uint stride,
                        out SUMS_MATRIX sum[PART_TILES])
{
    [[unroll]] for (uint t = 0; t < PART_TILES; t++)
        sum[t] = SUMS_MATRIX(0.0);
    [[unroll]] for (uint d = 0; d < depth; d++) {
        if (part_apart(d)) {
            OTHER_MATRIX other;
            coopMatLoad(other, staged, staged_other + n * OTHER_SIDE * stride + d * (MATRIX_K / 8), stride, OTHER_LAYOUT);
            [[unroll]] for (uint t = 0; t < PART_TILES; t++) {
                if (FEW_REGISTERS)
                    coopMatLoad(own[0], staged, staged_own + (own_row + t * OWN_SIDE) * stride + d * (MATRIX_K / 8), stride, OWN_LAYOUT);
                sum[t] = MULTIPLY(own[FEW_REGISTERS ? 0 : first + t * depth + d], other, sum[t]);
            }
        }
    }
}

/* Into products[], a row of them for each own row. */
void multiply_own(uint first, uint depth, uint staged_own, uint staged_other, uint stride)
{
    uint own_row = team_row() + column_part() / STEP_PARTS * PART_TILES * OWN_SIDE, n = column_part() % STEP_PARTS;
    if (column_part() >= STEP_PARTS * TILE_PARTS)
        return;
    [[dont_unroll]] do {
        SUMS_MATRIX sum[PART_TILES];
        multiply_own_tiles(own_row, n, first, depth, staged_own, staged_other, stride, sum);
        [[unroll]] for (uint t = 0; t < PART_TILES; t++)
            coopMatStore(sum[t], products, (own_row + t * OWN_SIDE) * PRODUCT_STRIDE + n * (OTHER_SIDE / 4), PRODUCT_STRIDE, OWN_LAYOUT);
        n += STEP_PARTS;
    } while (n < WALK_STEP / OTHER_SIDE);
}
