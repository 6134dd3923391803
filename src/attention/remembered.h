/* SPDX-License-Identifier: MIT */
/** Choices of kernels that were measured, kept in the user's cache folder for a device, its driver, and these shaders. */
#ifndef VKRING_ATTENTION_REMEMBERED_H
#define VKRING_ATTENTION_REMEMBERED_H

#include "choice_text.h"

/** False: there is none for problems of this class. */
bool remembered_find(const vkring_device *device, const struct problem *problem, struct kernel_choice *out_choice);

/** In the place of what was remembered for the class; of two processes that write at once the later one counts. False: it could not be
 * written, or the device keeps nothing. */
bool remembered_put(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice);

#endif
