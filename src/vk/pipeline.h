/* SPDX-License-Identifier: MIT */
/** Compute pipelines from SPIR-V that take everything through push constants and device addresses, and the cache that keeps them between
 * processes. */
#ifndef VKRING_VK_PIPELINE_H
#define VKRING_VK_PIPELINE_H

#include "device.h"

#define VK_PIPELINE_MOST_CONSTANTS 48u

struct vk_pipeline {
    VkPipelineLayout layout;
    VkPipeline handle;
    uint32_t push_bytes;
};

struct vk_pipeline_params {
    const uint32_t *code; /* SPIR-V; entry point main */
    uint64_t code_bytes;
    uint32_t push_bytes; /* of push constants, at offset 0; at most 128 */
    /* specialization constants: constant_id i has the 32 bits of constants[i] */
    const uint32_t *constants;
    uint32_t constant_count;
    uint32_t subgroup_size; /* asked for, with full subgroups; 0 leaves it to the driver */
};

enum vkring_status vk_pipeline_create(vkring_device *device, const struct vk_pipeline_params *params, struct vk_pipeline *out_pipeline);
/** Accepts one that was not created. Nothing in flight may use it. */
void vk_pipeline_destroy(vkring_device *device, struct vk_pipeline *pipeline);

/** Loads the cache of this device and driver from cache_folder (null: the user's, "": none). A missing, foreign or damaged file is an empty
 * cache. */
enum vkring_status vk_pipeline_cache_open(vkring_device *device, const char *cache_folder);
/** Writes the cache back (a new file renamed over the old one) and closes it. A file that cannot be written is a warning in the log. */
void vk_pipeline_cache_close(vkring_device *device);

#endif
