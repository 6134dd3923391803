/* SPDX-License-Identifier: MIT */
/*
 * Rows of tensors in shared memory, as f16: zeros past the last row and the last element, so that products need not know where tensors end.
 *
 * bf16 has the range of f32, which f16 has not. Its rows are staged divided by a power of two, their magnitude, that puts the greatest element of a row
 * between 2^15 and 2^16. Elements down to 2^-32 of the greatest are all there; smaller ones change by 2^-40 of it at most. What is made of rows is
 * multiplied by their magnitudes, which rounds nothing.
 */

const uint STAGED_AT_ONCE = PARTS_APART && !ALIGNED ? 1 : 4; /* quads that a lane loads before it stores any */

/* Which of the two tensors of a side. */
const uint HEAD_TENSOR = 0;
const uint VALUE_TENSOR = 1;

#ifdef TYPE_BF16

const bool HAS_MAGNITUDES = true;
const float LARGEST_MAGNITUDE = 1.7014118e38; /* of a pair: where it is larger, so are scores than f32 can hold */
const uint STAGE_LANES = gl_WorkGroupSize.x > WALK_STEP ? gl_WorkGroupSize.x / WALK_STEP : 1; /* that share a row */
const uint STAGE_ROWS = gl_WorkGroupSize.x / STAGE_LANES;                                     /* at a time */

shared float magnitudes[2 * WALK_STEP]; /* of the rows of both tensors that are staged */
float own_magnitudes[2 * ROWS_PER_LANE];

/* Stages a lane's quads of a row as they are, bf16 in the place of f16. The greatest element of the row, without its sign. */
uint stage_bits(uint to, uint quads, uvec2 address, uint first, bool row_is_there, uint dim)
{
    uint greatest = 0, quad = gl_SubgroupInvocationID % STAGE_LANES;
    [[dont_unroll]] do {
        uvec2 bits[STAGED_AT_ONCE];
        [[unroll]] for (uint j = 0; j < STAGED_AT_ONCE; j++)
            bits[j] = load_bits(address, first, quad + j * STAGE_LANES, dim);
        [[unroll]] for (uint j = 0; j < STAGED_AT_ONCE; j++) {
            bits[j] = row_is_there ? bits[j] : uvec2(0);
            greatest = max(greatest, greatest_of(bits[j]));
            if (quad + j * STAGE_LANES < quads)
                staged[to + quad + j * STAGE_LANES] = f16vec4(unpackFloat2x16(bits[j].x), unpackFloat2x16(bits[j].y));
        }
        quad += STAGED_AT_ONCE * STAGE_LANES;
    } while (quad < quads);
    [[unroll]] for (uint apart = 1; apart < STAGE_LANES; apart *= 2)
        greatest = max(greatest, subgroupShuffleXor(greatest, apart));
    return greatest;
}

/* Turns what stage_bits() left into f16. */
void convert_staged(uint to, uint quads, float inverse_magnitude)
{
    uint quad = gl_SubgroupInvocationID % STAGE_LANES;
    [[dont_unroll]] do {
        f16vec4 bits = staged[to + min(quad, quads - 1)];
        vec4 values = quad_decode(uvec2(packFloat2x16(bits.xy), packFloat2x16(bits.zw)));
        if (quad < quads)
            staged[to + quad] = f16vec4(values * inverse_magnitude);
        quad += STAGE_LANES;
    } while (quad < quads);
}

/* Rows begin … begin + rows - 1 of those at the address, of which `end` are there. Each row is one subgroup's: nobody waits. */
void stage(uint to, uint stride, uint rows, uvec2 address, uint stride_bytes, uint begin, uint end, uint dim, uint tensor)
{
    const uint quads = stride - 2;
    uint lane = gl_SubgroupID * (gl_WorkGroupSize.x / SUBGROUPS) + gl_SubgroupInvocationID;
    uint first = 0;
    [[dont_unroll]] do {
        uint row = min(first + lane / STAGE_LANES, rows - 1);
        uint index = min(begin + row, end - 1) * (stride_bytes / ELEMENT_BYTES);
        uint greatest = stage_bits(to + row * stride, quads, address, index, begin + row < end, dim);
        uint exponent = fitting_exponent(greatest);
        convert_staged(to + row * stride, quads, uintBitsToFloat(exponent << 23));
        magnitudes[tensor * WALK_STEP + row] = uintBitsToFloat((254u - exponent) << 23);
        first += STAGE_ROWS;
    } while (first < rows);
}

/* Of own rows from `begin` on, which were just staged. */
void take_magnitudes(uint begin, uint tensor)
{
    [[unroll]] for (uint r = 0; r < ROWS_PER_LANE; r++)
        if (row_of(r) >= begin && row_of(r) < begin + WALK_STEP)
            own_magnitudes[tensor * ROWS_PER_LANE + r] = magnitudes[tensor * WALK_STEP + row_of(r) - begin];
}

vec4 magnitudes_of(uint tensor, uint quad)
{
    uint first = tensor * WALK_STEP + 4 * quad;
    return vec4(magnitudes[first], magnitudes[first + 1], magnitudes[first + 2], magnitudes[first + 3]);
}

/* Of rows of a tensor on both sides: row slot r with a quad of the step. */
vec4 dots_of(uint tensor, uint r, uint quad)
{
    return product_of(r, quad) * min(own_magnitudes[tensor * ROWS_PER_LANE + r] * magnitudes_of(tensor, quad), vec4(LARGEST_MAGNITUDE));
}

/* What lanes have of pairs with a quad of the step, as factors of rows that are staged. */
vec4 factors_of(uint tensor, uint quad, vec4 pairs)
{
    return pairs * magnitudes_of(tensor, quad);
}

#else

const bool HAS_MAGNITUDES = false;

/* As load_quad, but the elements as they are, with zeros past the last. */
f16vec4 load_halves(uvec2 address, uint first, uint quad, uint dim)
{
    f16vec4 halves;
    if (ALIGNED) {
        uvec2 bits = Quads(address).at[first / 4 + min(quad, dim / 4 - 1)];
        halves = f16vec4(unpackFloat2x16(bits.x), unpackFloat2x16(bits.y));
    } else {
        Elements from = Elements(address);
        [[unroll]] for (uint c = 0; c < 4; c++)
            halves[c] = uint16BitsToFloat16(from.at[first + min(4 * quad + c, dim - 1)]);
    }
    return mix(f16vec4(0), halves, lessThan(uvec4(4 * quad) + uvec4(0, 1, 2, 3), uvec4(dim)));
}

/* Rows begin … begin + rows - 1 of those at the address, of which `end` are there. */
void stage(uint to, uint stride, uint rows, uvec2 address, uint stride_bytes, uint begin, uint end, uint dim, uint tensor)
{
    const uint quads = stride - 2;
    uint first = 0;
    [[dont_unroll]] do {
        f16vec4 halves[STAGED_AT_ONCE];
        [[unroll]] for (uint j = 0; j < STAGED_AT_ONCE; j++) {
            uint i = first + j * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
            halves[j] = load_halves(address, min(begin + i / quads, end - 1) * (stride_bytes / ELEMENT_BYTES), i % quads, dim);
        }
        [[unroll]] for (uint j = 0; j < STAGED_AT_ONCE; j++) {
            uint i = first + j * gl_WorkGroupSize.x + gl_LocalInvocationID.x, row = i / quads;
            if (row < rows)
                staged[to + row * stride + i % quads] = begin + row < end ? halves[j] : f16vec4(0);
        }
        first += STAGED_AT_ONCE * gl_WorkGroupSize.x;
    } while (first < rows * quads);
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

/* Both tensors of the other side, for one step. */
void stage_step(uint a_stride_bytes, uint b_stride_bytes, uint left)
{
    barrier();
    stage(STAGED_HEAD, HEAD_STRIDE, WALK_STEP, walk_a, a_stride_bytes, 0, left, HEAD_DIM, HEAD_TENSOR);
    stage(STAGED_VALUE, VALUE_STRIDE, WALK_STEP, walk_b, b_stride_bytes, 0, left, VALUE_DIM, VALUE_TENSOR);
    barrier();
}
