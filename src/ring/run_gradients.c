/* SPDX-License-Identifier: MIT */
/*
 * Gradients of keys and values around the ring.
 *
 * At step s > 0 a rank has what its rows give to the keys of rank (rank - s) mod ranks. At step 1 this begins a sum, in slot 1; at later
 * steps it is added to the sum that came from the rank before, in slot s % 2. The sum goes on to the next rank or, from the last step,
 * straight home to the keys' owner. There it arrives in the slot of the step after the last, and the owner's own part completes it.
 */
#include <string.h>

#include "../base/checked.h"
#include "../base/clock.h"
#include "run.h"
#include "schedule.h"

static bool travels(const struct run *run)
{
    return run->plan->backward.gradients.travel && run->program == &run->plan->backward.program;
}

/* The rank whose keys the sum of a step is about; the one that comes home is about our own. */
static uint32_t owner_at(const struct run *run, uint32_t step)
{
    const struct layout *layout = &run->plan->layout;
    return schedule_gradient_owner(layout, layout->rank, steps_of(run), step);
}

static struct packet_shape sum_shape_at(const struct run *run, uint32_t step)
{
    return gradient_shape_at(&run->plan->problem, &run->plan->layout, steps_of(run), step);
}

uint32_t run_gradients_home(const struct run *run)
{
    return schedule_gradient_target(&run->plan->layout, run->plan->layout.rank, steps_of(run), steps_of(run) - 1);
}

bool run_next_gradients(const struct run *run, uint32_t *out_step, uint32_t *out_peer)
{
    const uint32_t step = run->gradients.sent + 1;
    if (!travels(run) || step >= steps_of(run))
        return false;
    *out_step = step + 1;
    *out_peer = schedule_gradient_target(&run->plan->layout, run->plan->layout.rank, steps_of(run), step);
    return true;
}

void run_begin_gradients(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    const struct layout *layout = &plan->layout;
    run->gradients.received = run->gradients.arrived = 1;
    link_init(&plan->send_gradients, plan->comm, layout_next(layout), LINK_SENDS_GRADIENTS, plan->chunk_bytes, &plan->record);
    link_init(&plan->receive_gradients, plan->comm, layout_previous(layout), LINK_RECEIVES_GRADIENTS, plan->chunk_bytes, &plan->record);
    plan->receive_gradients.due = travels(run) ? steps_of(run) - 1 : 0;
}

enum vkring_status run_submit_add(struct run *run, bool *out_done)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const struct gradients *gradients = &plan->backward.gradients;
    const struct task *task = run->adding;
    const bool comes_home = task->step == 0;
    const uint32_t step = comes_home ? steps_of(run) : task->step;
    const struct packet_shape shape = sum_shape_at(run, step);
    const struct gradient_sum sum = {
        .has_partial = task->adds, .has_slot = travels(run) && step > 1, .own = task->step == 0, .slot = step % GRADIENT_SLOTS};
    struct vk_commands commands;
    uint32_t slot;

    *out_done = !sum.has_slot || run->gradients.arrived >= step;
    if (!*out_done)
        return VKRING_OK;
    if (!comes_home)
        run->gradients.added = step;
    if (shape.bytes == 0 || (!comes_home && sum.has_slot && !sum.has_partial))
        return VKRING_OK;
    TRY(compute_begin(&plan->compute, true, &commands, &slot), fail);
    if (comes_home)
        gradients_record_home(gradients, &commands, &shape, &sum, &run->own);
    else
        gradients_record_add(gradients, &commands, &shape, &sum);
    const struct compute_work work = {.kind = VKRING_EVENT_SUM, .step = step, .bytes = shape.bytes, .progress = run->done_boxes};
    TRY(compute_submit(&plan->compute, &work, NULL, 0), fail);
    run->gradients.value[sum.slot] = plan->compute.timeline.submitted;
    return VKRING_OK;
fail:
    return status;
}

/* The slot of a step is free once the sum of the step before the last was passed on. */
static void start_receive(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    struct link *link = &plan->receive_gradients;
    const uint32_t step = run->gradients.received + 1;
    if (link->active || run->gradients.arrived < run->gradients.received || step > steps_of(run) || run->gradients.sent + 2 < step)
        return;
    const struct packet_shape shape = sum_shape_at(run, step);
    const struct packet_identity identity = run_identity(run, &shape, owner_at(run, step), step);
    link_start(link, &identity, gradients_memory(&plan->backward.gradients, step % GRADIENT_SLOTS, &shape), NULL);
    run->gradients.received = step;
}

static enum vkring_status finish_receive(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const uint32_t step = run->gradients.received;
    if (plan->receive_gradients.active || run->gradients.arrived == step)
        return VKRING_OK;
    const struct packet_shape shape = sum_shape_at(run, step);
    if (shape.bytes > 0)
        TRY(vk_buffer_flush(plan->backward.gradients.slots[step % GRADIENT_SLOTS], 0, shape.bytes), fail);
    run->gradients.arrived = step;
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status start_send(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    struct link *link = &plan->send_gradients;
    const uint32_t step = run->gradients.sent + 1, slot = step % GRADIENT_SLOTS;
    if (link->active || step >= steps_of(run) || step > run->gradients.added || plan->compute.done_value < run->gradients.value[slot])
        return VKRING_OK;
    const struct packet_shape shape = sum_shape_at(run, step);
    const struct packet_identity identity = run_identity(run, &shape, owner_at(run, step), step + 1);
    if (shape.bytes > 0)
        TRY(vk_buffer_invalidate(plan->backward.gradients.slots[slot], 0, shape.bytes), fail);
    link->peer = schedule_gradient_target(&plan->layout, plan->layout.rank, steps_of(run), step);
    link_start(link, &identity, gradients_memory(&plan->backward.gradients, slot, &shape), NULL);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status run_poll_gradients(struct run *run, bool *progress)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const bool was_sending = plan->send_gradients.active;
    if (!travels(run))
        return VKRING_OK;
    start_receive(run);
    if (plan->receive_gradients.due > 0) {
        const uint32_t step = steps_of(run) + 1 - plan->receive_gradients.due;
        plan->receive_gradients.peer = schedule_gradient_source(&plan->layout, plan->layout.rank, steps_of(run), step);
    }
    TRY(link_poll(&plan->receive_gradients, progress), fail);
    TRY(finish_receive(run), fail);
    TRY(link_poll(&plan->send_gradients, progress), fail);
    if (was_sending && !plan->send_gradients.active)
        run->gradients.sent++;
    TRY(start_send(run), fail);
    return VKRING_OK;
fail:
    return status;
}

bool run_gradients_are_done(const struct run *run)
{
    return !travels(run) || (run->gradients.sent + 1 == steps_of(run) && run->gradients.arrived == steps_of(run));
}

/* Sinks ------------------------------------------------------------------------------------------------------------------ */

/* In the order of ranks, so that all have the same bits. */
static void sum_ranks(const struct run *run, float *sums)
{
    const struct vkring_plan *plan = run->plan;
    const uint64_t heads = plan->problem.heads;
    for (uint64_t head = 0; head < heads; head++) {
        double sum = 0;
        for (uint32_t rank = 0; rank < plan->layout.ranks; rank++)
            sum += (double)plan->backward.sinks_of_ranks[rank * heads + head];
        sums[head] = (float)sum;
    }
}

/* From host memory to where the application wants them. */
static enum vkring_status put_sinks(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const struct tensor_view nothing = {0};
    const struct tensor_shape shape = {"sink_grad", sizeof(float), 1, 1, 1, plan->problem.heads};
    struct vk_commands commands;
    uint32_t slot;
    TRY(compute_begin(&plan->compute, false, &commands, &slot), fail);
    add_record(plan->device, &commands, &plan->backward.gradients.add_f32, &shape, &run->queries.sink_grad, &nothing, &run->sink_grad);
    const struct compute_work work = {
        .kind = VKRING_EVENT_SUM, .step = steps_of(run), .bytes = plan->problem.heads * sizeof(float), .progress = run->done_boxes};
    TRY(compute_submit(&plan->compute, &work, NULL, 0), fail);
    return VKRING_OK;
fail:
    return status;
}

static uint64_t sinks_bytes(const struct run *run)
{
    return run->plan->problem.heads * sizeof(float);
}

static enum vkring_status start_gather(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    vkring_buffer *here = plan->backward.sinks_here;
    TRY(vk_buffer_invalidate(here, 0, sinks_bytes(run)), fail);
    TRY(comm_gather_start(plan->comm, here->mapped, sinks_bytes(run), &run->gather), fail);
    run->sinks = SINKS_GATHERED;
    run->gather_begin = clock_seconds();
    return VKRING_OK;
fail:
    return status;
}

void run_record_gather(struct run *run, bool finished)
{
    const struct vkring_event event = {
        .kind = VKRING_EVENT_GATHER,
        .finished = finished,
        .step = steps_of(run),
        .peer = VKRING_NONE,
        .bytes = sinks_bytes(run) * run->plan->layout.ranks,
        .begin_seconds = run->gather_begin,
        .end_seconds = clock_seconds(),
    };
    flight_record_add(&run->plan->record, &event);
}

static enum vkring_status finish_gather(struct run *run)
{
    enum vkring_status status;
    struct backward *backward = &run->plan->backward;
    memcpy(backward->sinks_of_ranks, comm_gather_blocks(&run->gather), run->plan->layout.ranks * sinks_bytes(run));
    run_record_gather(run, true);
    run->gather = (struct comm_gather){0};
    sum_ranks(run, backward->sinks_here->mapped);
    TRY(vk_buffer_flush(backward->sinks_here, 0, sinks_bytes(run)), fail);
    run->sinks = SINKS_PUT;
    if (run->sink_grad.buffer)
        TRY(put_sinks(run), fail);
    return VKRING_OK;
fail:
    return status;
}

bool run_gathers_sinks(const struct run *run)
{
    return run->program == &run->plan->backward.program && run->plan->backward.sinks_here;
}

enum vkring_status run_poll_sinks(struct run *run, bool *progress)
{
    enum vkring_status status;
    bool done = false;
    if (!run_gathers_sinks(run))
        return VKRING_OK;
    if (run->sinks == SINKS_HERE) {
        TRY(start_gather(run), fail);
        *progress = true;
    }
    if (run->sinks == SINKS_GATHERED) {
        TRY(comm_gather_poll(&run->gather, progress, &done), fail_gather);
        if (done)
            TRY(finish_gather(run), fail);
    }
    if (run->sinks == SINKS_PUT && run->plan->compute.pending == 0)
        run->sinks = SINKS_DONE;
    return VKRING_OK;
fail_gather:
    run->told_of = run->gather.told;
    run->gather = (struct comm_gather){0};
fail:
    return status;
}

bool run_sinks_are_done(const struct run *run)
{
    return !run_gathers_sinks(run) || run->sinks == SINKS_DONE;
}
