/* SPDX-License-Identifier: MIT */
/**
 * A Vulkan device with its function table, queues and limits.
 * src/vk is the only folder that calls Vulkan; those above use the functions of its headers.
 */
#ifndef VKRING_VK_DEVICE_H
#define VKRING_VK_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <volk.h>

#include <vkring/vulkan.h>

#include "../base/log.h"
#include "instance.h"
#include "limits.h"

enum vk_queue_kind { VK_QUEUE_COMPUTE = 0, VK_QUEUE_TRANSFER = 1, VK_QUEUE_KINDS = 2 };

/** With no transfer queue, or one that is overridden away, transfer is the compute queue. */
struct vk_queue {
    VkQueue handle;
    uint32_t family;
    uint32_t timestamp_bits; /* 0: the queue writes no timestamps */
};

/** Owned by pipeline_pool.c. */
struct pipeline_pool {
    pthread_mutex_t mutex;
    struct pooled_pipeline *first;
    uint32_t idle; /* that nobody uses */
};

struct vkring_device {
    struct log log;
    struct vk_instance instance;
    VkPhysicalDevice physical;
    VkDevice handle;
    bool owned; /* handle is ours to destroy */
    struct VolkDeviceTable fn;
    struct vkring_device_info info;
    uint8_t uuid[VK_UUID_SIZE]; /* of the physical device, on its host */
    struct vk_limits limits;
    struct vk_queue queues[VK_QUEUE_KINDS];
    pthread_mutex_t queue_mutex; /* around every submission, also across queues */
    void (*lock_queues)(void *user);
    void (*unlock_queues)(void *user);
    void *lock_user;
    struct pipeline_pool pipelines;
    VkPipelineCache pipeline_cache;
    char *pipeline_cache_path;        /* null: not kept */
    uint32_t pipeline_cache_checksum; /* of what was loaded; 0 for nothing */
    char *kernels_path;               /* where src/attention remembers choices of kernels; null: nowhere */
    atomic_uint_fast64_t device_bytes, device_peak_bytes, host_bytes, host_peak_bytes;
    atomic_bool quarantined; /* something may still touch memory of the device after all is destroyed: it is never freed */
    atomic_bool busy;        /* nor any buffer on it: what was submitted did not end */
    atomic_uint kernels_passed, kernels_failed; /* bits of the self-tests' verdicts: the lowest 24 of src/attention/self_test.c, then of
                                                   src/feedforward/gemm_self_test.c */
};

/** overrides may be null. */
enum vkring_status vk_device_open(const struct vkring_device_params *params, const struct vk_limit_overrides *overrides,
                                  vkring_device **out_device);
enum vkring_status vk_device_open_from_vulkan(const struct vkring_vulkan_params *params, const struct vk_limit_overrides *overrides,
                                              vkring_device **out_device);

/** Leaves the device in place when it is destroyed: its memory may still be touched. */
void vk_device_quarantine(vkring_device *device);
/** The same where what was submitted did not end and may touch any buffer: from now on all of them stay, too. */
void vk_device_leave_busy(vkring_device *device);

/** Turns a VkResult into a status, recorded with the name of the call; VK_SUCCESS gives VKRING_OK. */
enum vkring_status vk_status(VkResult result, const char *call);

#endif
