/* SPDX-License-Identifier: MIT */
#include "device_work.h"

#define SETTLE_SECONDS 5.0

enum vkring_status device_work_create(vkring_device *device, double timeout_seconds, struct device_work *out_work)
{
    enum vkring_status status;
    struct device_work work = {.device = device, .timeout_seconds = timeout_seconds};
    TRY(vk_command_pool_create(device, VK_QUEUE_COMPUTE, &work.pool), fail);
    TRY(vk_timeline_create(device, &work.timeline), fail);
    *out_work = work;
    return VKRING_OK;
fail:
    device_work_destroy(&work);
    return status;
}

bool device_work_settle(struct device_work *work)
{
    return !work->device || vk_timeline_settle(work->device, &work->timeline, SETTLE_SECONDS);
}

void device_work_destroy(struct device_work *work)
{
    if (!work->device)
        return;
    vk_timeline_destroy(work->device, &work->timeline);
    vk_command_pool_destroy(work->device, &work->pool);
    *work = (struct device_work){0};
}

void device_work_start(struct device_work *work, vkring_buffer *const *buffers, uint32_t count)
{
    vk_application_sync_take(buffers, count, &work->sync);
}

enum vkring_status device_work_begin(struct device_work *work)
{
    enum vkring_status status;
    TRY(vk_commands_begin(work->device, &work->pool, &work->commands), fail);
    vk_commands_barrier(work->device, &work->commands);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status device_work_run(struct device_work *work)
{
    enum vkring_status status;
    vkring_device *device = work->device;
    const struct vk_semaphore_value done = {work->timeline.handle, work->timeline.submitted + 1};
    bool reached = false;
    vk_commands_barrier_to_host(device, &work->commands);
    TRY(vk_commands_end(device, &work->commands), fail);
    TRY(vk_submit(device, VK_QUEUE_COMPUTE, &work->commands, work->sync.waits, work->sync.wait_count, &done, 1), fail);
    work->sync.wait_count = 0;
    work->timeline.submitted = done.value;
    TRY(vk_timeline_wait(device, &work->timeline, done.value, work->timeout_seconds, &reached), fail);
    if (!reached)
        return status_fail(VKRING_ERROR_TIMEOUT, "the device did not do its part of a call of a cache in %g s", work->timeout_seconds);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status device_work_finish(struct device_work *work)
{
    enum vkring_status status;
    const struct vk_application_sync *sync = &work->sync;
    if (sync->wait_count + sync->signal_count > 0)
        TRY(vk_submit(work->device, VK_QUEUE_COMPUTE, NULL, sync->waits, sync->wait_count, sync->signals, sync->signal_count), fail);
    work->sync = (struct vk_application_sync){0};
    return VKRING_OK;
fail:
    return status;
}
