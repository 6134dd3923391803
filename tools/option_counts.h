/* SPDX-License-Identifier: MIT */
/** Options whose values are whole numbers, kept in 64-bit fields. */
#ifndef VKRING_TOOLS_OPTION_COUNTS_H
#define VKRING_TOOLS_OPTION_COUNTS_H

#include "option_takers.h"

#define OPTION_LENGTH_MAX ((uint64_t)1 << 48)

struct option_count {
    const char *name;
    size_t place; /**< of a uint64_t in the command's options */
    uint64_t least, most;
};

/** Takes the option at hand, which is in the table. */
bool option_take_count(struct parsing *parsing, const struct option_count *table, const char *text);

#endif
