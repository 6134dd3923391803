/* SPDX-License-Identifier: MIT */
#include "random_input.h"

#include <math.h>

/* splitmix64: Steele, Lea & Flood, Fast splittable pseudorandom number generators, OOPSLA 2014. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t random_word(uint64_t seed, uint64_t index)
{
    return mix(mix(seed) + (index + 1) * 0x9e3779b97f4a7c15u);
}

/* [0, 1), 53 bits */
static double random_uniform(uint64_t seed, uint64_t index)
{
    return (double)(random_word(seed, index) >> 11) * 0x1p-53;
}

/* Box & Muller 1958, one of its two values: an element then depends on its own index alone. */
static double random_normal(uint64_t seed, uint64_t index)
{
    double radius = sqrt(-2 * log(1 - random_uniform(seed, 2 * index)));
    return radius * cos(6.283185307179586 * random_uniform(seed, 2 * index + 1));
}

static double random_value(uint64_t seed, enum random_shape shape, uint64_t index)
{
    double normal;
    switch (shape) {
    case RANDOM_UNIFORM:
        /* 24 bits, so that rounding to float never gives 1 */
        return (double)(random_word(seed, index) >> 40) * 0x1p-24;
    case RANDOM_HEAVY_TAIL:
        normal = random_normal(seed, index);
        return normal * normal * normal;
    case RANDOM_NORMAL:
        break;
    }
    return random_normal(seed, index);
}

void random_fill(uint64_t seed, enum random_shape shape, float factor, uint64_t first, uint64_t count, float *out)
{
    for (uint64_t i = 0; i < count; i++)
        out[i] = (float)random_value(seed, shape, first + i) * factor;
}
