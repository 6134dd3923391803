/* SPDX-License-Identifier: MIT */
/** A small problem with a known answer, so that a driver that computes wrong results is found before anyone relies on it. */
#ifndef VKRING_ATTENTION_SELF_TEST_H
#define VKRING_ATTENTION_SELF_TEST_H

#include "kernel_choice.h"

/**
 * The best choice for problem whose kernels gave the known answer on this device: the portable one if the first is wrong.
 * Each kind of kernel is tried once a device. VKRING_ERROR_SELF_TEST: none is right. _UNSUPPORTED: the device can't hold the type.
 */
enum vkring_status self_test_choose(vkring_device *device, const struct problem *problem, struct kernel_choice *out_choice);

/** Whether the kernels of a choice for gradients give the known answer. */
enum vkring_status self_test_backward(vkring_device *device, enum vkring_type type, const struct kernel_choice *choice, bool *out_right);

#endif
