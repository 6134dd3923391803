/* SPDX-License-Identifier: MIT */
/** Which kernels a problem gets on a device, and why: see vkring/tune.h. */
#ifndef VKRING_ATTENTION_CHOOSE_H
#define VKRING_ATTENTION_CHOOSE_H

#include <vkring/tune.h>

#include "choice_text.h"

/** Of what a caller asks for and the environment's VKRING_KERNELS, what counts; null: neither asks for anything. */
const char *choose_words(const char *words);

/** words: what the caller asks for; may be null. out_source may be null. Errors as of vkring_kernels_choose. */
enum vkring_status choose_kernels(vkring_device *device, const struct problem *problem, const char *words, struct kernel_choice *out_choice,
                                  enum vkring_kernel_source *out_source);

#endif
