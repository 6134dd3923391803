/* SPDX-License-Identifier: MIT */
/*
 * Forward around the ring.
 *
 * At step s a rank attends to the packet of rank (rank - s) mod ranks. While it does, it passes that packet on to the next rank and
 * receives the one of step s + 1 from the rank before it. One thread polls all three: device, send, receive.
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
    return run->work->all_submitted(run) && run->plan->compute.pending == 0;
}

static void account(struct run *run)
{
    const double now = clock_seconds();
    struct vkring_run_stats *stats = &run->plan->stats;
    if (run->plan->send.active || run->plan->receive.active)
        stats->transfer_seconds += now - run->last;
    if (run->plan->compute.pending == 0 && !run->work->all_submitted(run))
        stats->exposed_wait_seconds += now - run->last;
    run->last = now;
}

static enum vkring_status blame(const struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const double seconds = plan->timeout_seconds;
    if (plan->compute.pending > 0)
        return status_fail_at(VKRING_ERROR_TIMEOUT, plan->layout.rank, run->at.step,
                              "the device of rank %u made no progress for %g s at step %u", plan->layout.rank, seconds, run->at.step);
    if (run->arrived < steps_of(run))
        return status_fail_at(VKRING_ERROR_TIMEOUT, run->plan->receive.peer, run->arrived,
                              "rank %u sent nothing for %g s at step %u (%llu of %llu bytes came)", run->plan->receive.peer, seconds,
                              run->arrived, (unsigned long long)run->plan->receive.done_bytes,
                              (unsigned long long)packet_payload_bytes(&run->plan->receive.identity));
    return status_fail_at(VKRING_ERROR_TIMEOUT, run->plan->send.peer, run->sent,
                          "rank %u took nothing for %g s at step %u (%llu of %llu bytes went)", run->plan->send.peer, seconds, run->sent,
                          (unsigned long long)run->plan->send.done_bytes,
                          (unsigned long long)packet_payload_bytes(&run->plan->send.identity));
}

/* With only the device to wait for, sleep on its timeline; else poll. */
static enum vkring_status pause_run(struct run *run, struct comm_backoff *backoff)
{
    struct compute *compute = &run->plan->compute;
    bool reached;
    if (!run_network_is_done(run) || compute->pending == 0) {
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
    while (!device_is_done(run) || !run_network_is_done(run)) {
        bool progress = false;
        TRY(compute_poll(&plan->compute, &progress), fail);
        atomic_store(&plan->progress_done, plan->compute.progress);
        if (steps_of(run) > 1)
            TRY(run_poll_network(run, &progress), fail);
        TRY(run->work->submit_ready(run, &progress), fail);
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

static void begin(struct run *run, uint64_t all_boxes)
{
    struct vkring_plan *plan = run->plan;
    plan->stats = (struct vkring_run_stats){.steps = steps_of(run)};
    plan->compute.seconds = 0;
    plan->compute.progress = 0;
    atomic_store(&plan->progress_done, 0);
    atomic_store(&plan->progress_total, all_boxes);
    run->begin = run->last = run->last_progress = clock_seconds();
    run->received = run->arrived = 1;
    link_init(&plan->send, plan->comm, layout_next(&plan->layout), true, plan->chunk_bytes);
    link_init(&plan->receive, plan->comm, layout_previous(&plan->layout), false, plan->chunk_bytes);
}

static void finish_stats(struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const struct problem *problem = &plan->problem;
    const struct layout *layout = &plan->layout;
    struct vkring_run_stats *stats = &run->plan->stats;
    double pairs = 0;
    for (uint32_t i = 0; i < LAYOUT_SPANS; i++) {
        const struct layout_span *span = layout_span_of(&layout->queries, layout->rank, i);
        pairs += mask_kept_pairs(problem, &(struct mask_block){span->first, span->rows, 0, problem->kv_len});
    }
    stats->total_seconds = clock_seconds() - run->begin;
    stats->compute_seconds = plan->compute.seconds;
    stats->sent_bytes = run->plan->send.total_bytes;
    stats->received_bytes = run->plan->receive.total_bytes;
    stats->flop = run->work->flop_factor * 2.0 * (double)problem->batch * (double)problem->heads *
                  (double)(problem->head_dim + problem->value_dim) * pairs;
}

/* The error as the caller gets it, with rank and step; one that names no rank is our own device's. */
static void tell(const struct run *run, const struct vkring_error *error)
{
    const uint32_t rank = run->plan->layout.rank, step = run->at.step;
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
        plan->quarantined = sending || receiving;
        if (sending && run->own_in_place && run->sent == 0) {
            for (int part = 0; part < PACKET_PARTS; part++)
                vk_buffer_quarantine(key_part_view(&run->own, (enum key_part)part)->buffer);
        }
    }
}

enum vkring_status run_execute(struct run *run, uint64_t all_boxes)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    begin(run, all_boxes);
    TRY(run_start_device(run), broken);
    TRY(loop(run), broken);
    TRY(run_signal_application(run), broken);
    for (int i = 0; i < RUN_BUFFERS; i++)
        if (run->buffers[i])
            run->buffers[i]->sync = (struct vkring_vulkan_sync){0};
    plan->calls++;
    finish_stats(run);
    atomic_store(&plan->progress_done, all_boxes);
    return VKRING_OK;
broken:
    give_up(run);
    return status;
}

enum vkring_status vkring_forward(vkring_plan *plan, const struct vkring_forward_io *io)
{
    static const struct run_work work = {run_submit_forward, run_all_submitted, 1};
    enum vkring_status status;
    struct run run = {.plan = plan, .work = &work, .segments_step = VKRING_NONE};
    TRY(run_resolve_forward(&run, io), fail);
    TRY(attention_kernel_prepare(plan->device, &plan->problem, run.aligned, &plan->kernel), fail);
    return run_execute(&run, plan->boxes * LAYOUT_SPANS * steps_of(&run));
fail:
    return status;
}
