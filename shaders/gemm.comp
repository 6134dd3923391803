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

/* The host's copy is the array in gemm.c. */
layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS_PER_LANE = 2;
layout(constant_id = 2) const uint TILE_COLUMNS = 64;          /* a multiple of 4 */
layout(constant_id = 3) const bool ALIGNED = true;             /* all matrices have rows of whole quads, at addresses of whole quads */
layout(constant_id = 4) const bool NARROW = false;             /* there are less columns than a tile has */
layout(constant_id = 5) const bool LEFT_TRANSPOSED = false;    /* left lies as [terms][rows] */
layout(constant_id = 6) const bool RIGHT_TRANSPOSED = false;   /* right lies as [columns][terms] */
layout(constant_id = 7) const bool LEFT_F32 = false;           /* whatever the type is; so the next two */
layout(constant_id = 8) const bool RIGHT_F32 = false;
layout(constant_id = 9) const bool RESULT_F32 = false;
layout(constant_id = 10) const uint EPILOGUE = 0;
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const bool BIAS = false;
layout(constant_id = 13) const bool ONES = false;              /* left has a row of ones after the last, whose result goes elsewhere */
layout(constant_id = 14) const bool TWO_PRODUCTS = false;      /* the sum of two, each with matrices of its own */

const uint EPILOGUE_STORE = 0;          /* result = act(sum + bias) */
const uint EPILOGUE_MULTIPLY = 1;       /* result = result · (sum + bias) */
const uint EPILOGUE_ACCUMULATE = 2;     /* result = result + sum, or sum if first */
const uint EPILOGUE_GRADIENT = 3;       /* see there */
const uint EPILOGUE_GATED_GRADIENT = 4;

layout(push_constant, scalar) uniform Push {
    uvec2 left, right, result; /* (low, high) */
    uvec2 bias;                /* or where the row of ones goes, f32 */
    uvec2 others[2];           /* the second left and right; or what gradients read and write, which lie as result does */
    uint left_stride, right_stride, result_stride, other_right_stride; /* bytes from one row, as it lies, to the next */
    uint rows, columns, terms; /* without the row of ones */
    uint first_row_tile, first_column_tile;
    uint first;
    uint ones;                 /* 1: the row of ones is wanted */
};

layout(buffer_reference, scalar, buffer_reference_align = 4) buffer Floats {
    float at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 16) buffer FloatQuads {
    vec4 at[];
};

const uint QUAD_COLUMNS = TILE_COLUMNS / 4;
const uint TILE_ROWS = gl_WorkGroupSize.x * ROWS_PER_LANE;
const uint LEFT_BYTES = LEFT_F32 ? 4 : ELEMENT_BYTES;
const uint RIGHT_BYTES = RIGHT_F32 ? 4 : ELEMENT_BYTES;
const uint RESULT_BYTES = RESULT_F32 ? 4 : ELEMENT_BYTES;

vec4 sums[ROWS_PER_LANE * QUAD_COLUMNS];
uint row_of[ROWS_PER_LANE]; /* from the tile's first; past the last, that one again */
uint first_row, first_column, written_from; /* of the tile, and the first of the tile's columns that it writes */

float load(bool f32, uvec2 address, uint element)
{
    return f32 ? Floats(address).at[element] : element_decode(Elements(address).at[element]);
}

vec4 load_quad(bool f32, uvec2 address, uint element)
{
    if (!ALIGNED)
        return vec4(load(f32, address, element), load(f32, address, element + 1), load(f32, address, element + 2),
                    load(f32, address, element + 3));
    return f32 ? FloatQuads(address).at[element / 4] : quad_decode(Quads(address).at[element / 4]);
}

/* Four columns from one on; past the last they are that one again. */
vec4 load_columns(bool f32, uvec2 address, uint column)
{
    if (!NARROW)
        return load_quad(f32, address, column);
    uvec4 at = min(uvec4(column) + uvec4(0, 1, 2, 3), uvec4(columns - 1));
    return vec4(load(f32, address, at.x), load(f32, address, at.y), load(f32, address, at.z), load(f32, address, at.w));
}

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
                           ? load_quad(RIGHT_F32, address_add(right_at, (NARROW ? min(4 * q + k, columns - 1) : 4 * q + k) * stride), 0)
                           : load_columns(RIGHT_F32, address_add(right_at, k * stride), 4 * q);
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
                other[k] = load(RIGHT_F32, address_add(right_at, (NARROW ? min(4 * q + k, columns - 1) : 4 * q + k) * stride), 0);
        else
            other = load_columns(RIGHT_F32, right_at, 4 * q);
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

/* Columns 4 · q … of the tile that it writes. */
bool is_written(uint column)
{
    return column >= written_from && (!NARROW || column < columns);
}

void store(bool f32, uvec2 address, uint element, uint column, vec4 values)
{
    if (ALIGNED && !NARROW) {
        if (is_written(column)) {
            if (f32)
                FloatQuads(address).at[(element + column) / 4] = values;
            else
                OutQuads(address).at[(element + column) / 4] = quad_encode(values);
        }
        return;
    }
    [[unroll]] for (uint c = 0; c < 4; c++) {
        if (is_written(column + c)) {
            if (f32)
                Floats(address).at[element + column + c] = values[c];
            else
                OutElements(address).at[element + column + c] = element_encode(values[c]);
        }
    }
}

vec4 load_result(uvec2 address, uint element, uint column)
{
    if (!NARROW)
        return load_quad(true, address, element + column);
    uvec4 at = uvec4(element) + min(uvec4(column) + uvec4(0, 1, 2, 3), uvec4(columns - 1));
    return vec4(load(true, address, at.x), load(true, address, at.y), load(true, address, at.z), load(true, address, at.w));
}

#include "activation.glsl"

uvec2 result_tile(uvec2 address)
{
    return address_add(address_advance(address, uvec2(result_stride, 0), first_row), first_column * RESULT_BYTES);
}

/*
 * Sums are gradients by the hidden layer. EPILOGUE_GRADIENT: result has what the activation was given and gets the hidden layer, others[0] gets
 * gradients by what the activation was given. EPILOGUE_GATED_GRADIENT: result and others[0] have both factors before the activation, others[0]
 * that of the gate; others get the gradients by these, others[1] the other's, and result the hidden layer.
 */
void finish_gradient(uint element, uint column, vec4 sum)
{
    vec4 given = load_result(result_tile(result), element, column);
    if (EPILOGUE == EPILOGUE_GRADIENT) {
        store(true, result_tile(others[0]), element, column, sum * activation_derivative(given));
        store(true, result_tile(result), element, column, activation(given));
        return;
    }
    vec4 gate = load_result(result_tile(others[0]), element, column), opened = activation(gate);
    store(true, result_tile(others[0]), element, column, sum * given * activation_derivative(gate));
    store(true, result_tile(others[1]), element, column, sum * opened);
    store(true, result_tile(result), element, column, opened * given);
}

void finish(uvec2 address, uint element, uint column, vec4 sum)
{
    if (EPILOGUE == EPILOGUE_GRADIENT || EPILOGUE == EPILOGUE_GATED_GRADIENT) {
        finish_gradient(element, column, sum);
        return;
    }
    if (BIAS)
        sum += load_columns(false, address_add(bias, first_column * ELEMENT_BYTES), column);
    if (EPILOGUE == EPILOGUE_STORE)
        sum = activation(sum);
    if (EPILOGUE == EPILOGUE_MULTIPLY)
        sum *= load_result(address, element, column);
    if (EPILOGUE == EPILOGUE_ACCUMULATE && first == 0)
        sum += load_result(address, element, column);
    store(RESULT_F32, address, element, column, sum);
}

void main()
{
    uint last_row = rows + ones - 1;
    uint tile_column = (first_column_tile + gl_WorkGroupID.y) * TILE_COLUMNS;
    first_row = (first_row_tile + gl_WorkGroupID.x) * TILE_ROWS;
    first_column = NARROW ? 0 : min(tile_column, columns - TILE_COLUMNS);
    written_from = tile_column - first_column;
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        row_of[r] = min(r * gl_WorkGroupSize.x + gl_LocalInvocationID.x, last_row - first_row);
    [[unroll]] for (uint i = 0; i < ROWS_PER_LANE * QUAD_COLUMNS; i++)
        sums[i] = vec4(0);

    add_product(left, right, right_stride);
    if (TWO_PRODUCTS)
        add_product(others[0], others[1], other_right_stride);

    uvec2 address = result_tile(result), ones_address = address_add(bias, first_column * 4);
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++) {
        uint row = r * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
        if (row <= last_row - first_row) {
            [[unroll]] for (uint q = 0; q < QUAD_COLUMNS; q++) {
                if (ONES && is_ones(r))
                    finish(ones_address, 0, 4 * q, sums[r * QUAD_COLUMNS + q]);
                else
                    finish(address, row * (result_stride / RESULT_BYTES), 4 * q, sums[r * QUAD_COLUMNS + q]);
            }
        }
    }
}
