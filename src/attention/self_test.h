/* SPDX-License-Identifier: MIT */
/** A small problem with a known answer, so that a driver that computes wrong results is found before anyone relies on it. */
#ifndef VKRING_ATTENTION_SELF_TEST_H
#define VKRING_ATTENTION_SELF_TEST_H

#include "kernel_choice.h"

/** VKRING_ERROR_UNSUPPORTED: the device can't hold tensors of the problem's type. */
enum vkring_status self_test_type(const vkring_device *device, const struct problem *problem);

/** Rows of the known problems lie so many elements apart, and have so many of them at most. */
#define SELF_TEST_MOST_DIM 24

/** How many they have: two matrices of 8, or one of 16 and a part of another. Compilers take the longer the more there are. */
uint32_t self_test_dim(const struct kernel_choice *choice);

/**
 * The best choice for problem whose kernels gave the known answer on this device: that of the next family where one is wrong.
 * Each kind of kernel is tried once a device. VKRING_ERROR_SELF_TEST: none is right. Errors also as of self_test_type.
 */
enum vkring_status self_test_choose(vkring_device *device, const struct problem *problem, struct kernel_choice *out_choice,
                                    bool *out_portable);

/** Whether kernels of a choice give the known answer in all that the problem needs; false, too, if the device's compiler refuses them. */
enum vkring_status self_test_try(vkring_device *device, const struct problem *problem, const struct kernel_choice *choice, bool *out_right);

/** The problem whose answer is known, of f32 and all dimensions that its rows can have. */
extern const struct problem self_test_problem;

/** Whether the kernel of a choice for forward gives the known answer; for_gradients: with all that they need of it. */
enum vkring_status self_test_forward(vkring_device *device, enum vkring_type type, const struct kernel_choice *choice, bool for_gradients,
                                     bool *out_right);

/** The same of the kernels for gradients. */
enum vkring_status self_test_backward(vkring_device *device, enum vkring_type type, const struct kernel_choice *choice, bool *out_right);

#endif
