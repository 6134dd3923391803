/* SPDX-License-Identifier: MIT */
/** Random tensors that repeat: a pure function of seed and index. */
#ifndef VKRING_REF_RANDOM_INPUT_H
#define VKRING_REF_RANDOM_INPUT_H

#include <stdint.h>

enum random_shape {
    RANDOM_NORMAL,     /* mean 0, deviation 1 */
    RANDOM_HEAVY_TAIL, /* normal cubed */
    RANDOM_UNIFORM,    /* [0, 1) */
};

/** out[i] is the value of element first + i of the stream `seed`, times factor. */
void random_fill(uint64_t seed, enum random_shape shape, float factor, uint64_t first, uint64_t count, float *out);

#endif
