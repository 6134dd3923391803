/* SPDX-License-Identifier: MIT */
/*
 * What kernels of result = left · right have in common: matrices and their forms, and what follows a product in a feed-forward layer.
 * A kernel sets first_row, first_column and written_from, and then finds the tiles.
 */

/* The host's copy is the array in gemm.c. */
layout(constant_id = 3) const bool ALIGNED = true;             /* all matrices have rows of whole quads, at addresses of whole quads */
layout(constant_id = 4) const bool EDGED = false;              /* a tile may have columns past the last */
layout(constant_id = 5) const bool LEFT_TRANSPOSED = false;    /* left lies as [terms][rows] */
layout(constant_id = 6) const bool RIGHT_TRANSPOSED = false;   /* right lies as [columns][terms] */
layout(constant_id = 7) const bool LEFT_F32 = false;           /* whatever the type is; so the next two */
layout(constant_id = 8) const bool RIGHT_F32 = false;
layout(constant_id = 9) const bool RESULT_F32 = false;
layout(constant_id = 10) const uint EPILOGUE = 0;
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const bool BIAS = false;
layout(constant_id = 13) const bool ONES = false;              /* left, transposed, has a row of ones after the last, whose result goes elsewhere */
layout(constant_id = 14) const bool TWO_PRODUCTS = false;      /* the sum of two, each with matrices of its own */

const uint EPILOGUE_STORE = 0;          /* result = act(sum + bias) */
const uint EPILOGUE_MULTIPLY = 1;       /* result = result · (sum + bias) */
const uint EPILOGUE_ACCUMULATE = 2;     /* result = result + sum, or sum if first */
const uint EPILOGUE_GRADIENT = 3;       /* see there */
const uint EPILOGUE_GATED_GRADIENT = 4;
const bool HAS_GRADIENT = EPILOGUE >= EPILOGUE_GRADIENT;

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

const uint LEFT_BYTES = LEFT_F32 ? 4 : ELEMENT_BYTES;
const uint RIGHT_BYTES = RIGHT_F32 ? 4 : ELEMENT_BYTES;
const uint RESULT_BYTES = RESULT_F32 ? 4 : ELEMENT_BYTES;

/* Columns that are finished together: a quad, or with MATRIX_OPERATIONS one. */
#ifdef MATRIX_OPERATIONS
#define COLUMN_VALUES float
#else
#define COLUMN_VALUES vec4
#endif

uint first_row, first_column, written_from; /* of the tile, and the first of the tile's columns that it writes */
uvec2 tiles[3];                             /* where it begins in the result and the others */

float load(bool f32, uvec2 address, uint element)
{
    return f32 ? Floats(address).at[element] : element_decode(Elements(address).at[element]);
}

vec4 load_four(bool f32, uvec2 address, uvec4 at)
{
    vec4 values;
    [[unroll]] for (uint i = 0; i < 4; i++)
        values[i] = load(f32, address, at[i]);
    return values;
}

vec4 load_aligned_quad(bool f32, uvec2 address, uint element)
{
    return f32 ? FloatQuads(address).at[element / 4] : quad_decode(Quads(address).at[element / 4]);
}

vec4 load_quad(bool f32, uvec2 address, uint element)
{
    return ALIGNED ? load_aligned_quad(f32, address, element) : load_four(f32, address, element + uvec4(0, 1, 2, 3));
}

/* Columns of the tile from one on, of a row at the address. What is not there is another column. */
COLUMN_VALUES load_columns(bool f32, uvec2 address, uint element, uint column)
{
#ifdef MATRIX_OPERATIONS
    return load(f32, address, element + column);
#else
    uint last = columns - first_column - 1;
    return ALIGNED ? load_aligned_quad(f32, address, element + (EDGED ? min(column, last - 3) : column))
                   : load_four(f32, address, element + (EDGED ? min(column + uvec4(0, 1, 2, 3), uvec4(last)) : column + uvec4(0, 1, 2, 3)));
#endif
}

void store_one(bool f32, uvec2 address, uint element, float value)
{
    if (f32)
        Floats(address).at[element] = value;
    else
        OutElements(address).at[element] = element_encode(value);
}

/* Of the tile's columns, those that it writes. */
bool is_written(uint column)
{
    return column >= written_from && (!EDGED || column < columns - first_column);
}

void store(bool f32, uvec2 address, uint element, uint column, COLUMN_VALUES values)
{
#ifdef MATRIX_OPERATIONS
    store_one(f32, address, element + column, values);
#else
    if (ALIGNED) {
        if (is_written(column)) {
            if (f32)
                FloatQuads(address).at[(element + column) / 4] = values;
            else
                OutQuads(address).at[(element + column) / 4] = quad_encode(values);
        }
    } else {
        [[unroll]] for (uint c = 0; c < 4; c++) {
            if (is_written(column + c))
                store_one(f32, address, element + column + c, values[c]);
        }
    }
#endif
}

#include "activation.glsl"

uvec2 result_tile(uvec2 address)
{
    return address_add(address_advance(address, uvec2(result_stride, 0), first_row), first_column * RESULT_BYTES);
}

void find_tiles()
{
    tiles[0] = result_tile(result);
    tiles[1] = result_tile(others[0]);
    tiles[2] = result_tile(others[1]);
}

/* What is read and written at one place is f32. */
void accumulate(uvec2 address, uint element, uint column, COLUMN_VALUES sum)
{
    if (first == 0)
        sum += load_columns(true, address, element, column);
    store(true, address, element, column, sum);
}

/*
 * What becomes of a row's sums, of columns from one on; the row lies at the address and element. Where gradients follow, sums are those by the
 * hidden layer. EPILOGUE_GRADIENT: result has what the activation was given and gets the hidden layer, others[0] gets gradients by what the
 * activation was given. EPILOGUE_GATED_GRADIENT: result and others[0] have both factors before the activation, others[0] that of the gate;
 * others get the gradients by these, others[1] the other's, and result the hidden layer.
 *
 * The activation stands here once, and nothing returns early: drivers work through all forms before they leave out those that are not this one.
 */
void finish(uvec2 address, uint element, uint column, COLUMN_VALUES sum)
{
    if (EPILOGUE == EPILOGUE_ACCUMULATE) {
        accumulate(address, element, column, sum);
    } else {
        COLUMN_VALUES held, given, value;
        vec4 derivative;
        if (BIAS)
            sum += load_columns(false, address_add(bias, first_column * ELEMENT_BYTES), 0, column);
        if (EPILOGUE != EPILOGUE_STORE)
            held = load_columns(true, address, element, column);
        given = EPILOGUE == EPILOGUE_GRADIENT ? held : sum;
        if (EPILOGUE == EPILOGUE_GATED_GRADIENT)
            given = load_columns(true, tiles[1], element, column);
        value = EPILOGUE == EPILOGUE_MULTIPLY ? sum : COLUMN_VALUES(activation(vec4(given), derivative));
        if (EPILOGUE == EPILOGUE_GATED_GRADIENT) {
            store(true, tiles[2], element, column, sum * value);
            sum *= held;
        }
        if (EPILOGUE == EPILOGUE_MULTIPLY || EPILOGUE == EPILOGUE_GATED_GRADIENT)
            value *= held;
        if (HAS_GRADIENT)
            store(true, tiles[1], element, column, sum * COLUMN_VALUES(derivative));
        store(RESULT_F32 || HAS_GRADIENT, address, element, column, value);
    }
}
