/* SPDX-License-Identifier: MIT */
#include "half.h"

#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* Drops the lowest `count` bits (1 … 31), rounding to nearest, ties to even. */
static uint32_t round_off(uint32_t bits, uint32_t count)
{
    uint32_t kept = bits >> count;
    uint32_t rest = bits & ((1u << count) - 1);
    uint32_t tie = 1u << (count - 1);
    return kept + (rest > tie || (rest == tie && (kept & 1)));
}

uint16_t f16_from_f32(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = (bits >> 16) & 0x8000;
    uint32_t magnitude = bits & 0x7fffffff;

    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | ((magnitude >> 13) & 0x3ff));
    if (magnitude >= 0x47800000) /* 2^16 and up */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude >= 0x38800000) /* 2^-14: normal; a carry out of the mantissa is the next exponent, up to infinity */
        return (uint16_t)(sign | round_off(magnitude - (112u << 23), 13));
    if (magnitude < 0x33000000) /* below half the least subnormal, 2^-25 */
        return (uint16_t)sign;
    uint32_t mantissa = (magnitude & 0x7fffff) | 0x800000;
    return (uint16_t)(sign | round_off(mantissa, 126 - (magnitude >> 23)));
}

float f32_from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = (half >> 10) & 0x1f;
    uint32_t mantissa = half & 0x3ff;

    if (exponent == 0x1f)
        return float_of(sign | 0x7f800000 | (mantissa << 13));
    if (exponent)
        return float_of(sign | ((exponent + 112) << 23) | (mantissa << 13));
    float magnitude = (float)mantissa * 0x1p-24f;
    return float_of(sign | bits_of(magnitude));
}

uint16_t bf16_from_f32(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)((bits >> 16) | 0x40); /* quiet: the payload's kept bits may all be zero */
    return (uint16_t)round_off(bits, 16);
}

float f32_from_bf16(uint16_t half)
{
    return float_of((uint32_t)half << 16);
}
