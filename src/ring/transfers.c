/* SPDX-License-Identifier: MIT */
#include "transfers.h"

#include "../base/clock.h"

enum vkring_status transfers_create(vkring_device *device, struct flight_record *record, struct transfers *out_transfers)
{
    enum vkring_status status;
    struct transfers transfers = {.device = device, .record = record};
    TRY(vk_command_pool_create(device, VK_QUEUE_TRANSFER, &transfers.pool), fail);
    TRY(vk_timeline_create(device, &transfers.timeline), fail);
    *out_transfers = transfers;
    return VKRING_OK;
fail:
    transfers_destroy(&transfers);
    return status;
}

void transfers_destroy(struct transfers *transfers)
{
    if (!transfers->device)
        return;
    vk_timeline_destroy(transfers->device, &transfers->timeline);
    vk_command_pool_destroy(transfers->device, &transfers->pool);
    *transfers = (struct transfers){0};
}

static enum vkring_status record_copy(struct transfers *transfers, const struct transfer *transfer, struct vk_commands *commands)
{
    enum vkring_status status;
    vkring_device *device = transfers->device;
    TRY(vk_commands_begin(device, &transfers->pool, commands), fail);
    vk_commands_copy(device, commands, transfer->from, transfer->from_offset_bytes, transfer->to, transfer->to_offset_bytes,
                     transfer->bytes);
    vk_commands_barrier_to_host(device, commands);
    return vk_commands_end(device, commands);
fail:
    return status;
}

enum vkring_status transfers_submit(struct transfers *transfers, const struct transfer *transfer, struct vk_semaphore_value after)
{
    enum vkring_status status;
    const uint32_t slot = (transfers->oldest + transfers->pending) % TRANSFERS_UNDER_WAY;
    const struct vk_semaphore_value done = {transfers->timeline.handle, transfers->timeline.submitted + 1};
    TRY(record_copy(transfers, transfer, &transfers->commands[slot]), fail);
    TRY(vk_submit(transfers->device, VK_QUEUE_TRANSFER, &transfers->commands[slot], &after, after.semaphore ? 1 : 0, &done, 1), fail);
    transfers->timeline.submitted = done.value;
    transfers->queue[slot] = *transfer;
    transfers->submitted_seconds[slot] = clock_seconds();
    transfers->pending++;
    return VKRING_OK;
fail:
    return status;
}

/* The i-th from the oldest on. It begins when it was submitted, or when the one before it was seen done. */
static void record_transfer(const struct transfers *transfers, uint32_t i, double end_seconds, bool finished)
{
    const uint32_t slot = (transfers->oldest + i) % TRANSFERS_UNDER_WAY;
    const struct transfer *transfer = &transfers->queue[slot];
    const double submitted = transfers->submitted_seconds[slot];
    const struct vkring_event event = {
        .kind = transfer->kind,
        .finished = finished,
        .step = transfer->step,
        .peer = VKRING_NONE,
        .bytes = transfer->bytes,
        .begin_seconds = submitted > transfers->seen_seconds ? submitted : transfers->seen_seconds,
        .end_seconds = end_seconds,
    };
    flight_record_add(transfers->record, &event);
}

enum vkring_status transfers_poll(struct transfers *transfers, bool *out_progress)
{
    enum vkring_status status;
    while (transfers->pending > 0) {
        const double now = clock_seconds();
        const struct transfer *transfer = &transfers->queue[transfers->oldest];
        bool reached;
        TRY(vk_timeline_reached(transfers->device, &transfers->timeline, transfers->timeline.submitted - transfers->pending + 1, &reached),
            fail);
        if (!reached)
            return VKRING_OK;
        record_transfer(transfers, 0, now, true);
        if (transfer->done_bytes)
            *transfer->done_bytes += transfer->bytes;
        transfers->seen_seconds = now;
        transfers->oldest = (transfers->oldest + 1) % TRANSFERS_UNDER_WAY;
        transfers->pending--;
        *out_progress = true;
    }
    return VKRING_OK;
fail:
    return status;
}

void transfers_record_pending(const struct transfers *transfers)
{
    for (uint32_t i = 0; i < transfers->pending; i++)
        record_transfer(transfers, i, clock_seconds(), false);
}
