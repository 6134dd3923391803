/* SPDX-License-Identifier: MIT */
#include "self_test.h"

#include <stdatomic.h>

uint32_t self_test_dim(const struct kernel_choice *choice)
{
    const struct matrix_tiles *matrices = kernel_choice_matrices(choice, SPIRV_FORWARD);
    return matrices && matrices->shape.n == 8 && matrices->shape.k == 8 ? 16 : SELF_TEST_MOST_DIM;
}

/* A compiler that refuses the kernels is as good as one that breaks them. */
enum vkring_status self_test_try(vkring_device *device, const struct problem *problem, const struct kernel_choice *choice, bool *out_right)
{
    enum vkring_status status = self_test_forward(device, problem->type, choice, problem->backward, out_right);
    if (status == VKRING_OK && *out_right && problem->backward)
        status = self_test_backward(device, problem->type, choice, out_right);
    if (status != VKRING_ERROR_DEVICE)
        return status;
    *out_right = false;
    return VKRING_OK;
}

/* Verdicts are bits of the device: one for each type and family, and for forward or backward. */
static unsigned verdict_bit(enum vkring_type type, enum kernel_family family, bool backward)
{
    return 1u << ((2 * (unsigned)type + (unsigned)backward) * KERNEL_FAMILIES + family);
}

static enum vkring_status verdict(vkring_device *device, enum vkring_type type, enum kernel_family family, bool backward, bool *out_right)
{
    const unsigned bit = verdict_bit(type, family, backward);
    struct problem problem = self_test_problem;

    if (!((atomic_load(&device->kernels_passed) | atomic_load(&device->kernels_failed)) & bit)) {
        problem.type = type;
        const struct kernel_choice choice = kernel_choice_of_family(device, &problem, family);
        const enum vkring_status status =
            backward ? self_test_backward(device, type, &choice, out_right) : self_test_forward(device, type, &choice, false, out_right);
        if (status == VKRING_ERROR_DEVICE && family != KERNELS_PORTABLE) /* as in self_test_try */
            *out_right = false;
        else if (status != VKRING_OK)
            return status;
        atomic_fetch_or(*out_right ? &device->kernels_passed : &device->kernels_failed, bit);
    }
    *out_right = (atomic_load(&device->kernels_passed) & bit) != 0;
    return VKRING_OK;
}

/* Of all that the problem needs. */
static enum vkring_status verdicts(vkring_device *device, const struct problem *problem, enum kernel_family family, bool *out_right)
{
    enum vkring_status status;
    TRY(verdict(device, problem->type, family, false, out_right), fail);
    if (*out_right && problem->backward)
        TRY(verdict(device, problem->type, family, true, out_right), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status self_test_type(const vkring_device *device, const struct problem *problem)
{
    if (problem->type != VKRING_TYPE_F32 && !device->limits.storage_16bit)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "%s has no 16-bit storage for f16 and bf16 tensors", device->info.name);
    return VKRING_OK;
}

enum vkring_status self_test_choose(vkring_device *device, const struct problem *problem, struct kernel_choice *out_choice,
                                    bool *out_portable)
{
    enum vkring_status status;
    bool right = false;
    TRY(self_test_type(device, problem), fail);
    for (enum kernel_family family = kernel_choice_best_family(device, problem); family < KERNEL_FAMILIES; family++) {
        TRY(verdicts(device, problem, family, &right), fail);
        if (right) {
            *out_choice = kernel_choice_of_family(device, problem, family);
            *out_portable = family == KERNELS_PORTABLE;
            return VKRING_OK;
        }
        log_line(&device->log, VKRING_LOG_WARNING, "%s: the kernels of choice give wrong results; trying others", device->info.name);
    }
    return status_fail(VKRING_ERROR_SELF_TEST, "%s (%s) computes wrong results: the self-test failed", device->info.name,
                       device->info.driver);
fail:
    return status;
}

static enum vkring_status admit(vkring_device *device, vkring_device **out_device)
{
    struct kernel_choice choice;
    bool portable;
    enum vkring_status status = self_test_choose(device, &self_test_problem, &choice, &portable);
    if (status != VKRING_OK) {
        vkring_device_destroy(&device);
        return status;
    }
    *out_device = device;
    return VKRING_OK;
}

enum vkring_status vkring_device_create(const struct vkring_device_params *params, vkring_device **out_device)
{
    vkring_device *device = NULL;
    enum vkring_status status = vk_device_open(params, NULL, &device);
    return status == VKRING_OK ? admit(device, out_device) : status;
}

enum vkring_status vkring_device_create_from_vulkan(const struct vkring_vulkan_params *params, vkring_device **out_device)
{
    vkring_device *device = NULL;
    enum vkring_status status = vk_device_open_from_vulkan(params, NULL, &device);
    return status == VKRING_OK ? admit(device, out_device) : status;
}
