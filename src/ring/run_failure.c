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
/* Of its time, for which a rank believes a peer that it waits: for a few words, as a busy machine may hold one up. */
#define WORD_PART 0.5
/* So many events tell what went on before a failure; vkring_plan_get_events has more. */
#define LOGGED_EVENTS 24u

enum { LINKS = 4 };

/* In the order in which they are blamed. */
static const struct link *link_at(const struct run *run, int i)
{
    const struct vkring_plan *plan = run->plan;
    const struct link *links[LINKS] = {&plan->receive, &plan->receive_gradients, &plan->send_gradients, &plan->send};
    return links[i];
}

static double word_seconds(const struct run *run)
{
    return WORD_PART * run->plan->timeout_seconds;
}

/* Why the peer keeps this rank waiting, as it said; null if it did not. What it said on one channel of a run before this holds on all. */
static const struct packet_wait *excuse_of(const struct run *run, const struct link *link)
{
    const struct link *keys = &run->plan->receive;
    if (link_is_excused(link, word_seconds(run)))
        return &link->peer_wait;
    const bool is_behind = link_has_word(keys, word_seconds(run)) && keys->peer_wait.call < link->identity.call;
    return is_behind && keys->peer == link->peer ? &keys->peer_wait : NULL;
}

static bool is_to_blame(const struct run *run, const struct link *link)
{
    return link->active && !excuse_of(run, link);
}

/* The link whose peer has not said that it waits, too; else any that waits; else null. */
static const struct link *link_to_blame(const struct run *run)
{
    const struct link *excused = NULL;
    for (int i = LINKS - 1; i >= 0; i--)
        if (link_at(run, i)->active)
            excused = link_at(run, i);
    for (int i = 0; i < LINKS; i++)
        if (is_to_blame(run, link_at(run, i)))
            return link_at(run, i);
    return excused;
}

uint32_t run_waits_for(const struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const struct link *link = link_to_blame(run);
    if (plan->compute.pending > 0)
        return plan->layout.rank;
    if (!link)
        return VKRING_NONE;
    const struct packet_wait *excuse = excuse_of(run, link);
    return excuse && excuse->waits_for != plan->layout.rank ? excuse->waits_for : link->peer;
}

/* How much later than this rank a peer began to wait, that said so. */
static double seconds_behind(const struct run *run, const struct link *link)
{
    const double began = run->last - run->idle_seconds;
    return link->active ? link->peer_told - 1e-6 * (double)link->peer_wait.microseconds - began : 0;
}

double run_excuse_seconds(const struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    double behind = 0;
    if (run->gather.comm && plan->compute.pending == 0)
        return comm_gather_excuse_seconds(&run->gather);
    for (int i = 0; i < LINKS; i++) {
        if (plan->compute.pending > 0 || is_to_blame(run, link_at(run, i)))
            return 0;
        behind = fmax(behind, seconds_behind(run, link_at(run, i)));
    }
    return EXCUSE_SECONDS + fmin(behind, MOST_SECONDS_BEHIND);
}

static enum vkring_status blame(const struct run *run, const struct link *link, double seconds)
{
    const struct vkring_plan *plan = run->plan;
    const uint32_t culprit = run_waits_for(run), step = link->identity.step - (link->sends ? 1 : 0);
    const bool of_gradients = link == &plan->receive_gradients || link == &plan->send_gradients;
    const char *what = of_gradients ? "gradients" : "keys", *deed = link->sends ? "took" : "sent";
    if (culprit != link->peer && culprit < plan->layout.ranks)
        return status_fail_at(VKRING_ERROR_TIMEOUT, culprit, step, "rank %u holds up rank %u, which %s no %s for %g s at step %u", culprit,
                              link->peer, deed, what, seconds, step);
    return status_fail_at(VKRING_ERROR_TIMEOUT, link->peer, step, "rank %u %s no %s for %g s at step %u (%llu of %llu bytes %s)",
                          link->peer, deed, what, seconds, step, (unsigned long long)link->done_bytes,
                          (unsigned long long)packet_payload_bytes(&link->identity), link->sends ? "went" : "came");
}

enum vkring_status run_blame(const struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const double seconds = plan->timeout_seconds;
    const uint32_t rank = plan->layout.rank, step = run_step(run);
    if (plan->compute.pending > 0)
        return status_fail_at(VKRING_ERROR_TIMEOUT, rank, step, "the device of rank %u made no progress for %g s at step %u", rank, seconds,
                              step);
    if (run->gather.comm)
        return comm_gather_blame(&run->gather, seconds);
    const struct link *link = link_to_blame(run);
    if (link)
        return blame(run, link, seconds);
    return status_fail_at(VKRING_ERROR_TIMEOUT, rank, step, "rank %u made no progress for %g s at step %u", rank, seconds, step);
}

/* Of a rank that others found silent: what kept it. */
static void append_wait(const struct run *run, const struct vkring_error *error, char *message, size_t size)
{
    const size_t length = strlen(message);
    const uint32_t waited_for = run_waits_for(run), rank = run->plan->layout.rank;
    if (error->status != VKRING_ERROR_PEER || error->rank != rank || waited_for == VKRING_NONE)
        return;
    if (waited_for == rank)
        snprintf(message + length, size - length, "; it waited for its device");
    else
        snprintf(message + length, size - length, "; it waited for rank %u", waited_for);
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
    append_wait(run, error, message, sizeof(message));
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
