/* SPDX-License-Identifier: MIT */
/**
 * What comes before a byte, as a vector: the sum of one random sign vector for each of its last 1, 2 … 8 bytes together.
 *
 * The same bytes get the same signs wherever they stand, and different ones nearly orthogonal signs. So the dot product of two contexts
 * whose last n bytes are the same is about the sum of the first n weights: the longer they agree, the more one attends to the other.
 */
#ifndef VKRING_EXAMPLES_CONTEXT_EMBEDDING_H
#define VKRING_EXAMPLES_CONTEXT_EMBEDDING_H

#include <stdint.h>

#define EMBEDDING_DIM 128

/** Of what comes before text[position]: text[0] … text[position - 1], as far as it is looked at. */
void embed_context(const unsigned char *text, uint64_t position, float vector[EMBEDDING_DIM]);

#endif
