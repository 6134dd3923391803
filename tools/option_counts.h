/* SPDX-License-Identifier: MIT */
/** Options whose values are whole numbers. */
#ifndef VKRING_TOOLS_OPTION_COUNTS_H
#define VKRING_TOOLS_OPTION_COUNTS_H

#include "option_takers.h"

/** Takes the value of the option at hand: from least to most. */
bool option_take_count(struct parsing *parsing, const char *text, uint64_t least, uint64_t most, uint64_t *out_count);

/** One of struct problem_sizes, by its name: --q-len and so on. */
bool take_size(struct parsing *parsing, const char *text);

#endif
