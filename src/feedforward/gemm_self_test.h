/* SPDX-License-Identifier: MIT */
/** Products on matrix units with known answers, for drivers that compile them wrong. */
#ifndef VKRING_FEEDFORWARD_GEMM_SELF_TEST_H
#define VKRING_FEEDFORWARD_GEMM_SELF_TEST_H

#include "gemm.h"

/** Whether kernels of the type on matrix units, of which there are some, compute what they should; found once for a device and type. */
enum vkring_status gemm_self_test(vkring_device *device, enum vkring_type type, bool *out_right);

#endif
