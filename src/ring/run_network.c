/* SPDX-License-Identifier: MIT */
/* What a run does on the network: when slots are free to receive into, and what is passed on. */
#include <string.h>

#include "run.h"

struct packet_identity run_identity(const struct run *run, const struct packet_shape *shape, uint32_t origin, uint32_t arrival_step)
{
    struct packet_identity identity = {
        .call = run->plan->comm->runs,
        .step = arrival_step,
        .origin = origin,
        .seed = run->queries.seed,
    };
    memcpy(identity.part_bytes, shape->part_bytes, sizeof(identity.part_bytes));
    return identity;
}

/* The slot of step + 1 is free: its last packet, of step - 1, was passed on, and attended to or uploaded. */
static enum vkring_status slot_is_free(const struct run *run, uint32_t step, bool *out_free)
{
    struct vkring_plan *plan = run->plan;
    const uint32_t slot = step % STAGING_SLOTS;
    *out_free = true;
    if (step < STAGING_SLOTS)
        return VKRING_OK;
    const uint32_t before = step - STAGING_SLOTS;
    if (run->sent <= before) {
        *out_free = false;
        return VKRING_OK;
    }
    if (before == 0)
        return VKRING_OK; /* our own packet: kernels read it elsewhere */
    if (!plan->staging.unified)
        return staging_uploaded(&plan->staging, slot, out_free);
    *out_free = run->attended > before && plan->compute.done_value >= run->step_value[slot];
    return VKRING_OK;
}

static enum vkring_status start_receive(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const uint32_t step = run->received;
    bool is_free;
    if (run->plan->receive.active || step == steps_of(run) || run->arrived < step)
        return VKRING_OK;
    TRY(slot_is_free(run, step, &is_free), fail);
    if (is_free) {
        const struct packet_shape shape = shape_at(run, step);
        const struct packet_identity identity = run_identity(run, &shape, layout_origin(&plan->layout, step), step);
        staging_expect(&plan->staging, step % STAGING_SLOTS);
        link_start(&run->plan->receive, &identity, staging_memory(&plan->staging, step % STAGING_SLOTS, &shape), NULL);
        run->received++;
    }
    return VKRING_OK;
fail:
    return status;
}

/* A device slot takes the packet once kernels are done with the one before it. */
static bool upload_slot_is_free(const struct run *run, uint32_t step)
{
    const uint32_t slot = step % STAGING_SLOTS;
    if (run->plan->staging.unified || step <= STAGING_SLOTS)
        return true;
    return run->attended > step - STAGING_SLOTS && run->plan->compute.done_value >= run->step_value[slot];
}

/* What has come of the packet goes on to the device. It has arrived once all of it was found whole and is on its way there. */
static enum vkring_status pass_on_received(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const uint32_t step = run->arrived, slot = step % STAGING_SLOTS;
    bool passed;
    if (step == run->received || !upload_slot_is_free(run, step))
        return VKRING_OK;
    const struct packet_shape shape = shape_at(run, step);
    const uint64_t piece_bytes = staging_piece_bytes(&shape, plan->chunk_bytes);
    TRY(staging_arrived(&plan->staging, slot, &shape, step, plan->receive.done_bytes, piece_bytes, &passed), fail);
    if (passed && !plan->receive.active) {
        run->crc[slot] = plan->receive.crc;
        run->arrived++;
    }
    return VKRING_OK;
fail:
    return status;
}

static struct packet_memory memory_to_send(struct run *run, uint32_t step, const struct packet_shape *shape)
{
    if (step > 0 || run->own_packet.way != READBACK_NONE)
        return staging_memory(&run->plan->staging, step % STAGING_SLOTS, shape);
    struct packet_memory memory = {{0}};
    for (int part = 0; part < PACKET_PARTS; part++) {
        const struct tensor_view *view = key_part_view(&run->own, (enum key_part)part);
        if (view->buffer)
            memory.parts[part] = (char *)view->buffer->mapped + view->offset_bytes;
    }
    return memory;
}

/* The packet of step s is passed on as that of step s + 1, but for the last. */
static void start_send(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    const uint32_t step = run->sent;
    if (plan->send.active || step + 1 >= steps_of(run) || step >= run->arrived)
        return;
    const struct packet_shape shape = shape_at(run, step);
    if (step == 0 && run->own_packet.ready_bytes == 0 && shape.bytes > 0)
        return;
    const struct packet_identity identity = run_identity(run, &shape, layout_origin(&plan->layout, step), step + 1);
    link_start(&plan->send, &identity, memory_to_send(run, step, &shape), step > 0 ? &run->crc[step % STAGING_SLOTS] : NULL);
}

enum vkring_status run_poll_network(struct run *run, bool *progress)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const bool was_sending = plan->send.active;
    TRY(transfers_poll(&plan->staging.transfers, progress), fail);
    TRY(run_poll_own_packet(run), fail);
    TRY(start_receive(run), fail);
    TRY(link_poll(&plan->receive, progress), fail);
    TRY(pass_on_received(run), fail);
    if (run->sent == 0)
        plan->send.ready_bytes = run->own_packet.ready_bytes;
    TRY(link_poll(&plan->send, progress), fail);
    if (was_sending && !plan->send.active)
        run->sent++;
    start_send(run);
    return VKRING_OK;
fail:
    return status;
}

bool run_network_is_done(const struct run *run)
{
    return run->sent + 1 == steps_of(run) && run->arrived == steps_of(run) && run->plan->staging.transfers.pending == 0;
}
