/* SPDX-License-Identifier: MIT */
/*
 * Around the ring.
 *
 * At step s a rank works on the packet of rank (rank - s) mod ranks. While it does, it passes that packet on to the next rank and
 * receives the one of step s + 1 from the rank before it. All is done in turns that never wait: device, packets, and in backward the
 * gradients that come round (run_gradients.c). Between turns the run is the application's to drive, or vkring_plan_wait's.
 *
 * Step 0 reads the keys and values where the application has them. They are copied once into slot 0, for the network, unless they already
 * lie packed in memory that the host can read. The packet of step s > 0 arrives in slot s % 2: that is free once the packet of step s - 2
 * was attended to (or, where memory is not unified, uploaded) and passed on.
 */
#include "run.h"

#include <stdio.h>
#include <string.h>

#include "../base/clock.h"

/* How long a run that failed waits for the device: what was submitted is a few pieces of work of a tenth of a second. */
#define DRAIN_SECONDS 0.8
/* So many events tell what went on before a failure; vkring_plan_get_events has more. */
#define LOGGED_EVENTS 24u

static bool device_is_done(const struct run *run)
{
    return run_all_submitted(run) && run->plan->compute.pending == 0;
}

static void record_wait(struct run *run, double end_seconds, bool finished)
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
        record_wait(run, end, true);
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
    if (run->gather.comm)
        return comm_gather_blame(&run->gather, seconds);
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
    return run->idle_seconds > run->plan->timeout_seconds;
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
    run_begin_gradients(run);
    run_first_task(run);
    run->under_way = true;
    if (plan->comm)
        plan->comm->in_run = true;
}

static void end(struct run *run)
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
    stats->flop =
        run->flop_factor * 2.0 * (double)problem->batch * (double)problem->heads * (double)(problem->head_dim + problem->value_dim) * pairs;
}

/* With what was done last, as far as it goes into a message. */
static void append_last(const struct run *run, char *message, size_t size)
{
    const struct vkring_event *last = flight_record_last(&run->plan->record);
    const size_t length = strlen(message);
    char text[160];
    if (!last)
        return;
    flight_record_describe(last, run->begin, text, sizeof(text));
    snprintf(message + length, size - length, "; last done: %s", text);
}

/* The error as the caller gets it, with rank and step; one that names no rank is our own device's. */
static void tell(const struct run *run, const struct vkring_error *error)
{
    const uint32_t rank = run->plan->layout.rank, step = run_step(run);
    char message[sizeof(error->message)];
    if (error->rank == VKRING_NONE)
        snprintf(message, sizeof(message), "rank %u, step %u: %.400s", rank, step, error->message);
    else
        snprintf(message, sizeof(message), "%s", error->message);
    append_last(run, message, sizeof(message));
    status_fail_at(error->status, error->rank == VKRING_NONE ? rank : error->rank, error->step == VKRING_NONE ? step : error->step, "%s",
                   message);
}

/* Puts on record what is under way. */
static void record_pending(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    compute_record_pending(&plan->compute);
    staging_record_pending(&plan->staging);
    link_record_pending(&plan->receive);
    link_record_pending(&plan->send);
    link_record_pending(&plan->receive_gradients);
    link_record_pending(&plan->send_gradients);
    if (run->gather.comm)
        run_record_gather(run, false);
    if (run->waits)
        record_wait(run, clock_seconds(), false);
}

static void log_failure(const struct run *run)
{
    const struct flight_record *record = &run->plan->record;
    const struct log *log = &run->plan->device->log;
    const uint64_t kept = flight_record_kept(record);
    log_line(log, VKRING_LOG_ERROR, "rank %u: %s", run->plan->layout.rank, vkring_last_error()->message);
    for (uint64_t i = kept > LOGGED_EVENTS ? kept - LOGGED_EVENTS : 0; i < kept; i++) {
        char text[160];
        flight_record_describe(flight_record_at(record, i), run->begin, text, sizeof(text));
        log_line(log, VKRING_LOG_INFO, "rank %u: %s", run->plan->layout.rank, text);
    }
}

/*
 * Leaves the plan to be destroyed. Its buffers stay where the network may still reach them, and so does the memory of the caller's that it
 * sends from.
 */
void run_break_off(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    plan->failed = true;
    end(run);
    if (run->gather.comm)
        comm_gather_abandon(&run->gather);
    if (steps_of(run) == 1)
        return;
    bool sending = link_abandon(&plan->send);
    bool receiving = link_abandon(&plan->receive);
    bool gradients = link_abandon(&plan->send_gradients);
    gradients |= link_abandon(&plan->receive_gradients);
    plan->quarantined = sending || receiving || gradients;
    plan->comm->failed = true; /* with nothing pending too: this rank is out of step */
    if (sending && run->own_in_place && run->sent == 0) {
        for (int part = 0; part < PACKET_PARTS; part++)
            vk_buffer_quarantine(key_part_view(&run->own, (enum key_part)part)->buffer);
    }
}

/* The tensors are the caller's again, so the device has to be done with them. */
static void give_up(struct run *run)
{
    const struct vkring_error error = *vkring_last_error();
    bool drained;
    record_pending(run);
    compute_drain(&run->plan->compute, DRAIN_SECONDS, &drained);
    tell(run, &error);
    log_failure(run);
    run_break_off(run);
}

static enum vkring_status finish(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    TRY(run_signal_application(run), fail);
    for (int i = 0; i < RUN_BUFFERS; i++)
        if (run->buffers[i])
            run->buffers[i]->sync = (struct vkring_vulkan_sync){0};
    plan->calls++;
    finish_stats(run);
    atomic_store(&plan->progress_done, atomic_load(&plan->progress_total));
    end(run);
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
        TRY(blame(run), broken);
    return VKRING_OK;
broken:
    give_up(run);
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
    give_up(run);
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
    give_up(run);
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

enum vkring_status vkring_forward_start(vkring_plan *plan, const struct vkring_forward_io *io)
{
    enum vkring_status status;
    struct run *run = plan->run;
    TRY(check_can_start(plan), fail);
    *run = (struct run){.plan = plan, .program = &plan->forward_program, .flop_factor = 1, .segments_step = VKRING_NONE};
    TRY(run_resolve_forward(run, io), fail);
    TRY(attention_kernel_prepare(plan->device, &plan->problem, run->aligned, &plan->forward.kernel), fail);
    return start(run);
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
    *run = (struct run){.plan = plan, .program = &plan->backward.program, .flop_factor = 2.5, .segments_step = VKRING_NONE};
    TRY(run_resolve_backward(run, io), fail);
    TRY(backward_prepare(&plan->backward, plan->device, &plan->problem, run->aligned), fail);
    return start(run);
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
