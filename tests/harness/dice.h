/* SPDX-License-Identifier: MIT */
/** Choices that repeat: each throw is a pure function of the seed and of how many came before. */
#ifndef VKRING_TESTS_DICE_H
#define VKRING_TESTS_DICE_H

#include <ref/random_input.h>

struct dice {
    uint64_t seed, thrown;
};

/** 0 … sides - 1 */
static inline uint64_t throw_dice(struct dice *dice, uint64_t sides)
{
    float value;
    random_fill(dice->seed, RANDOM_UNIFORM, 1, dice->thrown++, 1, &value);
    return (uint64_t)((double)value * (double)sides);
}

#define PICK(dice, list) ((list)[throw_dice(dice, sizeof(list) / sizeof((list)[0]))])

#endif
