/* SPDX-License-Identifier: MIT */
/* 16-bit floating point, against all bit patterns and an independent rounding in double. */
#include <math.h>
#include <string.h>

#include <base/half.h>
#include <vkring/vkring.h>

#include "../harness/suite.h"

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

/* A format with `mantissa` stored bits and exponents from `least` up; infinity is at 2^top. */
struct format {
    int mantissa, least, top;
};
static const struct format f16_format = {.mantissa = 10, .least = -14, .top = 16};
static const struct format bf16_format = {.mantissa = 7, .least = -126, .top = 128};

/* The nearest value of the format, ties to even: double is wide enough for rint() to be the only rounding. */
static double round_to(const struct format *format, double value)
{
    int exponent;
    if (value == 0 || !isfinite(value))
        return value;
    frexp(value, &exponent);
    exponent = exponent - 1 < format->least ? format->least : exponent - 1;
    double unit = ldexp(1, exponent - format->mantissa);
    double rounded = rint(value / unit) * unit;
    return fabs(rounded) >= ldexp(1, format->top) ? copysign(INFINITY, value) : rounded;
}

START_TEST(every_pattern_comes_back)
{
    for (uint32_t pattern = 0; pattern <= 0xffff; pattern++) {
        float from_f16 = f32_from_f16((uint16_t)pattern);
        float from_bf16 = f32_from_bf16((uint16_t)pattern);
        uint32_t f16_nan = (pattern & 0x7fff) > 0x7c00 ? 0x200 : 0; /* signalling NaN may come back quiet */
        uint32_t bf16_nan = (pattern & 0x7fff) > 0x7f80 ? 0x40 : 0;
        ck_assert_uint_eq(f16_from_f32(from_f16) | f16_nan, pattern | f16_nan);
        ck_assert_uint_eq(bf16_from_f32(from_bf16) | bf16_nan, pattern | bf16_nan);
        ck_assert_int_eq(isnan(from_f16) != 0, f16_nan != 0);
        ck_assert_int_eq(isnan(from_bf16) != 0, bf16_nan != 0);
    }
}
END_TEST

START_TEST(values_of_patterns)
{
    ck_assert_float_eq(f32_from_f16(0x3c00), 1.0f);
    ck_assert_float_eq(f32_from_f16(0xc000), -2.0f);
    ck_assert_float_eq(f32_from_f16(0x7bff), 65504.0f);
    ck_assert_float_eq(f32_from_f16(0x0001), 0x1p-24f);
    ck_assert_float_eq(f32_from_f16(0x0400), 0x1p-14f);
    ck_assert_float_eq(f32_from_f16(0xfc00), -INFINITY);
    ck_assert_uint_eq(bits_of(f32_from_f16(0x8000)), 0x80000000);
    ck_assert_float_eq(f32_from_bf16(0x3f80), 1.0f);
    ck_assert_float_eq(f32_from_bf16(0x0001), 0x1p-133f);
}
END_TEST

static void check_rounding(float value)
{
    float to_f16 = f32_from_f16(f16_from_f32(value));
    float to_bf16 = f32_from_bf16(bf16_from_f32(value));
    float f16_expected = (float)round_to(&f16_format, (double)value);
    float bf16_expected = (float)round_to(&bf16_format, (double)value);
    /* an assertion that holds costs a microsecond: millions of them add up */
    if (bits_of(to_f16) != bits_of(f16_expected))
        ck_abort_msg("%a to f16: %a, not %a", (double)value, (double)to_f16, (double)f16_expected);
    if (bits_of(to_bf16) != bits_of(bf16_expected))
        ck_abort_msg("%a to bf16: %a, not %a", (double)value, (double)to_bf16, (double)bf16_expected);
}

/* Every f16 and bf16 value, the ties between it and the next, and their neighbours: subnormals and overflow are among them. */
START_TEST(nearest_even_at_and_around_ties)
{
    for (uint32_t pattern = 0; pattern <= 0xffff; pattern++) {
        uint32_t starts[2] = {bits_of(f32_from_f16((uint16_t)pattern)), pattern << 16};
        uint32_t halves[2] = {0x1000, 0x8000};
        for (int format = 0; format < 2; format++) {
            if (!isfinite(float_of(starts[format])))
                continue;
            for (uint32_t nudge = 0; nudge < 3; nudge++)
                check_rounding(float_of(starts[format] + halves[format] + nudge - 1));
        }
    }
    for (uint32_t i = 0; i < 4096; i++) /* ties of f16 subnormals are odd multiples of half the least */
        for (int nudge = -1; nudge <= 1; nudge++)
            check_rounding(float_of(bits_of((float)i * 0x1p-25f) + (i ? (uint32_t)nudge : 0)));
}
END_TEST

START_TEST(nearest_even_of_scattered_patterns)
{
    uint32_t bits = 12345;
    for (int i = 0; i < 1000000; i++) {
        bits = bits * 1664525u + 1013904223u;
        if (isfinite(float_of(bits)))
            check_rounding(float_of(bits));
    }
}
END_TEST

START_TEST(overflow_infinity_and_nan)
{
    ck_assert_uint_eq(f16_from_f32(65519.996f), 0x7bff);
    ck_assert_uint_eq(f16_from_f32(65520.0f), 0x7c00);
    ck_assert_uint_eq(f16_from_f32(-1e30f), 0xfc00);
    ck_assert_uint_eq(f16_from_f32(-INFINITY), 0xfc00);
    ck_assert_uint_eq(bf16_from_f32(0x1.fffffep127f), 0x7f80);
    ck_assert_uint_eq(bf16_from_f32(INFINITY), 0x7f80);
    /* a NaN whose payload is lost by cutting must not become infinity */
    ck_assert(isnan(f32_from_f16(f16_from_f32(float_of(0x7f800001)))));
    ck_assert(isnan(f32_from_bf16(bf16_from_f32(float_of(0xff800001)))));
}
END_TEST

#ifdef __FLT16_MAX__
START_TEST(agrees_with_the_compiler)
{
    for (uint32_t pattern = 0; pattern <= 0xffff; pattern++) {
        uint16_t half = (uint16_t)pattern;
        _Float16 theirs;
        memcpy(&theirs, &half, sizeof(theirs));
        if ((pattern & 0x7fff) <= 0x7c00)
            ck_assert_uint_eq(bits_of(f32_from_f16(half)), bits_of((float)theirs));
    }
    for (uint32_t bits = 0; bits < 0xfff00000u; bits += 4099) {
        uint16_t half;
        if (isnan(float_of(bits)))
            continue;
        _Float16 theirs = (_Float16)float_of(bits);
        memcpy(&half, &theirs, sizeof(half));
        if (f16_from_f32(float_of(bits)) != half)
            ck_abort_msg("%a to f16: 0x%x, not 0x%x", (double)float_of(bits), (unsigned)f16_from_f32(float_of(bits)), (unsigned)half);
    }
}
END_TEST
#endif

START_TEST(arrays_convert_by_type)
{
    const float from[4] = {1.0f, -0.5f, 3.14159265f, 1e-30f};
    uint16_t halves[4];
    float back[4];
    ck_assert_int_eq(vkring_convert_from_f32(VKRING_TYPE_F16, from, 4, halves), VKRING_OK);
    ck_assert_int_eq(vkring_convert_to_f32(VKRING_TYPE_F16, halves, 4, back), VKRING_OK);
    for (int i = 0; i < 4; i++)
        ck_assert_float_eq(back[i], f32_from_f16(f16_from_f32(from[i])));
    ck_assert_int_eq(vkring_convert_from_f32(VKRING_TYPE_BF16, from, 4, halves), VKRING_OK);
    ck_assert_int_eq(vkring_convert_to_f32(VKRING_TYPE_BF16, halves, 4, back), VKRING_OK);
    for (int i = 0; i < 4; i++)
        ck_assert_float_eq(back[i], f32_from_bf16(bf16_from_f32(from[i])));
    ck_assert_int_eq(vkring_convert_from_f32(VKRING_TYPE_F32, from, 4, back), VKRING_OK);
    ck_assert_mem_eq(from, back, sizeof(from));
    ck_assert_int_eq(vkring_convert_to_f32(VKRING_TYPE_F32, NULL, 0, NULL), VKRING_OK);
}
END_TEST

START_TEST(unknown_types_are_refused)
{
    float value = 1;
    uint16_t half = 7;
    ck_assert_int_eq(vkring_convert_from_f32((enum vkring_type)9, &value, 1, &half), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_uint_eq(half, 7);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "9"));
    ck_assert_int_eq(vkring_convert_to_f32((enum vkring_type)9, &half, 1, &value), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_float_eq(value, 1);
    ck_assert_uint_eq(vkring_type_bytes(VKRING_TYPE_F32), 4);
    ck_assert_uint_eq(vkring_type_bytes(VKRING_TYPE_F16), 2);
    ck_assert_uint_eq(vkring_type_bytes(VKRING_TYPE_BF16), 2);
    ck_assert_uint_eq(vkring_type_bytes((enum vkring_type)9), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("half");
    suite_add(suite, "patterns", every_pattern_comes_back);
    suite_add(suite, "values", values_of_patterns);
    suite_add(suite, "ties", nearest_even_at_and_around_ties);
    suite_add(suite, "scattered", nearest_even_of_scattered_patterns);
    suite_add(suite, "special", overflow_infinity_and_nan);
#ifdef __FLT16_MAX__
    suite_add(suite, "compiler", agrees_with_the_compiler);
#endif
    suite_add(suite, "arrays", arrays_convert_by_type);
    suite_add(suite, "types", unknown_types_are_refused);
    return suite_run(suite);
}
