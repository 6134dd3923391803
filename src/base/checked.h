/* SPDX-License-Identifier: MIT */
/** Arithmetic on sizes that says when it does not fit. The result is written only when true is returned. */
#ifndef VKRING_BASE_CHECKED_H
#define VKRING_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *out)
{
    if (a > UINT64_MAX - b)
        return false;
    *out = a + b;
    return true;
}

static inline bool checked_multiply(uint64_t a, uint64_t b, uint64_t *out)
{
    if (b != 0 && a > UINT64_MAX / b)
        return false;
    *out = a * b;
    return true;
}

/** The product of count factors. */
static inline bool checked_product(const uint64_t *factors, size_t count, uint64_t *out)
{
    uint64_t product = 1;
    bool zero = false;
    bool fits = true;
    for (size_t i = 0; i < count; i++) {
        zero |= factors[i] == 0;
        fits = fits && checked_multiply(product, factors[i], &product);
    }
    if (!fits && !zero)
        return false;
    *out = zero ? 0 : product;
    return true;
}

/** Rounds up to a multiple of alignment, which is at least 1. */
static inline bool checked_align(uint64_t a, uint64_t alignment, uint64_t *out)
{
    uint64_t rest = a % alignment;
    return checked_add(a, rest ? alignment - rest : 0, out);
}

static inline uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
