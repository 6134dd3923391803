/* SPDX-License-Identifier: MIT */
#version 460
/*
 * result = left · right, with what follows a product in a feed-forward layer.
 *
 * A workgroup computes TILE_ROWS rows of TILE_COLUMNS columns. A lane owns ROWS_PER_LANE rows and holds all columns of the tile in registers; it
 * walks over the products' terms four at a time, reading those of its rows by itself and those of the columns at addresses that all lanes share.
 * Lanes past the last row compute that one again and write nothing; the last tile of columns begins where it is whole, and writes only what no
 * other does. No shared memory, no barrier.
 */
#extension GL_GOOGLE_include_directive : require
#include "extensions.glsl"
#include "address.glsl"
#include "element.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS_PER_LANE = 2;
layout(constant_id = 2) const uint TILE_COLUMNS = 64;          /* a multiple of 4 */
#include "gemm.glsl"

const uint QUAD_COLUMNS = TILE_COLUMNS / 4;
const uint TILE_ROWS = gl_WorkGroupSize.x * ROWS_PER_LANE;

vec4 sums[ROWS_PER_LANE * QUAD_COLUMNS];
uint row_of[ROWS_PER_LANE]; /* from the tile's first; past the last, that one again */

bool is_ones(uint r)
{
    return ONES && first_row + row_of[r] == rows;
}

/* Row slot r's; where that is the row of ones, of the row before it, or of none. */
uint left_row(uint r)
{
    return ONES && is_ones(r) ? max(row_of[r], 1u) - 1 : row_of[r];
}

/* Left's first term of a tile's first row. */
uvec2 left_begin(uvec2 address)
{
    uint from = min(first_row, rows > 0 ? rows - 1 : 0);
    return LEFT_TRANSPOSED ? address_add(address, from * LEFT_BYTES) : address_advance(address, uvec2(left_stride, 0), from);
}

uvec2 right_begin(uvec2 address, uint stride)
{
    return RIGHT_TRANSPOSED ? address_advance(address, uvec2(stride, 0), first_column) : address_add(address, first_column * RIGHT_BYTES);
}

uvec2 left_terms(uvec2 address, uint term)
{
    return LEFT_TRANSPOSED ? address_advance(address, uvec2(left_stride, 0), term) : address_add(address, term * LEFT_BYTES);
}

uvec2 right_terms(uvec2 address, uint stride, uint term)
{
    return RIGHT_TRANSPOSED ? address_add(address, term * RIGHT_BYTES) : address_advance(address, uvec2(stride, 0), term);
}

void add_four_terms(uvec2 left_at, uvec2 right_at, uint stride)
{
    vec4 own[ROWS_PER_LANE];
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = left_row(r);
        if (LEFT_TRANSPOSED)
            [[unroll]] for (uint k = 0; k < 4; k++)
                own[r][k] = load(LEFT_F32, address_add(left_at, k * left_stride), row);
        else
            own[r] = load_quad(LEFT_F32, left_at, row * (left_stride / LEFT_BYTES));
        if (ONES)
            own[r] = is_ones(r) ? vec4(1) : own[r];
    }
    [[unroll]] for (uint q = 0; q < QUAD_COLUMNS; q++) {
        vec4 other[4];
        [[unroll]] for (uint k = 0; k < 4; k++)
            other[k] = RIGHT_TRANSPOSED
                           ? load_quad(RIGHT_F32, address_add(right_at, (EDGED ? min(4 * q + k, columns - 1) : 4 * q + k) * stride), 0)
                           : load_columns(RIGHT_F32, address_add(right_at, k * stride), 0, 4 * q);
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            [[unroll]] for (uint k = 0; k < 4; k++)
                sums[r * QUAD_COLUMNS + q] =
                    RIGHT_TRANSPOSED ? fma(vec4(own[r][k]), vec4(other[0][k], other[1][k], other[2][k], other[3][k]), sums[r * QUAD_COLUMNS + q])
                                     : fma(vec4(own[r][k]), other[k], sums[r * QUAD_COLUMNS + q]);
    }
}

void add_one_term(uvec2 left_at, uvec2 right_at, uint stride)
{
    float own[ROWS_PER_LANE];
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = left_row(r);
        own[r] = load(LEFT_F32, left_at, LEFT_TRANSPOSED ? row : row * (left_stride / LEFT_BYTES));
        if (ONES)
            own[r] = is_ones(r) ? 1.0 : own[r];
    }
    [[unroll]] for (uint q = 0; q < QUAD_COLUMNS; q++) {
        vec4 other;
        if (RIGHT_TRANSPOSED)
            [[unroll]] for (uint k = 0; k < 4; k++)
                other[k] = load(RIGHT_F32, address_add(right_at, (EDGED ? min(4 * q + k, columns - 1) : 4 * q + k) * stride), 0);
        else
            other = load_columns(RIGHT_F32, right_at, 0, 4 * q);
        [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
            sums[r * QUAD_COLUMNS + q] = fma(vec4(own[r]), other, sums[r * QUAD_COLUMNS + q]);
    }
}

/*
 * Loops are tested at their ends: llvmpipe runs one that is tested at the top once more with all lanes off, and does not mask loads at addresses
 * that all lanes share. For the same reason what a branch that is not taken would read is there.
 */
void add_product(uvec2 left_from, uvec2 right_from, uint stride)
{
    uvec2 left_at = left_begin(left_from), right_at = right_begin(right_from, stride);
    uint term = 0, whole = terms & ~3u;
    if (whole > 0) {
        do {
            add_four_terms(left_at, right_at, stride);
            term += 4;
            left_at = LEFT_TRANSPOSED ? address_add(left_at, 4 * left_stride) : address_add(left_at, 4 * LEFT_BYTES);
            right_at = RIGHT_TRANSPOSED ? address_add(right_at, 4 * RIGHT_BYTES) : address_add(right_at, 4 * stride);
        } while (term < whole);
    }
    if (term < terms) {
        do {
            uint at = min(term, terms - 1);
            add_one_term(left_terms(left_begin(left_from), at), right_terms(right_begin(right_from, stride), stride, at), stride);
            term++;
        } while (term < terms);
    }
}

void main()
{
    uint last_row = rows + ones - 1;
    uint tile_column = (first_column_tile + gl_WorkGroupID.y) * TILE_COLUMNS;
    first_row = (first_row_tile + gl_WorkGroupID.x) * TILE_ROWS;
    first_column = EDGED ? 0 : min(tile_column, columns - TILE_COLUMNS);
    written_from = tile_column - first_column;
    find_tiles();
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        row_of[r] = min(r * gl_WorkGroupSize.x + gl_LocalInvocationID.x, last_row - first_row);
    [[unroll]] for (uint i = 0; i < ROWS_PER_LANE * QUAD_COLUMNS; i++)
        sums[i] = vec4(0);

    add_product(left, right, right_stride);
    if (TWO_PRODUCTS)
        add_product(others[0], others[1], other_right_stride);

    uvec2 address = tiles[0], ones_address = address_add(bias, first_column * 4);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = r * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
        if (row <= last_row - first_row) {
            [[unroll]] for (uint q = 0; q < QUAD_COLUMNS; q++) {
                if (ONES && is_ones(r))
                    accumulate(ones_address, 0, 4 * q, sums[r * QUAD_COLUMNS + q]);
                else
                    finish(address, row * (result_stride / RESULT_BYTES), 4 * q, sums[r * QUAD_COLUMNS + q]);
            }
        }
    }
}
