/* SPDX-License-Identifier: MIT */
/* What a run does on the device before and after its work: the own packet for the network, and the application's semaphores. */
#include "../base/checked.h"
#include "run.h"

static bool host_can_read(const struct tensor_view *view)
{
    return view->packed && view->buffer->mapped && view->buffer->cached && view->buffer->coherent;
}

/* The application's own buffers may belong to the family of the compute queue alone. */
static bool transfers_can_read(const struct tensor_view *view)
{
    return view->packed && view->buffer->owned;
}

static bool all_parts(struct run *run, bool (*holds)(const struct tensor_view *view))
{
    for (int part = 0; part < PACKET_PARTS; part++) {
        const struct tensor_view *view = key_part_view(&run->own, (enum key_part)part);
        if (view->buffer && !holds(view))
            return false;
    }
    return true;
}

static enum readback_way choose_way(struct run *run, bool application_first)
{
    if (steps_of(run) == 1 || run->own.keys == 0 || run->plan->problem.batch == 0 || all_parts(run, host_can_read))
        return READBACK_NONE;
    return !application_first && all_parts(run, transfers_can_read) ? READBACK_TRANSFER : READBACK_PACK;
}

/* Transfers ----------------------------------------------------------------------------------------------------------- */

/* The piece at byte `at` of the parts; none spans two of them. */
static struct transfer piece_at(struct run *run, const struct packet_shape *shape, uint64_t at)
{
    struct readback *own = &run->own_packet;
    int part = 0;
    while (at >= shape->part_bytes[part])
        at -= shape->part_bytes[part++];
    const struct tensor_view *view = key_part_view(&run->own, (enum key_part)part);
    return (struct transfer){
        .from = view->buffer,
        .to = run->plan->staging.host[0],
        .from_offset_bytes = view->offset_bytes + at,
        .to_offset_bytes = shape->part_offset[part] + at,
        .bytes = min_u64(staging_piece_bytes(shape, run->plan->chunk_bytes), shape->part_bytes[part] - at),
        .kind = VKRING_EVENT_READBACK,
        .done_bytes = &own->done_bytes,
    };
}

/* What earlier runs wrote is there. */
static enum vkring_status transfer_pieces(struct run *run, const struct packet_shape *shape)
{
    enum vkring_status status;
    struct readback *own = &run->own_packet;
    struct transfers *transfers = &run->plan->staging.transfers;
    const struct vk_timeline *before = &run->plan->compute.timeline;
    while (own->started_bytes < packet_shape_payload(shape) && transfers_have_room(transfers)) {
        const struct transfer piece = piece_at(run, shape, own->started_bytes);
        TRY(transfers_submit(transfers, &piece, (struct vk_semaphore_value){before->handle, own->after_value}), fail);
        own->started_bytes += piece.bytes;
    }
    return VKRING_OK;
fail:
    return status;
}

static uint64_t ready_bytes(const struct run *run, const struct packet_shape *shape)
{
    const struct readback *own = &run->own_packet;
    uint64_t ready = 0;
    if (own->way == READBACK_TRANSFER)
        return own->done_bytes;
    for (int part = 0; part < PACKET_PARTS && run->plan->compute.done_value >= own->part_value[part]; part++)
        ready += shape->part_bytes[part];
    return ready;
}

enum vkring_status run_poll_own_packet(struct run *run)
{
    enum vkring_status status;
    struct readback *own = &run->own_packet;
    const struct packet_shape shape = shape_at(run, 0);
    if (own->ready_bytes == packet_shape_payload(&shape))
        return VKRING_OK;
    if (own->way == READBACK_TRANSFER)
        TRY(transfer_pieces(run, &shape), fail);
    const uint64_t ready = ready_bytes(run, &shape);
    if (own->way != READBACK_NONE && ready > own->ready_bytes) {
        const uint64_t first = packet_shape_end(&shape, own->ready_bytes), end = packet_shape_end(&shape, ready);
        TRY(vk_buffer_invalidate(run->plan->staging.host[0], first, end - first), fail);
    }
    own->ready_bytes = ready;
    return VKRING_OK;
fail:
    return status;
}

/* Packing -------------------------------------------------------------------------------------------------------------- */

static void record_part(struct run *run, const struct vk_commands *commands, enum key_part part, const struct packet_shape *packet)
{
    struct vkring_plan *plan = run->plan;
    const struct tensor_shape shape = key_part_shape(&plan->problem, part, run->own.keys);
    const struct rows_kernel *kernel = shape.element_bytes == plan->pack.to_bytes ? &plan->pack : &plan->pack_masks;
    const struct tensor_view to = tensors_packed_part(&plan->problem, part, &shape, plan->staging.host[0], packet->part_offset[part]);
    pack_record(plan->device, commands, kernel, &shape, key_part_view(&run->own, part), &to);
}

/* Parts that are packed together. */
struct part_range {
    int first, end;
};

static uint64_t bytes_of_parts(const struct packet_shape *shape, struct part_range parts)
{
    uint64_t bytes = 0;
    for (int part = parts.first; part < parts.end; part++)
        bytes += shape->part_bytes[part];
    return bytes;
}

/* Begins after the application's semaphores; of no parts nothing is packed. */
static enum vkring_status submit_parts(struct run *run, const struct packet_shape *shape, struct part_range parts,
                                       const struct vk_semaphore_value *waits, uint32_t wait_count)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const struct compute_work work = {
        .kind = wait_count > 0 ? VKRING_EVENT_APPLICATION : VKRING_EVENT_PACK,
        .bytes = bytes_of_parts(shape, parts),
    };
    struct vk_commands commands;
    uint32_t slot;
    TRY(compute_begin(&plan->compute, false, &commands, &slot), fail);
    for (int part = parts.first; part < parts.end; part++)
        if (shape->part_bytes[part] > 0)
            record_part(run, &commands, (enum key_part)part, shape);
    return compute_submit(&plan->compute, &work, waits, wait_count);
fail:
    return status;
}

/* All parts are submitted before the first is done: each by itself, but that the last slot takes all that are left. */
static struct part_range range_from(int first)
{
    return (struct part_range){first, first + 1 < (int)COMPUTE_SLOTS ? first + 1 : PACKET_PARTS};
}

static enum vkring_status pack_parts(struct run *run, const struct vk_semaphore_value *waits, uint32_t wait_count)
{
    enum vkring_status status;
    const struct packet_shape shape = shape_at(run, 0);
    for (struct part_range parts = range_from(0); parts.first < PACKET_PARTS; parts = range_from(parts.end)) {
        if (bytes_of_parts(&shape, parts) == 0)
            continue;
        TRY(submit_parts(run, &shape, parts, waits, wait_count), fail);
        for (int part = parts.first; part < parts.end; part++)
            run->own_packet.part_value[part] = run->plan->compute.timeline.submitted;
        wait_count = 0;
    }
    return VKRING_OK;
fail:
    return status;
}

/* Both ---------------------------------------------------------------------------------------------------------------- */

_Static_assert(RUN_BUFFERS < VK_MOST_SEMAPHORES, "a submission has those of all buffers, and one of the run's own");

/* The application's semaphores come first, so that everything later in the queue comes after them. */
enum vkring_status run_start_device(struct run *run)
{
    enum vkring_status status;
    struct readback *own = &run->own_packet;
    vk_application_sync_take(run->buffers, RUN_BUFFERS, &run->sync);
    const struct vk_semaphore_value *waits = run->sync.waits;
    const uint32_t wait_count = run->sync.wait_count;
    own->way = choose_way(run, wait_count > 0);
    own->after_value = run->plan->compute.timeline.submitted;
    if (own->way == READBACK_PACK)
        return pack_parts(run, waits, wait_count);
    if (wait_count > 0) {
        TRY(submit_parts(run, NULL, (struct part_range){0}, waits, wait_count), fail);
        for (int part = 0; part < PACKET_PARTS; part++)
            own->part_value[part] = run->plan->compute.timeline.submitted;
    }
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status run_signal_application(struct run *run)
{
    const struct vk_application_sync *sync = &run->sync;
    if (sync->signal_count == 0)
        return VKRING_OK;
    return vk_submit(run->plan->device, VK_QUEUE_COMPUTE, NULL, NULL, 0, sync->signals, sync->signal_count);
}
