/* SPDX-License-Identifier: MIT */
/** Pieces of work on the compute queue, each waited for before the next is recorded. */
#ifndef VKRING_CACHE_DEVICE_WORK_H
#define VKRING_CACHE_DEVICE_WORK_H

#include "../vk/timeline.h"

struct device_work {
    vkring_device *device; /* null: not created */
    struct vk_command_pool pool;
    struct vk_timeline timeline;
    struct vk_commands commands;
    double timeout_seconds;
    struct vk_application_sync sync; /* of the call at hand: waits until the first piece, signals until its end */
};

enum vkring_status device_work_create(vkring_device *device, double timeout_seconds, struct device_work *out_work);
/** False: the device is not done with what was submitted, and nothing that it uses may be freed. Accepts one that was not created. */
bool device_work_settle(struct device_work *work);
/** Settled. Accepts one that was not created. */
void device_work_destroy(struct device_work *work);

/** Begins a call: takes the semaphores of its buffers, at most VK_MOST_SEMAPHORES, of which any may be null or the same. */
void device_work_start(struct device_work *work, vkring_buffer *const *buffers, uint32_t count);
/** Begins to record a piece, which sees what those before it wrote. */
enum vkring_status device_work_begin(struct device_work *work);
/** Submits what was recorded and waits for it; the host then sees what it wrote. VKRING_ERROR_TIMEOUT: it did not end in time. */
enum vkring_status device_work_run(struct device_work *work);
/** Ends a call: signals its semaphores. */
enum vkring_status device_work_finish(struct device_work *work);

#endif
