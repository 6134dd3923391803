/* SPDX-License-Identifier: MIT */
/*
 * Rows of tensors in shared memory, as f16, or as bf16 where matrices have such elements: zeros past the last row and the last element, so that products need not know where tensors end.
 *
 * bf16 has the range of f32, which f16 has not. In the place of f16 its rows are staged divided by a power of two, their magnitude, that puts the greatest element of a row
 * between 2^15 and 2^16. Elements down to 2^-32 of the greatest are all there; smaller ones change by 2^-40 of it at most. What is made of rows is
 * multiplied by their magnitudes, which rounds nothing.
 */

layout(buffer_reference, scalar, buffer_reference_align = 16) readonly buffer Octets {
    uvec4 at[];
};

/* As load_bits, but eight elements. */
uvec4 load_octet(uvec2 address, uint first, uint octet, uint dim)
{
    if (!OCTETS)
        return uvec4(load_bits(address, first, 2 * octet, dim), load_bits(address, first, 2 * octet + 1, dim));
    uvec4 bits = Octets(address).at[first / 8 + min(octet, dim / 8 - 1)];
    return octet < dim / 8 ? bits : uvec4(0);
}

const uint STAGED_AT_ONCE = !PARTS_APART || ALIGNED ? 2 : 1; /* octets that a lane loads before it stores any */

/* Which of the two tensors of a side. */
const uint HEAD_TENSOR = 0;
const uint VALUE_TENSOR = 1;

#if defined(TYPE_BF16) && !defined(MATRICES_OF_BFLOAT16)

const bool HAS_MAGNITUDES = true;
const float LARGEST_MAGNITUDE = 1.7014118e38; /* of a pair: where it is larger, so are scores than f32 can hold */
const uint STAGE_LANES = gl_WorkGroupSize.x > WALK_STEP ? gl_WorkGroupSize.x / WALK_STEP : 1; /* that share a row */
const uint STAGE_ROWS = gl_WorkGroupSize.x / STAGE_LANES;                                     /* at a time */

shared float magnitudes[2 * WALK_STEP]; /* of the rows of both tensors that are staged */
float own_magnitudes[2 * ROWS_PER_LANE];
/* In their place with PARTS_APART, where registers are few. */
shared float shown_magnitudes[PARTS_APART ? 2 * TILE_ROWS : 1];

/* Stages a lane's octets of a row as they are, bf16 in the place of f16. The greatest element of the row, without its sign. */
uint stage_bits(uint to, uint octets, uvec2 address, uint first, bool row_is_there, uint dim)
{
    uint greatest = 0, octet = gl_SubgroupInvocationID % STAGE_LANES;
    [[dont_unroll]] do {
        uvec4 bits[STAGED_AT_ONCE];
        [[unroll]] for (uint j = 0; j < STAGED_AT_ONCE; j++)
            bits[j] = load_octet(address, first, octet + j * STAGE_LANES, dim);
        [[unroll]] for (uint j = 0; j < STAGED_AT_ONCE; j++) {
            bits[j] = row_is_there ? bits[j] : uvec4(0);
            greatest = max(greatest, max(greatest_of(bits[j].xy), greatest_of(bits[j].zw)));
            if (octet + j * STAGE_LANES < octets)
                staged[to + octet + j * STAGE_LANES] = bits[j];
        }
        octet += STAGED_AT_ONCE * STAGE_LANES;
    } while (octet < octets);
    [[unroll]] for (uint apart = 1; apart < STAGE_LANES; apart *= 2)
        greatest = max(greatest, subgroupShuffleXor(greatest, apart));
    return greatest;
}

uvec2 converted(uvec2 bits, float inverse_magnitude)
{
    f16vec4 values = f16vec4(quad_decode(bits) * inverse_magnitude);
    return uvec2(packFloat2x16(values.xy), packFloat2x16(values.zw));
}

/* Turns what stage_bits() left into f16. */
void convert_staged(uint to, uint octets, float inverse_magnitude)
{
    uint octet = gl_SubgroupInvocationID % STAGE_LANES;
    [[dont_unroll]] do {
        uvec4 bits = staged[to + min(octet, octets - 1)];
        if (octet < octets)
            staged[to + octet] = uvec4(converted(bits.xy, inverse_magnitude), converted(bits.zw, inverse_magnitude));
        octet += STAGE_LANES;
    } while (octet < octets);
}

/*
 * Rows begin … begin + rows - 1 of those at the address, of which `end` are there. Each row is one subgroup's: nobody waits. Where registers are few,
 * in branches: else compilers keep what rows have in common all the walk.
 */
void stage(uint to, uint stride, uint rows, uvec2 address, uint stride_bytes, uint begin, uint end, uint dim, uint tensor)
{
    const uint octets = stride - 1;
    uint lane = gl_SubgroupID * (gl_WorkGroupSize.x / SUBGROUPS) + gl_SubgroupInvocationID;
    uint first = 0;
    [[dont_unroll]] do {
        if (part_apart(tensor)) {
            uint row = min(first + lane / STAGE_LANES, rows - 1);
            uint index = min(begin + row, end - 1) * (stride_bytes / ELEMENT_BYTES);
            uint greatest = stage_bits(to + row * stride, octets, address, index, begin + row < end, dim);
            uint exponent = fitting_exponent(greatest);
            convert_staged(to + row * stride, octets, uintBitsToFloat(exponent << 23));
            magnitudes[tensor * WALK_STEP + row] = uintBitsToFloat((254u - exponent) << 23);
        }
        first += STAGE_ROWS;
    } while (first < rows);
}

/* Of own rows from `begin` on, which were just staged. */
void take_magnitudes(uint begin, uint tensor)
{
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        if (row_of(r) >= begin && row_of(r) < begin + WALK_STEP) {
            float magnitude = magnitudes[tensor * WALK_STEP + row_of(r) - begin];
            if (PARTS_APART)
                shown_magnitudes[tensor * TILE_ROWS + row_of(r)] = magnitude;
            else
                own_magnitudes[tensor * ROWS_PER_LANE + r] = magnitude;
        }
}

/* Lanes see what they stored themselves. */
float own_magnitude(uint tensor, uint r)
{
    if (PARTS_APART)
        return shown_magnitudes[tensor * TILE_ROWS + row_of(r)];
    return own_magnitudes[tensor * ROWS_PER_LANE + r];
}

vec4 magnitudes_of(uint tensor, uint quad)
{
    uint first = tensor * WALK_STEP + 4 * quad;
    return vec4(magnitudes[first], magnitudes[first + 1], magnitudes[first + 2], magnitudes[first + 3]);
}

/* Of rows of a tensor on both sides: row slot r with a quad of the step. */
vec4 dots_of(uint tensor, uint r, uint quad)
{
    return product_of(r, quad) * min(own_magnitude(tensor, r) * magnitudes_of(tensor, quad), vec4(LARGEST_MAGNITUDE));
}

/* What lanes have of pairs with a quad of the step, as factors of rows that are staged. */
vec4 factors_of(uint tensor, uint quad, vec4 pairs)
{
    return pairs * magnitudes_of(tensor, quad);
}

#else

const bool HAS_MAGNITUDES = false;

/* Rows begin … begin + rows - 1 of those at the address, of which `end` are there; in branches where registers are few. */
void stage(uint to, uint stride, uint rows, uvec2 address, uint stride_bytes, uint begin, uint end, uint dim, uint tensor)
{
    const uint octets = stride - 1;
    uint first = 0;
    [[dont_unroll]] do {
        if (part_apart(tensor)) {
            uvec4 bits[STAGED_AT_ONCE];
            [[unroll]] for (uint j = 0; j < STAGED_AT_ONCE; j++) {
                uint i = first + j * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
                bits[j] = load_octet(address, min(begin + i / octets, end - 1) * (stride_bytes / ELEMENT_BYTES), i % octets, dim);
            }
            [[unroll]] for (uint j = 0; j < STAGED_AT_ONCE; j++) {
                uint i = first + j * gl_WorkGroupSize.x + gl_LocalInvocationID.x, row = i / octets;
                if (row < rows)
                    staged[to + row * stride + i % octets] = begin + row < end ? bits[j] : uvec4(0);
            }
        }
        first += STAGED_AT_ONCE * gl_WorkGroupSize.x;
    } while (first < rows * octets);
}

void take_magnitudes(uint begin, uint tensor)
{
}

vec4 dots_of(uint tensor, uint r, uint quad)
{
    return product_of(r, quad);
}

vec4 factors_of(uint tensor, uint quad, vec4 pairs)
{
    return pairs;
}

#endif

#ifdef MAY_TURN_VALUES

const uint TURNED_OCTETS = PADDED_VALUE / 8;
const uint TURNED_ASIDE = TURNED_OCTETS % 8 == 0 ? 8 : TURNED_OCTETS % 4 == 0 ? 4 : TURNED_OCTETS % 2 == 0 ? 2 : 1; /* octets of a row that lanes side by side have */
const uint TURNED_UNITS = TURNED_OCTETS * (WALK_STEP / 2);

/* The elements of a column in two rows side by side: column `of` of two octets. */
uint both_of(uvec4 even, uvec4 odd, uint of)
{
    return of % 2 == 0 ? (even[of / 2] & 0xffffu) | (odd[of / 2] << 16) : (even[of / 2] >> 16) | (odd[of / 2] & 0xffff0000u);
}

/*
 * A step's rows in shared memory, of which `end` are there, with those of a column one after the other: matrices of columns then have their elements side by
 * side. A lane has an octet of two rows. It begins with the column of its octet that its number says, so that lanes side by side store to all banks.
 */
void stage_turned(uint to, uvec2 address, uint stride_bytes, uint end, uint dim)
{
    uint i = gl_LocalInvocationID.x;
    [[dont_unroll]] do {
        uint unit = min(i, TURNED_UNITS - 1), octet = unit % TURNED_ASIDE + unit / (TURNED_ASIDE * (WALK_STEP / 2)) * TURNED_ASIDE;
        uint pair = unit / TURNED_ASIDE % (WALK_STEP / 2);
        uvec4 even = load_octet(address, min(2 * pair, end - 1) * (stride_bytes / ELEMENT_BYTES), octet, dim);
        uvec4 odd = load_octet(address, min(2 * pair + 1, end - 1) * (stride_bytes / ELEMENT_BYTES), octet, dim);
        even = 2 * pair < end ? even : uvec4(0);
        odd = 2 * pair + 1 < end ? odd : uvec4(0);
        uint columns[8], turned[8];
        [[unroll]] for (uint c = 0; c < 8; c++)
            columns[c] = both_of(even, odd, c);
        [[unroll]] for (uint by = 1; by < 8; by *= 2) {
            [[unroll]] for (uint c = 0; c < 8; c++)
                turned[c] = (octet & by) != 0 ? columns[(c + by) % 8] : columns[c];
            columns = turned;
        }
        if (i < TURNED_UNITS) {
            [[unroll]] for (uint c = 0; c < 8; c++)
                staged[to + (8 * octet + (c + octet) % 8) * TURNED_STRIDE + pair / 4][pair % 4] = columns[c];
        }
        i += gl_WorkGroupSize.x;
    } while (i < TURNED_UNITS);
}

#endif

/*
 * With LOADS_AHEAD lanes load the next step's octets into registers before they look at this one's: what memory takes passes meanwhile. Nothing looks at
 * them until they are staged, or lanes would wait for them where they are loaded. Those of the tensor of head_dim, then those of the other.
 */
#if defined(TYPE_BF16) && !defined(MATRICES_OF_BFLOAT16)

void load_step(uint from)
{
}

bool stage_loaded_step(uint left)
{
    return false;
}

#else

const uint AHEAD_HEAD = LOADS_AHEAD ? (WALK_STEP * (HEAD_STRIDE - 1) + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x : 1;
const uint AHEAD_VALUE = LOADS_AHEAD ? (WALK_STEP * (VALUE_STRIDE - 1) + gl_WorkGroupSize.x - 1) / gl_WorkGroupSize.x : 1;

uvec4 ahead[AHEAD_HEAD + AHEAD_VALUE];

/* Past the last row of the run, and the last octet, that one again. */
void load_ahead(uint slot, uint slots, uint octets, uvec2 address, uint stride_bytes, uint from, uint dim)
{
    [[unroll]] for (uint j = 0; j < slots; j++) {
        uint i = j * gl_WorkGroupSize.x + gl_LocalInvocationID.x, row = min(from + i / octets, walk_left - 1);
        ahead[slot + j] = Octets(address).at[row * (stride_bytes / 16) + min(i % octets, dim / 8 - 1)];
    }
}

void stage_ahead(uint to, uint slot, uint slots, uint octets, uint left, uint dim)
{
    [[unroll]] for (uint j = 0; j < slots; j++) {
        uint i = j * gl_WorkGroupSize.x + gl_LocalInvocationID.x, row = i / octets, octet = i % octets;
        if (row < WALK_STEP)
            staged[to + row * (octets + 1) + octet] = row < left && octet < dim / 8 ? ahead[slot + j] : uvec4(0);
    }
}

/* A step from the `from`-th row of the run's rest on. */
void load_step(uint from)
{
    if (!LOADS_AHEAD)
        return;
    load_ahead(0, AHEAD_HEAD, HEAD_STRIDE - 1, walk_a, walk_a_stride, from, HEAD_DIM);
    load_ahead(AHEAD_HEAD, AHEAD_VALUE, VALUE_STRIDE - 1, walk_b, walk_b_stride, from, VALUE_DIM);
}

bool stage_loaded_step(uint left)
{
    if (!LOADS_AHEAD)
        return false;
    stage_ahead(STAGED_HEAD, 0, AHEAD_HEAD, HEAD_STRIDE - 1, left, HEAD_DIM);
    stage_ahead(STAGED_VALUE, AHEAD_HEAD, AHEAD_VALUE, VALUE_STRIDE - 1, left, VALUE_DIM);
    return true;
}

#endif

/* Both tensors of the other side, for one step of `left` rows at most. */
void stage_step(uint left)
{
    barrier();
    if (!stage_loaded_step(left)) {
        stage(STAGED_HEAD, HEAD_STRIDE, WALK_STEP, walk_a, walk_a_stride, 0, left, HEAD_DIM, HEAD_TENSOR);
#ifdef MAY_TURN_VALUES
        if (TURNS_VALUES)
            stage_turned(STAGED_VALUE, walk_b, walk_b_stride, left, VALUE_DIM);
        else
#endif
            stage(STAGED_VALUE, VALUE_STRIDE, WALK_STEP, walk_b, walk_b_stride, 0, left, VALUE_DIM, VALUE_TENSOR);
    }
    barrier();
    load_step(DROPOUT ? min(left, WALK_STEP) : WALK_STEP);
}

#ifndef BEGINS_RUNS
void walk_begin_run(uint at)
{
    load_step(0);
}
#endif
