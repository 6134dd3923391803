/* SPDX-License-Identifier: MIT */
/** Sharing a Vulkan device, its buffers and timeline semaphores with the application. */
#ifndef VKRING_VULKAN_H
#define VKRING_VULKAN_H

#include <vulkan/vulkan_core.h>

#include "vkring.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A queue is used under vkring's own lock only: the application must not submit to it from another thread at the same time unless it gives lock functions. */
struct vkring_vulkan_queue {
    uint32_t family;
    uint32_t index;
};

/**
 * The application's device. Everything here outlives the vkring_device; the application stays its owner.
 *
 * The device is of Vulkan 1.3 or later with the features bufferDeviceAddress, timelineSemaphore, synchronization2, maintenance4, scalarBlockLayout,
 * subgroupSizeControl with computeFullSubgroups where the device has both, and for f16 and bf16 tensors storageBuffer16BitAccess with shaderInt16;
 * matrix units are used where also VK_KHR_cooperative_matrix is on, with cooperativeMatrix, vulkanMemoryModel and shaderFloat16; beside it
 * VK_NV_cooperative_matrix2 may be, with cooperativeMatrixReductions, cooperativeMatrixConversions and cooperativeMatrixPerElementOperations; and with
 * those VK_KHR_shader_bfloat16, with shaderBFloat16Type and shaderBFloat16CooperativeMatrix.
 */
struct vkring_vulkan_params {
    VkInstance instance;
    VkPhysicalDevice physical_device;
    VkDevice device;
    PFN_vkGetInstanceProcAddr get_instance_proc_addr; /**< null for the Vulkan loader's */
    struct vkring_vulkan_queue compute;               /**< a queue with compute */
    const struct vkring_vulkan_queue *transfer;       /**< null for none */
    bool storage_16bit;                               /**< storageBuffer16BitAccess and shaderInt16 were enabled */
    bool subgroup_size_control;                       /**< subgroupSizeControl and computeFullSubgroups were enabled */
    bool cooperative_matrix;                          /**< the extension, cooperativeMatrix, vulkanMemoryModel and shaderFloat16 were enabled */
    bool cooperative_matrix_operations;               /**< that and these three were enabled, too */
    bool cooperative_matrix_bfloat16;                 /**< and beside them these two */
    void (*lock_queues)(void *user);                  /**< called around every submission; null where no other thread submits */
    void (*unlock_queues)(void *user);
    void *lock_user;
    vkring_log_callback log;
    void *log_user;
    const char *cache_folder;                         /**< as in vkring_device_params */
};

/** As vkring_device_create, on a device that the application made. */
VKRING_API enum vkring_status vkring_device_create_from_vulkan(const struct vkring_vulkan_params *params, vkring_device **out_device);

/**
 * Makes a vkring_buffer of size_bytes at offset_bytes of the application's VkBuffer, which stays the application's and outlives it.
 * usage must hold SHADER_DEVICE_ADDRESS, STORAGE_BUFFER, TRANSFER_SRC and TRANSFER_DST; the memory, DEVICE_ADDRESS; sharing mode concurrent, or owned by the
 * compute family. offset_bytes is a multiple of 16.
 */
VKRING_API enum vkring_status vkring_buffer_create_from_vulkan(vkring_device *device, VkBuffer handle, uint64_t offset_bytes, uint64_t size_bytes,
                                                               vkring_buffer **out_buffer);

/** Timeline semaphores; either may be VK_NULL_HANDLE. */
struct vkring_vulkan_sync {
    VkSemaphore wait;
    uint64_t wait_value;
    VkSemaphore signal;
    uint64_t signal_value;
};

/**
 * The next run that uses the buffer waits on the device for `wait` before its first access and signals `signal` after its last: in the call of
 * vkring_plan_test or _wait that finds the run at its end, if it was only started. The device may do so a moment after the call returned, so
 * wait for the value before the semaphore is destroyed. Buffers of a run may share semaphores: each is waited for and signalled once, with the
 * greatest of its values. That run uses them up; one that is refused does not.
 * Its deadline covers the wait. If the run fails, `signal` may never be signalled.
 */
VKRING_API enum vkring_status vkring_buffer_set_vulkan_sync(vkring_buffer *buffer, const struct vkring_vulkan_sync *sync);

#ifdef __cplusplus
}
#endif

#endif
