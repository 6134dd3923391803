/* SPDX-License-Identifier: MIT */
/**
 * What forward adds to a choice of kernels where query rows are few: a tile has rows of several query heads, so that keys are read once for
 * them, and keys are split over workgroups. Scores are the same to the bit. Nothing on matrix units.
 */
#ifndef VKRING_ATTENTION_FORWARD_CHOICE_H
#define VKRING_ATTENTION_FORWARD_CHOICE_H

#include "kernel_choice.h"

struct kernel_choice forward_choice(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice);

#endif
