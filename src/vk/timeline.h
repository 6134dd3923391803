/* SPDX-License-Identifier: MIT */
/** Timeline semaphores, and submission of recorded commands between them. */
#ifndef VKRING_VK_TIMELINE_H
#define VKRING_VK_TIMELINE_H

#include "commands.h"
#include "device.h"

struct vk_timeline {
    VkSemaphore handle;
    uint64_t submitted; /* the highest value that a submission will signal */
};

enum vkring_status vk_timeline_create(vkring_device *device, struct vk_timeline *out_timeline);
/** Accepts one that was not created. Nothing may be in flight on it. */
void vk_timeline_destroy(vkring_device *device, struct vk_timeline *timeline);
/** Whether the device has come to value; VKRING_ERROR_DEVICE_LOST if it never will. */
enum vkring_status vk_timeline_reached(vkring_device *device, const struct vk_timeline *timeline, uint64_t value, bool *out_reached);
/** Waits at most so long; false when the time is over. */
enum vkring_status vk_timeline_wait(vkring_device *device, const struct vk_timeline *timeline, uint64_t value, double seconds, bool *out_reached);

/**
 * Whether all that was submitted is over: done, or its device lost, which touches nothing more. Waits at most so long. What is in flight after
 * that must not be freed; then this has left the device in place for good, with all buffers.
 */
bool vk_timeline_settle(vkring_device *device, const struct vk_timeline *timeline, double seconds);

struct vk_semaphore_value {
    VkSemaphore semaphore; /* null: ignored */
    uint64_t value;
};

/** Submits commands (null: none, semaphores only). Waits block all commands of the submission; signals follow all of them. */
enum vkring_status vk_submit(vkring_device *device, enum vk_queue_kind queue, const struct vk_commands *commands, const struct vk_semaphore_value *waits,
                             uint32_t wait_count, const struct vk_semaphore_value *signals, uint32_t signal_count);

#endif
