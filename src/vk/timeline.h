/* SPDX-License-Identifier: MIT */
/** Timeline semaphores, and submission of recorded commands between them. */
#ifndef VKRING_VK_TIMELINE_H
#define VKRING_VK_TIMELINE_H

#include "commands.h"
#include "device.h"
#include "memory.h"

/** Of a submission, each way: as many as a run has, one of its own and one of each tensor of backward. */
#define VK_MOST_SEMAPHORES 20u

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
enum vkring_status vk_timeline_wait(vkring_device *device, const struct vk_timeline *timeline, uint64_t value, double seconds,
                                    bool *out_reached);

/**
 * Whether all that was submitted is over: done, or its device lost, which touches nothing more. Waits at most so long. What is in flight
 * after that must not be freed; then this has left the device in place for good, with all buffers.
 */
bool vk_timeline_settle(vkring_device *device, const struct vk_timeline *timeline, double seconds);

struct vk_semaphore_value {
    VkSemaphore semaphore; /* null: ignored */
    uint64_t value;
};

/** Submits commands (null: none, semaphores only). Waits block all commands of the submission; signals follow all of them. */
enum vkring_status vk_submit(vkring_device *device, enum vk_queue_kind queue, const struct vk_commands *commands,
                             const struct vk_semaphore_value *waits, uint32_t wait_count, const struct vk_semaphore_value *signals,
                             uint32_t signal_count);

/** The application's semaphores of the buffers of a call: each once, with the greatest value that it has there. */
struct vk_application_sync {
    struct vk_semaphore_value waits[VK_MOST_SEMAPHORES], signals[VK_MOST_SEMAPHORES];
    uint32_t wait_count, signal_count;
};

/** Takes them from so many buffers, VK_MOST_SEMAPHORES at most, which may be null or the same: no later call finds them. */
void vk_application_sync_take(vkring_buffer *const *buffers, uint32_t count, struct vk_application_sync *out_sync);

#endif
