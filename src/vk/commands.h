/* SPDX-License-Identifier: MIT */
/** Recording commands, to submit them once or many times (never twice at a time). */
#ifndef VKRING_VK_COMMANDS_H
#define VKRING_VK_COMMANDS_H

#include "device.h"
#include "memory.h"
#include "pipeline.h"

/** A command pool and buffers of one queue. */
struct vk_command_pool {
    VkCommandPool handle;
};

struct vk_commands {
    VkCommandBuffer handle;
};

struct vk_queries {
    VkQueryPool handle;
    uint32_t count;
};

enum vkring_status vk_command_pool_create(vkring_device *device, enum vk_queue_kind queue, struct vk_command_pool *out_pool);
/** Frees its commands too; none may be in flight. Accepts one that was not created. */
void vk_command_pool_destroy(vkring_device *device, struct vk_command_pool *pool);

/** Begins recording: commands that have a handle (and are not in flight) anew, others after allocating one. */
enum vkring_status vk_commands_begin(vkring_device *device, const struct vk_command_pool *pool, struct vk_commands *commands);
enum vkring_status vk_commands_end(vkring_device *device, const struct vk_commands *commands);

/** push is pipeline->push_bytes long. */
void vk_commands_dispatch(vkring_device *device, const struct vk_commands *commands, const struct vk_pipeline *pipeline, const void *push,
                          const uint32_t workgroups[3]);
void vk_commands_copy(vkring_device *device, const struct vk_commands *commands, const vkring_buffer *from, uint64_t from_offset_bytes,
                      const vkring_buffer *to, uint64_t to_offset_bytes, uint64_t size_bytes);
/** What kernels and copies before it wrote is seen by kernels and copies after it. */
void vk_commands_barrier(vkring_device *device, const struct vk_commands *commands);
/** What was written before it is seen by the host once a timeline is reached that the submission signals. */
void vk_commands_barrier_to_host(vkring_device *device, const struct vk_commands *commands);

/** count timestamps; created with count 0 where the device has none (limits.timestamp_seconds is 0). */
enum vkring_status vk_queries_create(vkring_device *device, uint32_t count, struct vk_queries *out_queries);
void vk_queries_destroy(vkring_device *device, struct vk_queries *queries);
/** Resets [first, first + count) on the device, in the same commands that write them. Nothing without timestamps. */
void vk_commands_reset_queries(vkring_device *device, const struct vk_commands *commands, const struct vk_queries *queries, uint32_t first, uint32_t count);
/** Writes a timestamp when all commands before it are done. Nothing without timestamps. */
void vk_commands_timestamp(vkring_device *device, const struct vk_commands *commands, const struct vk_queries *queries, uint32_t index);
/** Seconds from timestamp first to timestamp last, both written; 0 without timestamps. */
enum vkring_status vk_queries_elapsed(vkring_device *device, const struct vk_queries *queries, uint32_t first, uint32_t last, double *out_seconds);

#endif
