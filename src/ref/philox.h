/* SPDX-License-Identifier: MIT */
/** Philox4x32-10, a counter-based random number generator: Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3, SC
 * 2011. */
#ifndef VKRING_REF_PHILOX_H
#define VKRING_REF_PHILOX_H

#include <stdint.h>

void philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t out_words[4]);

#endif
