/* SPDX-License-Identifier: MIT */
#version 460
/*
 * What gemm.comp computes, on matrix units: of f16 and bf16, with sums in f32.
 *
 * A workgroup computes TILE_ROWS rows of TILE_COLUMNS columns. Its subgroups lie ACROSS beside each other, and each has ROW_TILES x COLUMN_TILES sums
 * in registers. STEP_TERMS terms at a time are staged in shared memory for all of them, as f16 and as they lie: zeros past the last row, column and
 * term. Lanes hold the quads of a step in registers until those before were multiplied; with FEW_REGISTERS they load them then. How sums are finished:
 * see gemm_sums.glsl, or with MATRIX_OPERATIONS (VK_NV_cooperative_matrix2) gemm_sums_by_operations.glsl.
 *
 * bf16 has more range than f16, and so has what is f32 whatever the type. Such rows of left and columns of right are multiplied by powers of two, which
 * shrink as greater elements come; the sums have these factors too, until they are finished.
 *
 * Two barriers a step: before `staged` changes, where all have told their greatest elements, and after it.
 */
#extension GL_GOOGLE_include_directive : require
#include "extensions.glsl"
#include "address.glsl"
#include "element.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint STEP_TERMS = 32; /* a multiple of MATRIX_K, and of 8; a power of two as all that follow */
layout(constant_id = 2) const uint TILE_COLUMNS = 128;
#include "gemm.glsl"
layout(constant_id = 15) const uint MATRIX_M = 16;
layout(constant_id = 16) const uint MATRIX_N = 16;
layout(constant_id = 17) const uint MATRIX_K = 16;
layout(constant_id = 18) const uint ROW_TILES = 4; /* matrices of a subgroup, one below the other */
layout(constant_id = 19) const uint COLUMN_TILES = 2;
layout(constant_id = 20) const uint SUBGROUPS = 8;
layout(constant_id = 21) const bool FEW_REGISTERS = false; /* no more is held at a time than has to be, where compilers would spill it */
#include "matrix_units.glsl"

const uint SUBGROUP_ROWS = ROW_TILES * MATRIX_M;
const uint SUBGROUP_COLUMNS = COLUMN_TILES * MATRIX_N;
const uint ACROSS = TILE_COLUMNS / SUBGROUP_COLUMNS;
const uint TILE_ROWS = SUBGROUPS / ACROSS * SUBGROUP_ROWS;
const uint SUBGROUP_LANES = gl_WorkGroupSize.x / SUBGROUPS;

/* Lines are as they lie in memory. Two quads more than they have keep them on different banks, and matrices aligned to 16 bytes. */
const uint LEFT_LINES = LEFT_TRANSPOSED ? STEP_TERMS : TILE_ROWS;
const uint RIGHT_LINES = RIGHT_TRANSPOSED ? TILE_COLUMNS : STEP_TERMS;
const uint LEFT_LINE_QUADS = (LEFT_TRANSPOSED ? TILE_ROWS : STEP_TERMS) / 4;
const uint RIGHT_LINE_QUADS = (RIGHT_TRANSPOSED ? STEP_TERMS : TILE_COLUMNS) / 4;
const uint LEFT_LINE_STRIDE = LEFT_LINE_QUADS + 2;
const uint RIGHT_LINE_STRIDE = RIGHT_LINE_QUADS + 2;
const uint STAGED_RIGHT = LEFT_LINES * LEFT_LINE_STRIDE;

/* Of a lane. */
const uint LEFT_QUADS = (LEFT_LINES * LEFT_LINE_QUADS + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;
const uint RIGHT_QUADS = (RIGHT_LINES * RIGHT_LINE_QUADS + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x;

#ifdef TYPE_BF16
const bool LEFT_SCALED = true;
const bool RIGHT_SCALED = true;
#else
const bool LEFT_SCALED = LEFT_F32;
const bool RIGHT_SCALED = RIGHT_F32;
#endif
const bool SCALED = LEFT_SCALED || RIGHT_SCALED;
const uint SCALES = SCALED ? TILE_ROWS + TILE_COLUMNS : 4; /* of rows, then of columns */

/* Matrices are aligned to 16 bytes only if these are, and nothing says in which order they lie: each takes whole 16 bytes. */
shared f16vec4 staged[STAGED_RIGHT + RIGHT_LINES * RIGHT_LINE_STRIDE];
shared uint greatest[SCALES];  /* so far, as bits of f32 without sign */
shared uint exponents[SCALES]; /* of the factor, as f32 has it */
shared float changes[SCALES];  /* by what it changed with the last step */
shared uint changed_step[4];   /* the last that changed any, in the first */

SUMS_MATRIX sums[ROW_TILES * COLUMN_TILES];
uvec4 quads[LEFT_QUADS + RIGHT_QUADS]; /* of a step: bits of four of f32, or of f16 or bf16 in the first two */

/* Of the factor that a row or a column gets. Half of what fits: f32 may be rounded up to 2^16, which f16 does not have. */
uint scale_exponent(uint greatest_bits)
{
    return fitting_exponent(greatest_bits) - 1;
}

uvec4 load_f32_quad(uvec2 address, uint quad, uint elements)
{
    vec4 values;
    if (ALIGNED)
        values = FloatQuads(address).at[min(quad, elements / 4 - 1)];
    else
        [[unroll]] for (uint c = 0; c < 4; c++)
            values[c] = Floats(address).at[min(4 * quad + c, elements - 1)];
    return mix(uvec4(0), floatBitsToUint(values), lessThan(uvec4(4 * quad) + uvec4(0, 1, 2, 3), uvec4(elements)));
}

/* Which quad of a step the lane's j-th is, past the last that one again. */
uvec2 line_and_quad(uint j, uint lines, uint line_quads)
{
    uint i = min(j * gl_WorkGroupSize.x + gl_LocalInvocationID.x, lines * line_quads - 1);
    return uvec2(i / line_quads, i % line_quads);
}

bool is_there(uint j, uint lines, uint line_quads)
{
    return lines * line_quads % gl_WorkGroupSize.x == 0 || j * gl_WorkGroupSize.x + gl_LocalInvocationID.x < lines * line_quads;
}

/* Of a matrix of so many lines and elements in each: what begins at a line and an element. */
void load_side(uint slot, uint slots, uint tile_lines, uint line_quads, bool f32, uvec2 address, uint stride, uvec2 begin, uvec2 end)
{
    [[unroll]] for (uint j = 0; j < slots; j++) {
        uvec2 at = uvec2(begin.x, begin.y / 4) + line_and_quad(j, tile_lines, line_quads);
        uvec2 line = address_advance(address, uvec2(stride, 0), min(at.x, max(end.x, 1u) - 1));
        uint elements = max(end.y, ALIGNED ? 4u : 1u);
        uvec4 bits = f32 ? load_f32_quad(line, at.y, elements) : uvec4(load_bits(line, 0, at.y, elements), 0, 0);
        quads[slot + j] = at.x < end.x && end.y > 0 ? bits : uvec4(0);
    }
}

uvec4 with_one(uvec4 bits, uint c)
{
    if (LEFT_F32)
        bits[c] = floatBitsToUint(1.0);
    else
        bits[c / 2] |= uint(element_encode(1.0)) << (16 * (c % 2));
    return bits;
}

/* The row of ones, after the last of left. */
void load_ones(uint term)
{
    [[unroll]] for (uint j = 0; j < LEFT_QUADS; j++) {
        uvec2 at = line_and_quad(j, LEFT_LINES, LEFT_LINE_QUADS);
        [[unroll]] for (uint c = 0; c < 4; c++)
            if (first_row + 4 * at.y + c == rows && term + at.x < terms)
                quads[j] = with_one(quads[j], c);
    }
}

void load_step(uvec2 left_from, uvec2 right_from, uint right_line_stride, uint term)
{
    load_side(0, LEFT_QUADS, LEFT_LINES, LEFT_LINE_QUADS, LEFT_F32, left_from, left_stride,
              LEFT_TRANSPOSED ? uvec2(term, first_row) : uvec2(first_row, term), LEFT_TRANSPOSED ? uvec2(terms, rows) : uvec2(rows, terms));
    load_side(LEFT_QUADS, RIGHT_QUADS, RIGHT_LINES, RIGHT_LINE_QUADS, RIGHT_F32, right_from, right_line_stride,
              RIGHT_TRANSPOSED ? uvec2(first_column, term) : uvec2(term, first_column),
              RIGHT_TRANSPOSED ? uvec2(columns, terms) : uvec2(terms, columns));
    if (ONES)
        load_ones(term);
}

vec4 decode(bool f32, uvec4 bits)
{
    return f32 ? uintBitsToFloat(bits) : quad_decode(bits.xy);
}

/* A scale for each line, or for each element of a line: from `scale` on. */
void tell_greatest(uint slot, uint slots, uint tile_lines, uint line_quads, bool f32, uint scale, bool by_line)
{
    [[unroll]] for (uint j = 0; j < slots; j++) {
        uvec2 at = line_and_quad(j, tile_lines, line_quads);
        uvec4 magnitude = floatBitsToUint(abs(decode(f32, quads[slot + j])));
        if (by_line)
            atomicMax(greatest[scale + at.x], max(max(magnitude.x, magnitude.y), max(magnitude.z, magnitude.w)));
        else
            [[unroll]] for (uint c = 0; c < 4; c++)
                atomicMax(greatest[scale + 4 * at.y + c], magnitude[c]);
    }
}

float scale_of(uint i)
{
    return uintBitsToFloat(scale_exponent(greatest[i]) << 23);
}

float inverse_of(uint i)
{
    return uintBitsToFloat((254u - scale_exponent(greatest[i])) << 23);
}

vec4 scales_of(uint first, bool same)
{
    if (same)
        return vec4(scale_of(first));
    return vec4(scale_of(first), scale_of(first + 1), scale_of(first + 2), scale_of(first + 3));
}

void stage_side(uint slot, uint slots, uint tile_lines, uint line_quads, bool f32, uint to, bool scaled, uint scale, bool by_line)
{
    [[unroll]] for (uint j = 0; j < slots; j++) {
        uvec2 at = line_and_quad(j, tile_lines, line_quads);
        uvec4 bits = quads[slot + j];
        f16vec4 halves = f16vec4(unpackFloat2x16(bits.x), unpackFloat2x16(bits.y));
        if (scaled)
            halves = f16vec4(decode(f32, bits) * scales_of(scale + (by_line ? at.x : 4 * at.y), by_line));
        if (is_there(j, tile_lines, line_quads))
            staged[to + at.x * (line_quads + 2) + at.y] = halves;
    }
}

void note_changes(uint step_number)
{
    uint i = gl_LocalInvocationID.x;
    [[dont_unroll]] do {
        if (i < SCALES) {
            uint before = exponents[i], now = scale_exponent(greatest[i]);
            exponents[i] = now;
            changes[i] = uintBitsToFloat((127u - min(before - now, 127u)) << 23);
            if (now != before)
                changed_step[0] = step_number;
        }
        i += gl_WorkGroupSize.x;
    } while (i < SCALES);
}

void stage_step(uint step_number)
{
    if (LEFT_SCALED)
        tell_greatest(0, LEFT_QUADS, LEFT_LINES, LEFT_LINE_QUADS, LEFT_F32, 0, !LEFT_TRANSPOSED);
    if (RIGHT_SCALED)
        tell_greatest(LEFT_QUADS, RIGHT_QUADS, RIGHT_LINES, RIGHT_LINE_QUADS, RIGHT_F32, TILE_ROWS, RIGHT_TRANSPOSED);
    barrier();
    stage_side(0, LEFT_QUADS, LEFT_LINES, LEFT_LINE_QUADS, LEFT_F32, 0, LEFT_SCALED, 0, !LEFT_TRANSPOSED);
    stage_side(LEFT_QUADS, RIGHT_QUADS, RIGHT_LINES, RIGHT_LINE_QUADS, RIGHT_F32, STAGED_RIGHT, RIGHT_SCALED, TILE_ROWS, RIGHT_TRANSPOSED);
    if (SCALED)
        note_changes(step_number);
    barrier();
}

uint subgroup_row()
{
    return gl_SubgroupID / ACROSS * SUBGROUP_ROWS;
}

uint subgroup_column()
{
    return gl_SubgroupID % ACROSS * SUBGROUP_COLUMNS;
}

#ifdef MATRIX_OPERATIONS
#include "gemm_sums_by_operations.glsl"
#else
#include "gemm_sums.glsl"
#endif

void load_rows(uint k, out ROWS_MATRIX of_rows[ROW_TILES])
{
    [[unroll]] for (uint t = 0; t < ROW_TILES; t++) {
        uint row = subgroup_row() + t * MATRIX_M;
        if (LEFT_TRANSPOSED)
            coopMatLoad(of_rows[t], staged, k * LEFT_LINE_STRIDE + row / 4, LEFT_LINE_STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
        else
            coopMatLoad(of_rows[t], staged, row * LEFT_LINE_STRIDE + k / 4, LEFT_LINE_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
    }
}

void load_column(uint k, uint n, out COLUMNS_MATRIX of_column)
{
    uint column = subgroup_column() + n * MATRIX_N;
    if (RIGHT_TRANSPOSED)
        coopMatLoad(of_column, staged, STAGED_RIGHT + column * RIGHT_LINE_STRIDE + k / 4, RIGHT_LINE_STRIDE,
                    gl_CooperativeMatrixLayoutColumnMajor);
    else
        coopMatLoad(of_column, staged, STAGED_RIGHT + k * RIGHT_LINE_STRIDE + column / 4, RIGHT_LINE_STRIDE,
                    gl_CooperativeMatrixLayoutRowMajor);
}

/* Always true, with FEW_REGISTERS by a condition that is each part's own: compilers join ifs of the same one, and load all parts at once. */
bool part_apart(uint i)
{
    return !FEW_REGISTERS || columns != ~i;
}

void multiply_staged()
{
    [[unroll]] for (uint k = 0; k < STEP_TERMS; k += MATRIX_K) {
        ROWS_MATRIX of_rows[ROW_TILES];
        load_rows(k, of_rows);
        [[unroll]] for (uint n = 0; n < COLUMN_TILES; n++) {
            if (part_apart(k * COLUMN_TILES + n)) {
                COLUMNS_MATRIX of_column;
                load_column(k, n, of_column);
                [[unroll]] for (uint t = 0; t < ROW_TILES; t++)
                    sums[t * COLUMN_TILES + n] = coopMatMulAdd(of_rows[t], of_column, sums[t * COLUMN_TILES + n]);
            }
        }
    }
}

/* Steps are counted on from `steps`. */
uint add_product(uvec2 left_from, uvec2 right_from, uint right_line_stride, uint steps)
{
    uint term = 0;
    if (!FEW_REGISTERS)
        load_step(left_from, right_from, right_line_stride, 0);
    [[dont_unroll]] do {
        steps++;
        if (FEW_REGISTERS)
            load_step(left_from, right_from, right_line_stride, term);
        stage_step(steps);
        term += STEP_TERMS;
        if (!FEW_REGISTERS && term < terms)
            load_step(left_from, right_from, right_line_stride, term);
        if (SCALED && changed_step[0] == steps)
            change_sums();
        multiply_staged();
    } while (term < terms);
    return steps;
}

/* With FEW_REGISTERS in a loop, by the same code: sums would be in others for each product. */
void add_both_products()
{
    uint steps = 0, product = 0;
    if (FEW_REGISTERS) {
        [[dont_unroll]] do {
            bool second = product > 0;
            steps = add_product(second ? others[0] : left, second ? others[1] : right, second ? other_right_stride : right_stride, steps);
            product++;
        } while (product < 2);
        return;
    }
    steps = add_product(left, right, right_stride, 0);
    add_product(others[0], others[1], other_right_stride, steps);
}

void clear()
{
    uint i = gl_LocalInvocationID.x;
    [[dont_unroll]] do {
        if (i < SCALES) {
            greatest[i] = 0;
            exponents[i] = scale_exponent(0);
            changes[i] = 1.0;
        }
        i += gl_WorkGroupSize.x;
    } while (i < SCALES);
    changed_step[0] = 0;
    barrier();
}

void main()
{
    first_row = (first_row_tile + gl_WorkGroupID.x) * TILE_ROWS;
    first_column = (first_column_tile + gl_WorkGroupID.y) * TILE_COLUMNS;
    written_from = 0;
    find_tiles();
    [[unroll]] for (uint i = 0; i < ROW_TILES * COLUMN_TILES; i++)
        sums[i] = SUMS_MATRIX(0.0);
    if (SCALED)
        clear();
    if (TWO_PRODUCTS)
        add_both_products();
    else
        add_product(left, right, right_stride, 0);
    finish_sums();
}
