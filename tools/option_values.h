/* SPDX-License-Identifier: MIT */
/** Numbers as options spell them: the whole text, without blanks. False, and nothing written, for anything else or what does not fit. */
#ifndef VKRING_TOOLS_OPTION_VALUES_H
#define VKRING_TOOLS_OPTION_VALUES_H

#include <stdbool.h>
#include <stdint.h>

/** A finite number. */
bool value_real(const char *text, double *out);
bool value_signed(const char *text, int64_t *out);
/** Two with a comma between them. */
bool value_signed_pair(const char *text, int64_t *out_first, int64_t *out_second);
bool value_unsigned(const char *text, uint64_t *out);

/** Finite numbers with commas between them. *out is the caller's to free; also false when out of memory. */
bool value_reals(const char *text, double **out, uint32_t *out_count);
/** The same of numbers that may end in K, M, G, T, P (thousands) or Ki … Pi (powers of 1024). */
bool value_amount(const char *text, double *out);
bool value_amounts(const char *text, double **out, uint32_t *out_count);

#endif
