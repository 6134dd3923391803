/* SPDX-License-Identifier: MIT */
/* What a run does on the network: when slots are free to receive into, and what is passed on. */
#include <string.h>

#include "run.h"

/* The packet of a rank, as the message that arrives at a step. */
static struct packet_identity identity_at(const struct run *run, uint32_t origin, uint32_t arrival_step)
{
    const struct packet_shape shape = packet_shape_of(&run->plan->problem, layout_key_rows(&run->plan->layout, origin));
    struct packet_identity identity = {
        .call = run->plan->calls,
        .step = arrival_step,
        .origin = origin,
        .seed = run->queries.seed,
    };
    memcpy(identity.part_bytes, shape.part_bytes, sizeof(identity.part_bytes));
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
        const struct packet_identity identity = identity_at(run, layout_origin(&plan->layout, step), step);
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

static enum vkring_status finish_receive(struct run *run)
{
    enum vkring_status status;
    const uint32_t step = run->arrived;
    if (run->plan->receive.active || step == run->received || !upload_slot_is_free(run, step))
        return VKRING_OK;
    const struct packet_shape shape = shape_at(run, step);
    run->crc[step % STAGING_SLOTS] = run->plan->receive.crc;
    TRY(staging_arrived(&run->plan->staging, step % STAGING_SLOTS, &shape, step), fail);
    run->arrived++;
    return VKRING_OK;
fail:
    return status;
}

static struct packet_memory memory_to_send(struct run *run, uint32_t step, const struct packet_shape *shape)
{
    if (step > 0 || !run->own_in_place)
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
static enum vkring_status start_send(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const uint32_t step = run->sent;
    if (run->plan->send.active || step + 1 >= steps_of(run) || step >= run->arrived)
        return VKRING_OK;
    if (!run->own_ready) {
        if (plan->compute.done_value < run->own_value)
            return VKRING_OK;
        if (!run->own_in_place)
            TRY(vk_buffer_invalidate(plan->staging.host[0], 0, shape_at(run, 0).bytes), fail);
        run->own_ready = true;
    }
    const struct packet_shape shape = shape_at(run, step);
    const struct packet_identity identity = identity_at(run, layout_origin(&plan->layout, step), step + 1);
    link_start(&run->plan->send, &identity, memory_to_send(run, step, &shape), step > 0 ? &run->crc[step % STAGING_SLOTS] : NULL);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status run_poll_network(struct run *run, bool *progress)
{
    enum vkring_status status;
    const bool was_sending = run->plan->send.active;
    TRY(staging_poll(&run->plan->staging), fail);
    TRY(start_receive(run), fail);
    TRY(link_poll(&run->plan->receive, progress), fail);
    TRY(finish_receive(run), fail);
    TRY(link_poll(&run->plan->send, progress), fail);
    if (was_sending && !run->plan->send.active)
        run->sent++;
    TRY(start_send(run), fail);
    return VKRING_OK;
fail:
    return status;
}

bool run_network_is_done(const struct run *run)
{
    return run->sent + 1 == steps_of(run) && run->arrived == steps_of(run);
}
