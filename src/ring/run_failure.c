/* SPDX-License-Identifier: MIT */
/* How a run ends that cannot go on: whose fault it is, what it did and what was under way, and what must stay where it is. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../base/clock.h"
#include "run.h"

/* How long a run that failed waits for the device: what was submitted is a few pieces of work of a tenth of a second. */
#define DRAIN_SECONDS 0.8
/*
 * How long after its deadline a rank whose neighbour is known to wait too, or to be held up, leaves others to name the culprit; and how
 * much longer at most, if the neighbour began to wait later than it did.
 */
#define EXCUSE_SECONDS 0.3
#define MOST_SECONDS_BEHIND 0.3
/* So many events tell what went on before a failure; vkring_plan_get_events has more. */
#define LOGGED_EVENTS 24u

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

static bool is_to_blame(const struct run *run, const struct link *link)
{
    const struct link *keys = &run->plan->receive;
    const bool peer_is_behind = keys->peer_waits && keys->peer_call < run->plan->calls && keys->peer == link->peer;
    return link->active && !link_is_excused(link) && !peer_is_behind;
}

/* Whether another rank may know better what everybody waits for. */
static bool may_be_told(const struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    return plan->compute.pending == 0 && !is_to_blame(run, &plan->receive) && !is_to_blame(run, &plan->receive_gradients);
}

double run_excuse_seconds(const struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const double told = fmax(plan->receive.peer_told, plan->receive_gradients.peer_told);
    const double behind = told - (run->last - run->idle_seconds) - RUN_TELLING_PART * plan->timeout_seconds;
    return may_be_told(run) ? EXCUSE_SECONDS + fmin(fmax(behind, 0), MOST_SECONDS_BEHIND) : 0;
}

enum vkring_status run_blame(const struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const double seconds = plan->timeout_seconds;
    const bool gradients_first = plan->receive_gradients.active && !is_to_blame(run, &plan->receive);
    if (plan->compute.pending > 0)
        return status_fail_at(VKRING_ERROR_TIMEOUT, plan->layout.rank, run_step(run),
                              "the device of rank %u made no progress for %g s at step %u", plan->layout.rank, seconds, run_step(run));
    if (run->gather.comm)
        return comm_gather_blame(&run->gather, seconds);
    if (plan->receive.active && !gradients_first)
        return blame_receive(&plan->receive, "keys", run->arrived, seconds);
    if (plan->receive_gradients.active)
        return blame_receive(&plan->receive_gradients, "gradients", run->gradients.received, seconds);
    if (plan->send_gradients.active)
        return blame_send(&plan->send_gradients, "gradients", run->gradients.sent + 1, seconds);
    return blame_send(&plan->send, "keys", run->sent, seconds);
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
    transfers_record_pending(&plan->staging.transfers);
    link_record_pending(&plan->receive);
    link_record_pending(&plan->send);
    link_record_pending(&plan->receive_gradients);
    link_record_pending(&plan->send_gradients);
    if (run->gather.comm)
        run_record_gather(run, false);
    if (run->waits)
        run_record_wait(run, clock_seconds(), false);
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
    run_end(run);
    if (run->gather.comm)
        comm_gather_abandon(&run->gather);
    if (steps_of(run) == 1)
        return;
    bool sending = link_abandon(&plan->send);
    bool receiving = link_abandon(&plan->receive);
    bool gradients = link_abandon(&plan->send_gradients);
    gradients |= link_abandon(&plan->receive_gradients);
    const bool telling = run_abandon_notices(run);
    plan->quarantined = sending || receiving || gradients || telling;
    plan->comm->failed = true; /* with nothing pending too: this rank is out of step */
    if (sending && run->own_packet.way == READBACK_NONE && run->sent == 0) {
        for (int part = 0; part < PACKET_PARTS; part++)
            vk_buffer_quarantine(key_part_view(&run->own, (enum key_part)part)->buffer);
    }
}

/* The tensors are the caller's again, so the device has to be done with them. */
void run_give_up(struct run *run)
{
    const struct vkring_error error = *vkring_last_error();
    const struct transfers *transfers = &run->plan->staging.transfers;
    bool drained;
    record_pending(run);
    run_tell_given_up(run, &error);
    compute_drain(&run->plan->compute, DRAIN_SECONDS, &drained);
    if (transfers->pending > 0)
        vk_timeline_wait(transfers->device, &transfers->timeline, transfers->timeline.submitted, DRAIN_SECONDS, &drained);
    tell(run, &error);
    log_failure(run);
    run_break_off(run);
}
