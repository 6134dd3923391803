/* SPDX-License-Identifier: MIT */
/* Moving bytes between buffers and the application's memory. */
#include <string.h>

#include "../base/checked.h"
#include "timeline.h"

#define BOUNCE_BYTES ((uint64_t)16 << 20)
#define DEADLINE_SECONDS 60.0

/* One copy after another through a host buffer. */
struct bounce {
    vkring_device *device;
    vkring_buffer *memory;
    struct vk_command_pool pool;
    struct vk_commands commands;
    struct vk_timeline timeline;
};

static void bounce_close(struct bounce *bounce)
{
    if (!vk_timeline_settle(bounce->device, &bounce->timeline, DEADLINE_SECONDS))
        return; /* lost, because freeing what the device writes to is worse */
    vk_timeline_destroy(bounce->device, &bounce->timeline);
    vk_command_pool_destroy(bounce->device, &bounce->pool);
    vkring_buffer_destroy(&bounce->memory);
}

static enum vkring_status bounce_open(vkring_device *device, uint64_t size_bytes, struct bounce *bounce)
{
    enum vkring_status status;
    *bounce = (struct bounce){.device = device};
    TRY(vk_buffer_create(device, VK_MEMORY_HOST, min_u64(size_bytes, BOUNCE_BYTES), &bounce->memory), fail);
    TRY(vk_command_pool_create(device, VK_QUEUE_COMPUTE, &bounce->pool), fail);
    TRY(vk_timeline_create(device, &bounce->timeline), fail);
    return VKRING_OK;
fail:
    bounce_close(bounce);
    return status;
}

static enum vkring_status bounce_copy(struct bounce *bounce, const vkring_buffer *from, uint64_t from_offset_bytes, const vkring_buffer *to,
                                      uint64_t to_offset_bytes, uint64_t size_bytes)
{
    enum vkring_status status;
    vkring_device *device = bounce->device;
    const struct vk_semaphore_value done = {bounce->timeline.handle, bounce->timeline.submitted + 1};
    bool reached = false;
    TRY(vk_commands_begin(device, &bounce->pool, &bounce->commands), fail);
    vk_commands_barrier(device, &bounce->commands);
    vk_commands_copy(device, &bounce->commands, from, from_offset_bytes, to, to_offset_bytes, size_bytes);
    vk_commands_barrier(device, &bounce->commands);
    vk_commands_barrier_to_host(device, &bounce->commands);
    TRY(vk_commands_end(device, &bounce->commands), fail);
    TRY(vk_submit(device, VK_QUEUE_COMPUTE, &bounce->commands, NULL, 0, &done, 1), fail);
    bounce->timeline.submitted = done.value;
    TRY(vk_timeline_wait(device, &bounce->timeline, done.value, DEADLINE_SECONDS, &reached), fail);
    if (!reached)
        return status_fail(VKRING_ERROR_TIMEOUT, "the device did not copy %llu bytes in %.0f s", (unsigned long long)size_bytes,
                           DEADLINE_SECONDS);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status check_range(const vkring_buffer *buffer, uint64_t offset_bytes, uint64_t size_bytes)
{
    uint64_t end;
    if (checked_add(offset_bytes, size_bytes, &end) && end <= buffer->size_bytes)
        return VKRING_OK;
    return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%llu bytes at %llu leave a buffer of %llu", (unsigned long long)size_bytes,
                       (unsigned long long)offset_bytes, (unsigned long long)buffer->size_bytes);
}

enum vkring_status vkring_buffer_upload(vkring_buffer *buffer, uint64_t offset_bytes, const void *from, uint64_t size_bytes)
{
    enum vkring_status status;
    struct bounce bounce;
    TRY(check_range(buffer, offset_bytes, size_bytes), fail);
    if (size_bytes == 0)
        return VKRING_OK;
    if (buffer->mapped) {
        memcpy((char *)buffer->mapped + offset_bytes, from, size_bytes);
        return vk_buffer_flush(buffer, offset_bytes, size_bytes);
    }
    TRY(bounce_open(buffer->device, size_bytes, &bounce), fail);
    for (uint64_t at = 0; at < size_bytes && status == VKRING_OK; at += BOUNCE_BYTES) {
        const uint64_t bytes = min_u64(size_bytes - at, BOUNCE_BYTES);
        memcpy(bounce.memory->mapped, (const char *)from + at, bytes);
        status = vk_buffer_flush(bounce.memory, 0, bytes);
        if (status == VKRING_OK)
            status = bounce_copy(&bounce, bounce.memory, 0, buffer, offset_bytes + at, bytes);
    }
    bounce_close(&bounce);
fail:
    return status;
}

enum vkring_status vkring_buffer_download(vkring_buffer *buffer, uint64_t offset_bytes, void *to, uint64_t size_bytes)
{
    enum vkring_status status;
    struct bounce bounce;
    TRY(check_range(buffer, offset_bytes, size_bytes), fail);
    if (size_bytes == 0)
        return VKRING_OK;
    if (buffer->mapped) {
        TRY(vk_buffer_invalidate(buffer, offset_bytes, size_bytes), fail);
        memcpy(to, (const char *)buffer->mapped + offset_bytes, size_bytes);
        return VKRING_OK;
    }
    TRY(bounce_open(buffer->device, size_bytes, &bounce), fail);
    for (uint64_t at = 0; at < size_bytes && status == VKRING_OK; at += BOUNCE_BYTES) {
        const uint64_t bytes = min_u64(size_bytes - at, BOUNCE_BYTES);
        status = bounce_copy(&bounce, buffer, offset_bytes + at, bounce.memory, 0, bytes);
        if (status == VKRING_OK)
            status = vk_buffer_invalidate(bounce.memory, 0, bytes);
        if (status == VKRING_OK)
            memcpy((char *)to + at, bounce.memory->mapped, bytes);
    }
    bounce_close(&bounce);
fail:
    return status;
}
