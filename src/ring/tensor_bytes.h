/* SPDX-License-Identifier: MIT */
/** What tensors of the application take. Pure arithmetic. */
#ifndef VKRING_RING_TENSOR_BYTES_H
#define VKRING_RING_TENSOR_BYTES_H

#include "../attention/problem.h"

/**
 * Bytes of all tensors that a problem has, packed, for a rank's rows: at most those of the problem. With backward: all gradients of rows
 * too, and what they are made from. UINT64_MAX where it is more than that.
 */
uint64_t tensor_bytes(const struct problem *problem, uint64_t query_rows, uint64_t key_rows);

#endif
