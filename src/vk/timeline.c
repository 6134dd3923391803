/* SPDX-License-Identifier: MIT */
#include "timeline.h"

#include "../base/checked.h"
#include "../base/clock.h"

/* A driver that is out of memory may wait another time. */
#define SETTLE_ATTEMPTS 8
#define SETTLE_PAUSE_SECONDS 0.005

enum vkring_status vk_timeline_create(vkring_device *device, struct vk_timeline *out_timeline)
{
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    const VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    *out_timeline = (struct vk_timeline){0};
    return vk_status(device->fn.vkCreateSemaphore(device->handle, &info, NULL, &out_timeline->handle), "vkCreateSemaphore");
}

void vk_timeline_destroy(vkring_device *device, struct vk_timeline *timeline)
{
    if (timeline->handle)
        device->fn.vkDestroySemaphore(device->handle, timeline->handle, NULL);
    *timeline = (struct vk_timeline){0};
}

enum vkring_status vk_timeline_reached(vkring_device *device, const struct vk_timeline *timeline, uint64_t value, bool *out_reached)
{
    enum vkring_status status;
    uint64_t now = 0;
    TRY(vk_status(device->fn.vkGetSemaphoreCounterValue(device->handle, timeline->handle, &now), "vkGetSemaphoreCounterValue"), fail);
    *out_reached = now >= value;
    return VKRING_OK;
fail:
    return status;
}

static VkResult wait_for(vkring_device *device, const struct vk_timeline *timeline, uint64_t value, double seconds)
{
    const VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .semaphoreCount = 1,
        .pSemaphores = &timeline->handle,
        .pValues = &value,
    };
    const uint64_t nanoseconds = seconds >= 1e9 ? (uint64_t)1e18 : seconds > 0 ? (uint64_t)(seconds * 1e9) : 0;
    return device->fn.vkWaitSemaphores(device->handle, &info, nanoseconds);
}

enum vkring_status vk_timeline_wait(vkring_device *device, const struct vk_timeline *timeline, uint64_t value, double seconds,
                                    bool *out_reached)
{
    enum vkring_status status;
    const VkResult result = wait_for(device, timeline, value, seconds);
    TRY(vk_status(result, "vkWaitSemaphores"), fail);
    *out_reached = result == VK_SUCCESS;
    return VKRING_OK;
fail:
    return status;
}

bool vk_timeline_settle(vkring_device *device, const struct vk_timeline *timeline, double seconds)
{
    if (!timeline->handle || timeline->submitted == 0)
        return true;
    for (int attempt = 0; attempt < SETTLE_ATTEMPTS; attempt++) {
        const VkResult result = wait_for(device, timeline, timeline->submitted, seconds);
        if (result == VK_SUCCESS || result == VK_ERROR_DEVICE_LOST)
            return true;
        if (result == VK_TIMEOUT)
            break;
        clock_sleep(SETTLE_PAUSE_SECONDS);
    }
    vk_device_leave_busy(device);
    return false;
}

static uint32_t fill(const struct vk_semaphore_value *values, uint32_t count, VkSemaphoreSubmitInfo *infos)
{
    uint32_t filled = 0;
    for (uint32_t i = 0; i < count; i++)
        if (values[i].semaphore)
            infos[filled++] = (VkSemaphoreSubmitInfo){
                .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                .semaphore = values[i].semaphore,
                .value = values[i].value,
                .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
            };
    return filled;
}

enum vkring_status vk_submit(vkring_device *device, enum vk_queue_kind queue, const struct vk_commands *commands,
                             const struct vk_semaphore_value *waits, uint32_t wait_count, const struct vk_semaphore_value *signals,
                             uint32_t signal_count)
{
    VkSemaphoreSubmitInfo wait_infos[VK_MOST_SEMAPHORES], signal_infos[VK_MOST_SEMAPHORES];
    if (wait_count > VK_MOST_SEMAPHORES || signal_count > VK_MOST_SEMAPHORES)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "a submission has at most %u semaphores each way", VK_MOST_SEMAPHORES);
    const VkCommandBufferSubmitInfo command_info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
        .commandBuffer = commands ? commands->handle : VK_NULL_HANDLE,
    };
    const VkSubmitInfo2 info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
        .waitSemaphoreInfoCount = fill(waits, wait_count, wait_infos),
        .pWaitSemaphoreInfos = wait_infos,
        .commandBufferInfoCount = commands ? 1 : 0,
        .pCommandBufferInfos = &command_info,
        .signalSemaphoreInfoCount = fill(signals, signal_count, signal_infos),
        .pSignalSemaphoreInfos = signal_infos,
    };
    pthread_mutex_lock(&device->queue_mutex);
    if (device->lock_queues)
        device->lock_queues(device->lock_user);
    VkResult result = device->fn.vkQueueSubmit2(device->queues[queue].handle, 1, &info, VK_NULL_HANDLE);
    if (device->unlock_queues)
        device->unlock_queues(device->lock_user);
    pthread_mutex_unlock(&device->queue_mutex);
    return vk_status(result, "vkQueueSubmit2");
}

/* Among those there are. */
static void add_value(struct vk_semaphore_value *values, uint32_t *count, VkSemaphore semaphore, uint64_t value)
{
    uint32_t at = 0;
    if (!semaphore)
        return;
    while (at < *count && values[at].semaphore != semaphore)
        at++;
    if (at == *count)
        values[(*count)++] = (struct vk_semaphore_value){semaphore, value};
    else
        values[at].value = max_u64(values[at].value, value);
}

void vk_application_sync_take(vkring_buffer *const *buffers, uint32_t count, struct vk_application_sync *out_sync)
{
    out_sync->wait_count = out_sync->signal_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!buffers[i])
            continue;
        const struct vkring_vulkan_sync its = buffers[i]->sync;
        add_value(out_sync->waits, &out_sync->wait_count, its.wait, its.wait_value);
        add_value(out_sync->signals, &out_sync->signal_count, its.signal, its.signal_value);
        buffers[i]->sync = (struct vkring_vulkan_sync){0};
    }
}
