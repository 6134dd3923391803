/* SPDX-License-Identifier: MIT */
#include "staging.h"

#include "../base/checked.h"

/* Few enough that each is worth its submission, enough that the first is soon there. */
#define PIECES_OF_PACKET 8u

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
    struct staging staging = {.device = device, .problem = problem, .unified = device->limits.unified_memory};
    for (uint32_t slot = 0; slot < STAGING_SLOTS; slot++) {
        TRY(vk_buffer_create(device, VK_MEMORY_HOST, shape.bytes, &staging.host[slot]), fail);
        if (!staging.unified)
            TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, shape.bytes, &staging.on_device[slot]), fail);
    }
    TRY(transfers_create(device, record, &staging.transfers), fail);
    *out_staging = staging;
    return VKRING_OK;
fail:
    staging_destroy(&staging);
    return status;
}

bool staging_settle(const struct staging *staging, double seconds)
{
    return !staging->device || vk_timeline_settle(staging->device, &staging->transfers.timeline, seconds);
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
    transfers_destroy(&staging->transfers);
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
        if (shape->part_bytes[part] > 0)
            *key_part_view(&keys, (enum key_part)part) =
                tensors_packed_part(staging->problem, (enum key_part)part, &tensor, buffer, shape->part_offset[part]);
    }
    return keys;
}

uint64_t staging_piece_bytes(const struct packet_shape *shape, uint64_t chunk_bytes)
{
    return max_u64(divide_up(shape->bytes, PIECES_OF_PACKET), chunk_bytes);
}

void staging_expect(struct staging *staging, uint32_t slot)
{
    staging->passed_bytes[slot] = 0;
}

/* Passes [first, end) of the slot on to the device. */
static enum vkring_status pass(struct staging *staging, uint32_t slot, uint32_t step, uint64_t first, uint64_t end)
{
    enum vkring_status status;
    const struct transfer upload = {.from = staging->host[slot],
                                    .to = staging->on_device[slot],
                                    .from_offset_bytes = first,
                                    .to_offset_bytes = first,
                                    .bytes = end - first,
                                    .kind = VKRING_EVENT_UPLOAD,
                                    .step = step};
    TRY(vk_buffer_flush(staging->host[slot], first, end - first), fail);
    if (!staging->unified) {
        TRY(transfers_submit(&staging->transfers, &upload, (struct vk_semaphore_value){0}), fail);
        staging->upload_value[slot] = staging->transfers.timeline.submitted;
    }
    staging->passed_bytes[slot] = end;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status staging_arrived(struct staging *staging, uint32_t slot, const struct packet_shape *shape, uint32_t step,
                                   uint64_t arrived_bytes, uint64_t piece_bytes, bool *out_passed)
{
    enum vkring_status status;
    const uint64_t first = staging->passed_bytes[slot], end = packet_shape_end(shape, arrived_bytes);
    const bool is_worth_it = end == shape->bytes || end - first >= piece_bytes;
    if (end > first && is_worth_it && transfers_have_room(&staging->transfers))
        TRY(pass(staging, slot, step, first, end), fail);
    *out_passed = staging->passed_bytes[slot] == shape->bytes;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status staging_uploaded(struct staging *staging, uint32_t slot, bool *out_uploaded)
{
    *out_uploaded = true;
    if (staging->upload_value[slot] == 0)
        return VKRING_OK;
    return vk_timeline_reached(staging->device, &staging->transfers.timeline, staging->upload_value[slot], out_uploaded);
}

struct vk_semaphore_value staging_wait(const struct staging *staging, uint32_t slot)
{
    if (staging->upload_value[slot] == 0)
        return (struct vk_semaphore_value){0};
    return (struct vk_semaphore_value){staging->transfers.timeline.handle, staging->upload_value[slot]};
}
