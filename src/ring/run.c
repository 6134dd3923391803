/* SPDX-License-Identifier: MIT */
/*
 * Around the ring.
 *
 * At step s a rank works on the packet of rank (rank - s) mod ranks. While it does, it passes that packet on to the next rank and
 * receives the one of step s + 1 from the rank before it. All is done in turns that never wait: device, packets, and in backward the
 * gradients that come round (run_gradients.c). Between turns the run is the application's to drive, or vkring_plan_wait's.
 *
 * Step 0 reads the keys and values where the application has them. They are copied once into slot 0, for the network, unless they already
 * lie packed in memory that the host can read. Packets move in pieces: one is sent while the next is copied, uploaded while it comes. The
 * packet of step s > 0 arrives in slot s % 2: that is free once the packet of step s - 2 was attended to (or, where memory is not unified,
 * uploaded) and passed on.
 */
#include "run.h"

#include "../base/clock.h"
#include "work.h"

static bool device_is_done(const struct run *run)
{
    return run_all_submitted(run) && run->plan->compute.pending == 0;
}

void run_record_wait(struct run *run, double end_seconds, bool finished)
{
    const struct vkring_event event = {
        .kind = VKRING_EVENT_WAIT,
        .finished = finished,
        .step = run->wait_step,
        .peer = VKRING_NONE,
        .begin_seconds = run->wait_begin,
        .end_seconds = end_seconds,
    };
    flight_record_add(&run->plan->record, &event);
}

/* A wait begins when the last piece was seen done, if the turn that saw it found nothing to submit, and ends with the next one. */
static void account_wait(struct run *run, double now)
{
    const struct compute *compute = &run->plan->compute;
    const bool waits = compute->pending == 0 && !run_all_submitted(run);
    if (waits && !run->waits) {
        run->wait_begin = compute->idle_since;
        run->wait_step = run_step(run);
    }
    if (!waits && run->waits) {
        const double end = compute->pending > 0 ? compute->busy_since : now;
        run->plan->stats.exposed_wait_seconds += end - run->wait_begin;
        run_record_wait(run, end, true);
    }
    run->waits = waits;
}

/* Returns how long ago the last turn was. */
static double account(struct run *run)
{
    const double now = clock_seconds(), seconds = now - run->last;
    struct vkring_run_stats *stats = &run->plan->stats;
    const struct vkring_plan *plan = run->plan;
    if (plan->send.active || plan->receive.active || plan->send_gradients.active || plan->receive_gradients.active)
        stats->transfer_seconds += seconds;
    account_wait(run, now);
    run->last = now;
    return seconds;
}

static bool network_is_done(const struct run *run)
{
    return run_network_is_done(run) && run_gradients_are_done(run);
}

static bool ring_is_done(const struct run *run)
{
    return device_is_done(run) && network_is_done(run);
}

/* What can be done now, without waiting. */
static enum vkring_status poll(struct run *run, bool *progress)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    TRY(compute_poll(&plan->compute, progress), fail);
    atomic_store(&plan->progress_done, plan->compute.progress);
    if (steps_of(run) > 1)
        TRY(run_poll_network(run, progress), fail);
    TRY(run_poll_gradients(run, progress), fail);
    TRY(run_hear(run), fail);
    TRY(run_poll_notices(run), fail);
    TRY(run_submit_ready(run, progress), fail);
    if (ring_is_done(run))
        TRY(run_poll_sinks(run, progress), fail);
    return VKRING_OK;
fail:
    return status;
}

/*
 * Counts what a turn took towards the deadline. Who did not look saw no progress, and MPI makes none meanwhile: so that a long pause
 * between two turns is no peer's fault, it counts as a tenth of the deadline at most.
 */
static bool is_late(struct run *run, double gap_seconds, bool progress)
{
    const double most = run->plan->timeout_seconds / 10;
    run->idle_seconds = progress ? 0 : run->idle_seconds + (gap_seconds < most ? gap_seconds : most);
    run_tell_waiting(run);
    return run->idle_seconds > run->plan->timeout_seconds + run_excuse_seconds(run);
}

static void begin(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    plan->stats = (struct vkring_run_stats){.steps = steps_of(run)};
    plan->compute.seconds = 0;
    plan->compute.progress = 0;
    atomic_store(&plan->progress_done, 0);
    atomic_store(&plan->progress_total, run_all_boxes(run));
    flight_record_clear(&plan->record);
    run->begin = run->last = plan->compute.idle_since = clock_seconds();
    run->received = run->arrived = 1;
    link_init(&plan->send, plan->comm, layout_next(&plan->layout), LINK_SENDS, plan->chunk_bytes, &plan->record);
    link_init(&plan->receive, plan->comm, layout_previous(&plan->layout), LINK_RECEIVES, plan->chunk_bytes, &plan->record);
    plan->receive.due = steps_of(run) - 1;
    run_begin_gradients(run);
    run_first_task(run);
    run->under_way = true;
    if (plan->comm)
        plan->comm->in_run = true;
}

void run_end(struct run *run)
{
    run->under_way = false;
    if (run->plan->comm)
        run->plan->comm->in_run = false;
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
    stats->flop = run->flop_factor * work_flop(problem, pairs);
    stats->computed_flop = run_computed_flop(run);
}

static enum vkring_status finish(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    TRY(run_signal_application(run), fail);
    if (steps_of(run) > 1)
        plan->comm->runs++;
    finish_stats(run);
    atomic_store(&plan->progress_done, atomic_load(&plan->progress_total));
    run_end(run);
    return VKRING_OK;
fail:
    return status;
}

/* One turn, after which the run may have ended, well or not. */
static enum vkring_status turn(struct run *run, bool *out_progress)
{
    enum vkring_status status;
    *out_progress = false;
    TRY(poll(run, out_progress), broken);
    const double gap_seconds = account(run);
    if (ring_is_done(run) && run_sinks_are_done(run))
        TRY(finish(run), broken);
    else if (is_late(run, gap_seconds, *out_progress))
        TRY(run_blame(run), broken);
    return VKRING_OK;
broken:
    run_give_up(run);
    return status;
}

/* Sleeps on the device's timeline where something is on it: that ends the pause as soon as the device is done. */
static enum vkring_status pause_run(struct run *run, struct comm_backoff *backoff)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    struct compute *compute = &plan->compute;
    const double longest = plan->timeout_seconds < 1 ? plan->timeout_seconds / 10 : 0.1;
    const double seconds = network_is_done(run) && compute->pending > 0 ? longest : comm_backoff_next(backoff);
    bool reached;
    if (compute->pending == 0)
        clock_sleep(seconds);
    else if (seconds > 0)
        TRY(vk_timeline_wait(plan->device, &compute->timeline, compute->pieces[compute->oldest].value, seconds, &reached), broken);
    return VKRING_OK;
broken:
    run_give_up(run);
    return status;
}

static enum vkring_status start(struct run *run)
{
    enum vkring_status status;
    bool progress;
    begin(run);
    TRY(run_start_device(run), broken);
    return turn(run, &progress);
broken:
    run_give_up(run);
    return status;
}

static enum vkring_status check_can_start(const struct vkring_plan *plan)
{
    if (plan->run->under_way)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "a run of the plan is under way: test it, or wait, until it has ended");
    if (plan->comm && plan->comm->in_run)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "a run of another plan is under way on the communicator");
    return run_check_usable(plan);
}

/*
 * The call is refused on this rank: the others, which may be under way, are told. They cannot go on with the plan, and so cannot we. A run
 * that nobody else takes part in leaves the plan as it is.
 */
static void refuse(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    struct vkring_error error = *vkring_last_error();
    if (plan->failed || (steps_of(run) == 1 && !run_gathers_sinks(run)))
        return;
    run_begin_gradients(run);
    run_tell_given_up(run, &error);
    plan->failed = true;
    plan->quarantined = run_abandon_notices(run);
    plan->comm->failed = true;
    status_fail_at(error.status, error.rank, error.step, "%s", error.message);
}

enum vkring_status vkring_forward_start(vkring_plan *plan, const struct vkring_forward_io *io)
{
    enum vkring_status status;
    struct run *run = plan->run;
    TRY(check_can_start(plan), fail);
    *run = (struct run){
        .plan = plan, .program = &plan->forward_program, .flop_factor = 1, .segments_step = VKRING_NONE, .copied_step = VKRING_NONE};
    TRY(run_resolve_forward(run, io), refused);
    TRY(query_walk_prepare(&plan->forward, plan->device, &plan->problem, run->alignment), refused);
    return start(run);
refused:
    refuse(run);
fail:
    return status;
}

enum vkring_status vkring_backward_start(vkring_plan *plan, const struct vkring_backward_io *io)
{
    enum vkring_status status;
    struct run *run = plan->run;
    TRY(check_can_start(plan), fail);
    if (!plan->problem.backward)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the plan was made without backward");
    *run = (struct run){
        .plan = plan,
        .program = &plan->backward.program,
        .flop_factor = BACKWARD_FLOP_FACTOR,
        .segments_step = VKRING_NONE,
        .copied_step = VKRING_NONE,
    };
    TRY(run_resolve_backward(run, io), refused);
    TRY(backward_prepare(&plan->backward, plan->device, &plan->problem, run->alignment), refused);
    return start(run);
refused:
    refuse(run);
fail:
    return status;
}

enum vkring_status vkring_plan_test(vkring_plan *plan, bool *out_done)
{
    enum vkring_status status;
    struct run *run = plan->run;
    bool progress;
    if (run->under_way)
        TRY(turn(run, &progress), fail);
    else
        TRY(run_check_usable(plan), fail);
    *out_done = !run->under_way;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_plan_wait(vkring_plan *plan)
{
    enum vkring_status status;
    struct run *run = plan->run;
    struct comm_backoff backoff = {0};
    bool progress;
    if (!run->under_way)
        return run_check_usable(plan);
    TRY(turn(run, &progress), fail);
    while (run->under_way) {
        if (progress)
            backoff = (struct comm_backoff){0};
        else
            TRY(pause_run(run, &backoff), fail);
        TRY(turn(run, &progress), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_forward(vkring_plan *plan, const struct vkring_forward_io *io)
{
    enum vkring_status status;
    TRY(vkring_forward_start(plan, io), fail);
    return vkring_plan_wait(plan);
fail:
    return status;
}

enum vkring_status vkring_backward(vkring_plan *plan, const struct vkring_backward_io *io)
{
    enum vkring_status status;
    TRY(vkring_backward_start(plan, io), fail);
    return vkring_plan_wait(plan);
fail:
    return status;
}
