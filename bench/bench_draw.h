/* SPDX-License-Identifier: MIT */
/** Random inputs of the bench, large ones in the time that all cores of this process take. */
#ifndef VKRING_BENCH_DRAW_H
#define VKRING_BENCH_DRAW_H

#include <stdint.h>

#include <vkring/vkring.h>

/** Normal numbers: the same for the same seed and index, whatever is drawn with them. */
struct bench_draw {
    uint64_t seed;
    uint64_t first; /* index of the first one */
    uint64_t count;
    float factor; /* their standard deviation */
    enum vkring_type type;
};

/** As elements of the type, and as what floats these are; `values` may not be NULL. */
void bench_draw(const struct bench_draw *draw, float *values, void *elements);

#endif
