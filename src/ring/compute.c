/* SPDX-License-Identifier: MIT */
#include "compute.h"

#include "../base/clock.h"

/* A CPU's clock is the host's; and llvmpipe lets nobody read a timestamp while it works on what was submitted next. */
static bool has_clock_of_its_own(const vkring_device *device)
{
    return device->info.kind != VKRING_DEVICE_CPU;
}

enum vkring_status compute_create(vkring_device *device, struct flight_record *record, struct compute *out_compute)
{
    enum vkring_status status;
    struct compute compute = {.device = device, .record = record};
    TRY(vk_command_pool_create(device, VK_QUEUE_COMPUTE, &compute.pool), fail);
    if (has_clock_of_its_own(device))
        TRY(vk_queries_create(device, 2 * COMPUTE_SLOTS, &compute.queries), fail);
    TRY(vk_timeline_create(device, &compute.timeline), fail);
    *out_compute = compute;
    return VKRING_OK;
fail:
    compute_destroy(&compute);
    return status;
}

void compute_destroy(struct compute *compute)
{
    if (!compute->device)
        return;
    vk_timeline_destroy(compute->device, &compute->timeline);
    vk_queries_destroy(compute->device, &compute->queries);
    vk_command_pool_destroy(compute->device, &compute->pool);
    *compute = (struct compute){0};
}

enum vkring_status compute_begin(struct compute *compute, bool timed, struct vk_commands *out_commands, uint32_t *out_slot)
{
    enum vkring_status status;
    vkring_device *device = compute->device;
    const uint32_t slot = (compute->oldest + compute->pending) % COMPUTE_SLOTS;
    struct compute_piece *piece = &compute->pieces[slot];

    TRY(vk_commands_begin(device, &compute->pool, &piece->commands), fail);
    piece->timed = timed;
    if (timed) {
        vk_commands_reset_queries(device, &piece->commands, &compute->queries, 2 * slot, 2);
        vk_commands_timestamp(device, &piece->commands, &compute->queries, 2 * slot);
    }
    vk_commands_barrier(device, &piece->commands);
    *out_commands = piece->commands;
    *out_slot = slot;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status compute_submit(struct compute *compute, const struct compute_work *work, const struct vk_semaphore_value *waits,
                                  uint32_t wait_count)
{
    enum vkring_status status;
    vkring_device *device = compute->device;
    const uint32_t slot = (compute->oldest + compute->pending) % COMPUTE_SLOTS;
    struct compute_piece *piece = &compute->pieces[slot];
    const struct vk_semaphore_value done = {compute->timeline.handle, compute->timeline.submitted + 1};

    if (piece->timed)
        vk_commands_timestamp(device, &piece->commands, &compute->queries, 2 * slot + 1);
    vk_commands_barrier_to_host(device, &piece->commands);
    TRY(vk_commands_end(device, &piece->commands), fail);
    TRY(vk_submit(device, VK_QUEUE_COMPUTE, &piece->commands, waits, wait_count, &done, 1), fail);
    compute->timeline.submitted = done.value;
    piece->value = done.value;
    piece->work = *work;
    piece->submitted_seconds = clock_seconds();
    if (compute->pending++ == 0)
        compute->busy_since = piece->submitted_seconds;
    return VKRING_OK;
fail:
    return status;
}

/* A piece begins when it was submitted, or when the one before it was seen done. */
static double begin_of(const struct compute *compute, const struct compute_piece *piece)
{
    return piece->submitted_seconds > compute->idle_since ? piece->submitted_seconds : compute->idle_since;
}

static void record_piece(const struct compute *compute, const struct compute_piece *piece, double end_seconds, double device_seconds)
{
    const struct vkring_event event = {
        .kind = piece->work.kind,
        .finished = compute->done_value >= piece->value,
        .step = piece->work.step,
        .peer = VKRING_NONE,
        .bytes = piece->work.bytes,
        .begin_seconds = begin_of(compute, piece),
        .end_seconds = end_seconds,
        .device_seconds = device_seconds,
    };
    flight_record_add(compute->record, &event);
}

void compute_record_pending(const struct compute *compute)
{
    for (uint32_t i = 0; i < compute->pending; i++)
        record_piece(compute, &compute->pieces[(compute->oldest + i) % COMPUTE_SLOTS], clock_seconds(), 0);
}

static enum vkring_status collect_oldest(struct compute *compute)
{
    enum vkring_status status;
    const struct compute_piece *piece = &compute->pieces[compute->oldest];
    const double now = clock_seconds();
    double seconds = 0;
    if (piece->timed)
        TRY(vk_queries_elapsed(compute->device, &compute->queries, 2 * compute->oldest, 2 * compute->oldest + 1, &seconds), fail);
    const double taken = compute->queries.handle || !piece->timed ? seconds : now - begin_of(compute, piece);
    compute->seconds += taken;
    if (taken > 0 && piece->work.flop > 0) {
        compute->seen_flop += piece->work.flop;
        compute->seen_seconds += taken;
    }
    compute->done_value = piece->value;
    compute->progress = piece->work.progress;
    record_piece(compute, piece, now, taken);
    compute->idle_since = now;
    compute->oldest = (compute->oldest + 1) % COMPUTE_SLOTS;
    compute->pending--;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status compute_poll(struct compute *compute, bool *out_progress)
{
    enum vkring_status status;
    while (compute->pending > 0) {
        bool reached = false;
        TRY(vk_timeline_reached(compute->device, &compute->timeline, compute->pieces[compute->oldest].value, &reached), fail);
        if (!reached)
            return VKRING_OK;
        TRY(collect_oldest(compute), fail);
        *out_progress = true;
    }
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status compute_drain(struct compute *compute, double seconds, bool *out_drained)
{
    *out_drained = true;
    if (compute->pending == 0)
        return VKRING_OK;
    return vk_timeline_wait(compute->device, &compute->timeline, compute->timeline.submitted, seconds, out_drained);
}

double compute_budget(const struct compute *compute, double seconds, double guess)
{
    return seconds * (compute->seen_seconds > 0 ? compute->seen_flop / compute->seen_seconds : guess);
}
