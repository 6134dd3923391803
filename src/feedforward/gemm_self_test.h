/* SPDX-License-Identifier: MIT */
/** Products on matrix units with known answers, for drivers that compile them wrong. */
#ifndef VKRING_FEEDFORWARD_GEMM_SELF_TEST_H
#define VKRING_FEEDFORWARD_GEMM_SELF_TEST_H

#include "gemm.h"

/** Whether kernels of the type on matrix units, of which there are some, compute what they should, with or without operations on matrices;
 * found once for a device, a type and these. */
enum vkring_status gemm_self_test(vkring_device *device, enum vkring_type type, bool operations, bool *out_right);

#endif
