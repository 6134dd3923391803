/* SPDX-License-Identifier: MIT */
/** One row of the device's output against the same row computed here in float64. */
#ifndef VKRING_EXAMPLES_SAMPLE_CHECK_H
#define VKRING_EXAMPLES_SAMPLE_CHECK_H

#include <vkring/vkring.h>

/**
 * How far the farthest of 256 probabilities is from what attention over text[0] … text[position - 1] gives; row is of the type.
 * Embeddings are rounded to the type, as on the device. Infinite if there is no memory.
 */
double sample_error(const unsigned char *text, uint64_t position, enum vkring_type type, const void *row);

/** What rounding explains: about twice the largest that was seen. */
double sample_error_allowed(enum vkring_type type);

#endif
