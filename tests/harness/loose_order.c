/* SPDX-License-Identifier: MIT */
#include "loose_order.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vk/timeline.h>

#define MOST_PUSH_BYTES 256u
/* The host looks all the time: so often before what is late is done. */
#define LOOKS 8

/* A copy, or without buffers a dispatch. */
struct command {
    VkBuffer from, to;
    VkBufferCopy region;
    VkPipeline pipeline;
    VkPipelineLayout layout;
    uint32_t push_bytes, workgroups[3];
    unsigned char push[MOST_PUSH_BYTES];
};

/* What was recorded since the last barrier, and whether there was more than copies in all. */
struct recording {
    VkCommandBuffer handle;
    struct command *commands;
    size_t count, capacity;
    bool more_than_copies;
};

struct submission {
    VkQueue queue;
    VkSubmitInfo2 info;
    VkCommandBufferSubmitInfo commands;
    VkSemaphoreSubmitInfo waits[VK_MOST_SEMAPHORES], signals[VK_MOST_SEMAPHORES];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct VolkDeviceTable driver;
static enum late late_kind;
static struct recording *recordings;
static size_t recording_count;
static struct submission *late;
static size_t late_count;
static unsigned looks;
/* Of the dispatch that this thread is about to record. */
static _Thread_local struct command bound;

static void *enlarge(void *array, size_t count, size_t bytes)
{
    void *larger = realloc(array, count * bytes);
    if (larger)
        return larger;
    fprintf(stderr, "no memory for commands in another order\n");
    exit(EXIT_FAILURE);
}

static struct recording *recording_of(VkCommandBuffer handle)
{
    for (size_t i = 0; i < recording_count; i++)
        if (recordings[i].handle == handle)
            return &recordings[i];
    recordings = enlarge(recordings, recording_count + 1, sizeof(*recordings));
    recordings[recording_count] = (struct recording){.handle = handle};
    return &recordings[recording_count++];
}

static void add_command(struct recording *recording, const struct command *command)
{
    if (recording->count == recording->capacity) {
        recording->capacity = 2 * recording->capacity + 8;
        recording->commands = enlarge(recording->commands, recording->capacity, sizeof(*recording->commands));
    }
    recording->commands[recording->count++] = *command;
}

/* Last to first. */
static void record_all(struct recording *recording)
{
    while (recording->count > 0) {
        const struct command *command = &recording->commands[--recording->count];
        if (!command->pipeline) {
            driver.vkCmdCopyBuffer(recording->handle, command->from, command->to, 1, &command->region);
            continue;
        }
        driver.vkCmdBindPipeline(recording->handle, VK_PIPELINE_BIND_POINT_COMPUTE, command->pipeline);
        if (command->push_bytes)
            driver.vkCmdPushConstants(recording->handle, command->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, command->push_bytes,
                                      command->push);
        driver.vkCmdDispatch(recording->handle, command->workgroups[0], command->workgroups[1], command->workgroups[2]);
    }
}

static void record_all_of(VkCommandBuffer handle, bool more_than_copies)
{
    pthread_mutex_lock(&mutex);
    struct recording *recording = recording_of(handle);
    recording->more_than_copies = recording->more_than_copies || more_than_copies;
    record_all(recording);
    pthread_mutex_unlock(&mutex);
}

static VkResult begin(VkCommandBuffer handle, const VkCommandBufferBeginInfo *info)
{
    pthread_mutex_lock(&mutex);
    struct recording *recording = recording_of(handle);
    recording->count = 0;
    recording->more_than_copies = false;
    pthread_mutex_unlock(&mutex);
    return driver.vkBeginCommandBuffer(handle, info);
}

static VkResult end(VkCommandBuffer handle)
{
    record_all_of(handle, false);
    return driver.vkEndCommandBuffer(handle);
}

static void bind_pipeline(VkCommandBuffer handle, VkPipelineBindPoint point, VkPipeline pipeline)
{
    (void)handle, (void)point;
    bound = (struct command){.pipeline = pipeline};
}

static void push_constants(VkCommandBuffer handle, VkPipelineLayout layout, VkShaderStageFlags stages, uint32_t offset, uint32_t bytes,
                           const void *values)
{
    (void)handle, (void)stages;
    if (offset != 0 || bytes > sizeof(bound.push)) {
        fprintf(stderr, "push constants of %u bytes at %u\n", bytes, offset);
        exit(EXIT_FAILURE);
    }
    bound.layout = layout;
    bound.push_bytes = bytes;
    memcpy(bound.push, values, bytes);
}

static void dispatch(VkCommandBuffer handle, uint32_t x, uint32_t y, uint32_t z)
{
    pthread_mutex_lock(&mutex);
    struct recording *recording = recording_of(handle);
    memcpy(bound.workgroups, (const uint32_t[]){x, y, z}, sizeof(bound.workgroups));
    add_command(recording, &bound);
    recording->more_than_copies = true;
    pthread_mutex_unlock(&mutex);
}

static void copy(VkCommandBuffer handle, VkBuffer from, VkBuffer to, uint32_t count, const VkBufferCopy *regions)
{
    pthread_mutex_lock(&mutex);
    struct recording *recording = recording_of(handle);
    for (uint32_t i = 0; i < count; i++)
        add_command(recording, &(struct command){.from = from, .to = to, .region = regions[i]});
    pthread_mutex_unlock(&mutex);
}

static void barrier(VkCommandBuffer handle, const VkDependencyInfo *info)
{
    record_all_of(handle, info->pMemoryBarriers[0].dstStageMask != VK_PIPELINE_STAGE_2_HOST_BIT);
    driver.vkCmdPipelineBarrier2(handle, info);
}

/* It tells when what is before it was done. */
static void timestamp(VkCommandBuffer handle, VkPipelineStageFlags2 stage, VkQueryPool pool, uint32_t index)
{
    record_all_of(handle, false);
    driver.vkCmdWriteTimestamp2(handle, stage, pool, index);
}

static void submit_late(size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct submission *submission = &late[i];
        submission->info.pCommandBufferInfos = &submission->commands;
        submission->info.pWaitSemaphoreInfos = submission->waits;
        submission->info.pSignalSemaphoreInfos = submission->signals;
        const VkResult result = driver.vkQueueSubmit2(submission->queue, 1, &submission->info, VK_NULL_HANDLE);
        if (result != VK_SUCCESS)
            fprintf(stderr, "a late submission failed: VkResult %d\n", (int)result);
    }
    late_count -= count;
    if (late_count > 0)
        memmove(late, late + count, late_count * sizeof(*late));
    looks = 0;
}

static bool signals_it(const struct submission *submission, const VkSemaphoreSubmitInfo *wait)
{
    for (uint32_t i = 0; i < submission->info.signalSemaphoreInfoCount; i++)
        if (submission->signals[i].semaphore == wait->semaphore && submission->signals[i].value <= wait->value)
            return true;
    return false;
}

/* How many of the late ones, in their order, are to be submitted before one that waits for some of them. */
static size_t late_before(const VkSubmitInfo2 *info)
{
    size_t needed = 0;
    for (size_t i = 0; i < late_count; i++)
        for (uint32_t w = 0; w < info->waitSemaphoreInfoCount; w++)
            if (signals_it(&late[i], &info->pWaitSemaphoreInfos[w]))
                needed = i + 1;
    return needed;
}

static void add_late(VkQueue queue, const VkSubmitInfo2 *info)
{
    late = enlarge(late, late_count + 1, sizeof(*late));
    struct submission *submission = &late[late_count++];
    *submission = (struct submission){.queue = queue, .info = *info};
    if (info->commandBufferInfoCount)
        submission->commands = info->pCommandBufferInfos[0];
    memcpy(submission->waits, info->pWaitSemaphoreInfos, info->waitSemaphoreInfoCount * sizeof(*submission->waits));
    memcpy(submission->signals, info->pSignalSemaphoreInfos, info->signalSemaphoreInfoCount * sizeof(*submission->signals));
}

/* Of one info, as vkring does it: with one command buffer or none. */
static VkResult submit(VkQueue queue, uint32_t count, const VkSubmitInfo2 *info, VkFence fence)
{
    VkResult result = VK_SUCCESS;
    pthread_mutex_lock(&mutex);
    const bool copies = info->commandBufferInfoCount && !recording_of(info->pCommandBufferInfos[0].commandBuffer)->more_than_copies;
    if (copies == (late_kind == LATE_COPIES)) {
        add_late(queue, info);
    } else {
        submit_late(late_before(info));
        result = driver.vkQueueSubmit2(queue, count, info, fence);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

static VkResult counter_value(VkDevice device, VkSemaphore semaphore, uint64_t *value)
{
    pthread_mutex_lock(&mutex);
    if (late_count > 0 && ++looks >= LOOKS)
        submit_late(late_count);
    pthread_mutex_unlock(&mutex);
    return driver.vkGetSemaphoreCounterValue(device, semaphore, value);
}

static VkResult wait(VkDevice device, const VkSemaphoreWaitInfo *info, uint64_t nanoseconds)
{
    pthread_mutex_lock(&mutex);
    submit_late(late_count);
    pthread_mutex_unlock(&mutex);
    return driver.vkWaitSemaphores(device, info, nanoseconds);
}

void loose_order_install(vkring_device *device, enum late kind)
{
    if (driver.vkCmdDispatch && (driver.vkCmdDispatch != device->fn.vkCmdDispatch || late_kind != kind)) {
        fprintf(stderr, "another driver, or another order\n");
        exit(EXIT_FAILURE);
    }
    driver = device->fn;
    late_kind = kind;
    device->fn.vkBeginCommandBuffer = begin;
    device->fn.vkEndCommandBuffer = end;
    device->fn.vkCmdBindPipeline = bind_pipeline;
    device->fn.vkCmdPushConstants = push_constants;
    device->fn.vkCmdDispatch = dispatch;
    device->fn.vkCmdCopyBuffer = copy;
    device->fn.vkCmdPipelineBarrier2 = barrier;
    device->fn.vkCmdWriteTimestamp2 = timestamp;
    device->fn.vkQueueSubmit2 = submit;
    device->fn.vkGetSemaphoreCounterValue = counter_value;
    device->fn.vkWaitSemaphores = wait;
}
