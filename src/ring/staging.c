/* SPDX-License-Identifier: MIT */
#include "staging.h"

#include "../base/checked.h"
#include "../base/clock.h"

#define PART_ALIGNMENT 256u

void packet_shape_add(struct packet_shape *shape, int part, const struct tensor_shape *tensor)
{
    /* the products were checked with the problem */
    shape->part_bytes[part] = tensor->batch * tensor->rows * tensor->heads * tensor->dim * tensor->element_bytes;
    shape->part_offset[part] = divide_up(shape->bytes, PART_ALIGNMENT) * PART_ALIGNMENT;
    if (shape->part_bytes[part] > 0)
        shape->bytes = shape->part_offset[part] + shape->part_bytes[part];
}

struct packet_shape packet_shape_of(const struct problem *problem, uint64_t rows)
{
    struct packet_shape shape = {.rows = rows};
    for (int part = 0; part < PACKET_PARTS; part++) {
        const struct tensor_shape tensor = key_part_shape(problem, (enum key_part)part, rows);
        packet_shape_add(&shape, part, &tensor);
    }
    return shape;
}

struct packet_memory packet_shape_memory(const struct packet_shape *shape, void *first)
{
    struct packet_memory memory = {{0}};
    for (int part = 0; first && part < PACKET_PARTS; part++)
        memory.parts[part] = (char *)first + shape->part_offset[part];
    return memory;
}

enum vkring_status staging_measure(vkring_device *device, const struct problem *problem, uint64_t most_rows,
                                   struct vkring_plan_memory *memory)
{
    enum vkring_status status;
    const struct packet_shape shape = packet_shape_of(problem, most_rows);
    uint64_t host, on_device = 0;
    bool counts_as_host;
    TRY(vk_buffer_measure(device, VK_MEMORY_HOST, shape.bytes, &host, &counts_as_host), fail);
    if (!device->limits.unified_memory) {
        bool ignored;
        TRY(vk_buffer_measure(device, VK_MEMORY_DEVICE, shape.bytes, &on_device, &ignored), fail);
    }
    memory->device_bytes += STAGING_SLOTS * (on_device + (counts_as_host ? 0 : host));
    memory->host_bytes += STAGING_SLOTS * (counts_as_host ? host : 0);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status staging_create(vkring_device *device, const struct problem *problem, uint64_t most_rows, struct flight_record *record,
                                  struct staging *out_staging)
{
    enum vkring_status status;
    const struct packet_shape shape = packet_shape_of(problem, most_rows);
    struct staging staging = {.device = device, .problem = problem, .unified = device->limits.unified_memory, .record = record};
    for (uint32_t slot = 0; slot < STAGING_SLOTS; slot++) {
        TRY(vk_buffer_create(device, VK_MEMORY_HOST, shape.bytes, &staging.host[slot]), fail);
        if (!staging.unified)
            TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, shape.bytes, &staging.on_device[slot]), fail);
    }
    TRY(vk_command_pool_create(device, VK_QUEUE_TRANSFER, &staging.pool), fail);
    TRY(vk_timeline_create(device, &staging.uploads), fail);
    *out_staging = staging;
    return VKRING_OK;
fail:
    staging_destroy(&staging);
    return status;
}

bool staging_settle(const struct staging *staging, double seconds)
{
    return !staging->device || vk_timeline_settle(staging->device, &staging->uploads, seconds);
}

void staging_quarantine(struct staging *staging)
{
    for (uint32_t slot = 0; slot < STAGING_SLOTS; slot++)
        vk_buffer_quarantine(staging->host[slot]);
}

void staging_destroy(struct staging *staging)
{
    if (!staging->device)
        return;
    vk_timeline_destroy(staging->device, &staging->uploads);
    vk_command_pool_destroy(staging->device, &staging->pool);
    for (uint32_t slot = 0; slot < STAGING_SLOTS; slot++) {
        vkring_buffer_destroy(&staging->host[slot]);
        vkring_buffer_destroy(&staging->on_device[slot]);
    }
    *staging = (struct staging){0};
}

struct packet_memory staging_memory(const struct staging *staging, uint32_t slot, const struct packet_shape *shape)
{
    return packet_shape_memory(shape, staging->host[slot]->mapped);
}

struct key_tensors staging_keys(const struct staging *staging, uint32_t slot, const struct packet_shape *shape, uint64_t key_row)
{
    vkring_buffer *buffer = staging->unified ? staging->host[slot] : staging->on_device[slot];
    struct key_tensors keys = {.key_row = key_row, .keys = shape->rows};
    for (int part = 0; part < PACKET_PARTS; part++) {
        const struct tensor_shape tensor = key_part_shape(staging->problem, (enum key_part)part, shape->rows);
        if (!tensor_is_empty(&tensor))
            *key_part_view(&keys, (enum key_part)part) =
                tensors_packed_part(staging->problem, (enum key_part)part, &tensor, buffer, shape->part_offset[part]);
    }
    return keys;
}

/* The one that brings the timeline to a value. It begins when it was submitted, or when the one before it was seen done. */
static void record_upload(const struct staging *staging, uint64_t value, double end_seconds, bool finished)
{
    for (uint32_t slot = 0; slot < STAGING_SLOTS; slot++) {
        struct vkring_event event = staging->upload_event[slot];
        if (staging->upload_value[slot] != value)
            continue;
        event.finished = finished;
        event.begin_seconds = event.begin_seconds > staging->seen_seconds ? event.begin_seconds : staging->seen_seconds;
        event.end_seconds = end_seconds;
        flight_record_add(staging->record, &event);
    }
}

enum vkring_status staging_poll(struct staging *staging)
{
    enum vkring_status status;
    while (staging->seen_value < staging->uploads.submitted) {
        const double now = clock_seconds();
        bool reached;
        TRY(vk_timeline_reached(staging->device, &staging->uploads, staging->seen_value + 1, &reached), fail);
        if (!reached)
            return VKRING_OK;
        record_upload(staging, ++staging->seen_value, now, true);
        staging->seen_seconds = now;
    }
    return VKRING_OK;
fail:
    return status;
}

void staging_record_pending(const struct staging *staging)
{
    for (uint64_t value = staging->seen_value + 1; value <= staging->uploads.submitted; value++)
        record_upload(staging, value, clock_seconds(), false);
}

static enum vkring_status upload(struct staging *staging, uint32_t slot, const struct packet_shape *shape)
{
    enum vkring_status status;
    vkring_device *device = staging->device;
    const struct vk_semaphore_value done = {staging->uploads.handle, staging->uploads.submitted + 1};
    TRY(vk_commands_begin(device, &staging->pool, &staging->upload[slot]), fail);
    vk_commands_copy(device, &staging->upload[slot], staging->host[slot], 0, staging->on_device[slot], 0, shape->bytes);
    vk_commands_barrier(device, &staging->upload[slot]);
    TRY(vk_commands_end(device, &staging->upload[slot]), fail);
    TRY(vk_submit(device, VK_QUEUE_TRANSFER, &staging->upload[slot], NULL, 0, &done, 1), fail);
    staging->uploads.submitted = done.value;
    staging->upload_value[slot] = done.value;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status staging_arrived(struct staging *staging, uint32_t slot, const struct packet_shape *shape, uint32_t step)
{
    enum vkring_status status;
    if (shape->bytes == 0)
        return VKRING_OK;
    TRY(vk_buffer_flush(staging->host[slot], 0, shape->bytes), fail);
    if (staging->unified)
        return VKRING_OK;
    TRY(staging_poll(staging), fail); /* the last upload to the slot is done, and may not have been seen */
    TRY(upload(staging, slot, shape), fail);
    staging->upload_event[slot] = (struct vkring_event){
        .kind = VKRING_EVENT_UPLOAD, .step = step, .peer = VKRING_NONE, .bytes = shape->bytes, .begin_seconds = clock_seconds()};
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status staging_uploaded(struct staging *staging, uint32_t slot, bool *out_uploaded)
{
    *out_uploaded = true;
    if (staging->upload_value[slot] == 0)
        return VKRING_OK;
    return vk_timeline_reached(staging->device, &staging->uploads, staging->upload_value[slot], out_uploaded);
}

struct vk_semaphore_value staging_wait(const struct staging *staging, uint32_t slot)
{
    if (staging->upload_value[slot] == 0)
        return (struct vk_semaphore_value){0};
    return (struct vk_semaphore_value){staging->uploads.handle, staging->upload_value[slot]};
}
