/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing tensors of one element type as f32: -DTYPE_F32, -DTYPE_F16 or -DTYPE_BF16.
 *
 * A Quads reference reads four elements at once and needs an address aligned to them; an Elements reference reads one.
 * 16-bit elements travel as integers, so that rounding is ours (to nearest, ties to even) and not the driver's choice.
 */

#ifdef TYPE_F32
#define ELEMENT float
#define QUAD vec4
#define ELEMENT_BYTES 4
#else
#define ELEMENT uint16_t
#define QUAD uvec2
#define ELEMENT_BYTES 2
#endif

layout(buffer_reference, scalar, buffer_reference_align = ELEMENT_BYTES) readonly buffer Elements {
    ELEMENT at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 4 * ELEMENT_BYTES) readonly buffer Quads {
    QUAD at[];
};
layout(buffer_reference, scalar, buffer_reference_align = ELEMENT_BYTES) writeonly buffer OutElements {
    ELEMENT at[];
};
layout(buffer_reference, scalar, buffer_reference_align = 4 * ELEMENT_BYTES) writeonly buffer OutQuads {
    QUAD at[];
};

#if defined(TYPE_F32)

float element_decode(float element)
{
    return element;
}

vec4 quad_decode(vec4 quad)
{
    return quad;
}

float element_encode(float value)
{
    return value;
}

vec4 quad_encode(vec4 values)
{
    return values;
}

#elif defined(TYPE_F16)

float element_decode(uint16_t element)
{
    return unpackHalf2x16(uint(element)).x;
}

vec4 quad_decode(uvec2 quad)
{
    return vec4(unpackHalf2x16(quad.x), unpackHalf2x16(quad.y));
}

/* Without branches: a compiler that keeps them has some for each element. */
uint half_bits(float value)
{
    uint bits = floatBitsToUint(value);
    uint sign = (bits >> 16) & 0x8000u;
    uint magnitude = bits & 0x7fffffffu;
    bool normal = magnitude >= 0x38800000u;
    /* a subnormal counts units of 2^-24 */
    uint mantissa = mix((magnitude & 0x7fffffu) | 0x800000u, magnitude - (112u << 23), normal);
    uint dropped = mix(min(126u - min(magnitude >> 23, 126u), 25u), 13u, normal);
    uint kept = mantissa >> dropped;
    uint rest = mantissa & ((1u << dropped) - 1u);
    uint tie = 1u << (dropped - 1u);
    /* up to a tie it is dropped where what is kept is even, below a tie where it is odd */
    uint finite = kept + uint(rest > tie - (kept & 1u));
    uint beyond = mix(0x7c00u, 0x7e00u, magnitude > 0x7f800000u);
    return sign | mix(finite, beyond, magnitude >= 0x47800000u);
}

#else

float element_decode(uint16_t element)
{
    return uintBitsToFloat(uint(element) << 16);
}

vec4 quad_decode(uvec2 quad)
{
    return uintBitsToFloat(uvec4(quad.x << 16, quad.x & 0xffff0000u, quad.y << 16, quad.y & 0xffff0000u));
}

uint half_bits(float value)
{
    uint bits = floatBitsToUint(value);
    uint rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return mix(rounded, (bits >> 16) | 0x40u, (bits & 0x7fffffffu) > 0x7f800000u);
}

#endif

#ifndef TYPE_F32
uint16_t element_encode(float value)
{
    return uint16_t(half_bits(value));
}

uvec2 quad_encode(vec4 values)
{
    return uvec2(half_bits(values.x) | (half_bits(values.y) << 16), half_bits(values.z) | (half_bits(values.w) << 16));
}
#endif
