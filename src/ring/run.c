/* SPDX-License-Identifier: MIT */
/*
 * Around the ring.
 *
 * At step s a rank works on the packet of rank (rank - s) mod ranks. While it does, it passes that packet on to the next rank and
 * receives the one of step s + 1 from the rank before it. One thread polls all: device, packets, and in backward the gradients that come
 * round (run_gradients.c).
 *
 * Step 0 reads the keys and values where the application has them. They are copied once into slot 0, for the network, unless they already
 * lie packed in memory that the host can read. The packet of step s > 0 arrives in slot s % 2: that is free once the packet of step s - 2
 * was attended to (or, where memory is not unified, uploaded) and passed on.
 */
#include "run.h"
#include "../base/clock.h"

/* How long a run that failed waits for the device: what was submitted is a few pieces of work of a tenth of a second. */
#define DRAIN_SECONDS 0.8

static bool device_is_done(const struct run *run)
{
    return run_all_submitted(run) && run->plan->compute.pending == 0;
}

static void account(struct run *run)
{
    const double now = clock_seconds();
    struct vkring_run_stats *stats = &run->plan->stats;
    const struct vkring_plan *plan = run->plan;
    if (plan->send.active || plan->receive.active || plan->send_gradients.active || plan->receive_gradients.active)
        stats->transfer_seconds += now - run->last;
    if (run->plan->compute.pending == 0 && !run_all_submitted(run))
        stats->exposed_wait_seconds += now - run->last;
    run->last = now;
}

static enum vkring_status blame_receive(const struct link *link, const char *what, uint32_t step, double seconds)
{
    return status_fail_at(VKRING_ERROR_TIMEOUT, link->peer, step, "rank %u sent no %s for %g s at step %u (%llu of %llu bytes came)",
                          link->peer, what, seconds, step, (unsigned long long)link->done_bytes,
                          (unsigned long long)packet_payload_bytes(&link->identity));
}

static enum vkring_status blame_send(const struct link *link, const char *what, uint32_t step, double seconds)
{
    return status_fail_at(VKRING_ERROR_TIMEOUT, link->peer, step, "rank %u took no %s for %g s at step %u (%llu of %llu bytes went)",
                          link->peer, what, seconds, step, (unsigned long long)link->done_bytes,
                          (unsigned long long)packet_payload_bytes(&link->identity));
}

static enum vkring_status blame(const struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const double seconds = plan->timeout_seconds;
    if (plan->compute.pending > 0)
        return status_fail_at(VKRING_ERROR_TIMEOUT, plan->layout.rank, run_step(run),
                              "the device of rank %u made no progress for %g s at step %u", plan->layout.rank, seconds, run_step(run));
    if (run->arrived < steps_of(run))
        return blame_receive(&plan->receive, "keys", run->arrived, seconds);
    if (plan->receive_gradients.active)
        return blame_receive(&plan->receive_gradients, "gradients", run->gradients.received, seconds);
    if (plan->send_gradients.active)
        return blame_send(&plan->send_gradients, "gradients", run->gradients.sent + 1, seconds);
    return blame_send(&plan->send, "keys", run->sent, seconds);
}

static bool network_is_done(const struct run *run)
{
    return run_network_is_done(run) && run_gradients_are_done(run);
}

/* With only the device to wait for, sleep on its timeline; else poll. */
static enum vkring_status pause_run(struct run *run, struct comm_backoff *backoff)
{
    struct compute *compute = &run->plan->compute;
    bool reached;
    if (!network_is_done(run) || compute->pending == 0) {
        comm_backoff_pause(backoff);
        return VKRING_OK;
    }
    return vk_timeline_wait(run->plan->device, &compute->timeline, compute->pieces[compute->oldest].value,
                            run->plan->timeout_seconds < 0.1 ? run->plan->timeout_seconds : 0.1, &reached);
}

static enum vkring_status loop(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    struct comm_backoff backoff = {0};
    while (!device_is_done(run) || !network_is_done(run)) {
        bool progress = false;
        TRY(compute_poll(&plan->compute, &progress), fail);
        atomic_store(&plan->progress_done, plan->compute.progress);
        if (steps_of(run) > 1)
            TRY(run_poll_network(run, &progress), fail);
        TRY(run_poll_gradients(run, &progress), fail);
        TRY(run_submit_ready(run, &progress), fail);
        account(run);
        if (progress) {
            run->last_progress = run->last;
            backoff = (struct comm_backoff){0};
        } else if (run->last - run->last_progress > plan->timeout_seconds) {
            return blame(run);
        } else {
            TRY(pause_run(run, &backoff), fail);
        }
    }
    return VKRING_OK;
fail:
    return status;
}

static void begin(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    plan->stats = (struct vkring_run_stats){.steps = steps_of(run)};
    plan->compute.seconds = 0;
    plan->compute.progress = 0;
    atomic_store(&plan->progress_done, 0);
    atomic_store(&plan->progress_total, run_all_boxes(run));
    run->begin = run->last = run->last_progress = clock_seconds();
    run->received = run->arrived = 1;
    link_init(&plan->send, plan->comm, layout_next(&plan->layout), LINK_SENDS, plan->chunk_bytes);
    link_init(&plan->receive, plan->comm, layout_previous(&plan->layout), LINK_RECEIVES, plan->chunk_bytes);
    run_begin_gradients(run);
    run_first_task(run);
}

static void finish_stats(struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const struct problem *problem = &plan->problem;
    const struct layout *layout = &plan->layout;
    struct vkring_run_stats *stats = &run->plan->stats;
    double pairs = 0;
    const struct layout_span all = {.rows = problem->kv_len, .stride = 1};
    for (uint32_t i = 0; i < layout->queries.count; i++) {
        const struct mask_block block = layout_block(layout_span_of(&layout->queries, layout->rank, i), &all);
        pairs += mask_kept_pairs(problem, &block);
    }
    stats->total_seconds = clock_seconds() - run->begin;
    stats->compute_seconds = plan->compute.seconds;
    stats->sent_bytes = plan->send.total_bytes + plan->send_gradients.total_bytes;
    stats->received_bytes = plan->receive.total_bytes + plan->receive_gradients.total_bytes;
    stats->flop =
        run->flop_factor * 2.0 * (double)problem->batch * (double)problem->heads * (double)(problem->head_dim + problem->value_dim) * pairs;
}

/* The error as the caller gets it, with rank and step; one that names no rank is our own device's. */
static void tell(const struct run *run, const struct vkring_error *error)
{
    const uint32_t rank = run->plan->layout.rank, step = run_step(run);
    if (error->rank == VKRING_NONE)
        status_fail_at(error->status, rank, step, "rank %u, step %u: %s", rank, step, error->message);
    else
        status_fail_at(error->status, error->rank, error->step == VKRING_NONE ? step : error->step, "%s", error->message);
}

/*
 * Leaves the plan to be destroyed. Its buffers stay where the network may still reach them, and so does the memory of the caller's that it
 * sends from; else the tensors are the caller's again, so the device has to be done with them.
 */
static void give_up(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    const struct vkring_error error = *vkring_last_error();
    bool drained;
    compute_drain(&plan->compute, DRAIN_SECONDS, &drained);
    tell(run, &error);
    plan->failed = true;
    if (steps_of(run) > 1) {
        bool sending = link_abandon(&plan->send);
        bool receiving = link_abandon(&plan->receive);
        bool gradients = link_abandon(&plan->send_gradients);
        gradients |= link_abandon(&plan->receive_gradients);
        plan->quarantined = sending || receiving || gradients;
        if (sending && run->own_in_place && run->sent == 0) {
            for (int part = 0; part < PACKET_PARTS; part++)
                vk_buffer_quarantine(key_part_view(&run->own, (enum key_part)part)->buffer);
        }
    }
}

enum vkring_status run_execute(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    begin(run);
    TRY(run_start_device(run), broken);
    TRY(loop(run), broken);
    TRY(run_gather_sinks(run), broken);
    TRY(run_signal_application(run), broken);
    for (int i = 0; i < RUN_BUFFERS; i++)
        if (run->buffers[i])
            run->buffers[i]->sync = (struct vkring_vulkan_sync){0};
    plan->calls++;
    finish_stats(run);
    atomic_store(&plan->progress_done, atomic_load(&plan->progress_total));
    return VKRING_OK;
broken:
    give_up(run);
    return status;
}

enum vkring_status vkring_forward(vkring_plan *plan, const struct vkring_forward_io *io)
{
    enum vkring_status status;
    struct run run = {.plan = plan, .program = &plan->forward_program, .flop_factor = 1, .segments_step = VKRING_NONE};
    TRY(run_resolve_forward(&run, io), fail);
    TRY(attention_kernel_prepare(plan->device, &plan->problem, run.aligned, &plan->forward.kernel), fail);
    return run_execute(&run);
fail:
    return status;
}

enum vkring_status vkring_backward(vkring_plan *plan, const struct vkring_backward_io *io)
{
    enum vkring_status status;
    struct run run = {.plan = plan, .program = &plan->backward.program, .flop_factor = 2.5, .segments_step = VKRING_NONE};
    if (!plan->problem.backward)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the plan was made without backward");
    TRY(run_resolve_backward(&run, io), fail);
    TRY(backward_prepare(&plan->backward, plan->device, &plan->problem, run.aligned), fail);
    return run_execute(&run);
fail:
    return status;
}
