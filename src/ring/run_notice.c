/* SPDX-License-Identifier: MIT */
/*
 * What a rank tells those that wait for it when it waits itself, or gave up.
 *
 * To the next rank both take the place of a header; to the rank before, which sends to this one, they go over a line of their own, that is
 * only listened to by a rank that has waited for long. So they cost nothing while all is well. A rank that learns that another gave up
 * gives up too and passes it on: all know within a moment, and name the same rank. A rank that is only silent tells nobody. Of the ranks
 * that wait for it, one after another, only the first has no word from the rank that it waits for: it names that one when its deadline
 * comes, and the others, who know that theirs waits too, are told.
 */
#include <math.h>
#include <string.h>

#include "run.h"

/* Of its time, after which a rank says that it waits: early, as others may have begun to wait before it. And how often it says so again. */
#define TELLING_PART 0.25
#define TELLING_AGAIN_PART 0.125
/* When a rank that waits begins to listen to those that it sends to: before they say anything, and soon after they gave up. */
#define LISTENING_SECONDS 1.0

_Static_assert(sizeof(struct packet_header) == COMM_WORD_BYTES, "words are headers");

/* The next packet that is due from here and not under way; after the last, the next rank may wait for one of the next run. */
static uint32_t next_keys(const struct run *run)
{
    const uint32_t next = run->sent + (run->plan->send.active ? 2 : 1);
    return next < steps_of(run) ? next : VKRING_NONE;
}

static void tell(struct vkring_plan *plan, struct notice *notice, uint32_t peer, enum comm_tag tag)
{
    bool sent;
    uint64_t ignored;
    if (notice->request || comm_send(plan->comm, &notice->header, sizeof(notice->header), peer, tag, &notice->request) != VKRING_OK)
        return;
    if (comm_test(plan->comm, &notice->request, peer, &sent, &ignored) != VKRING_OK)
        comm_abandon(plan->comm, &notice->request);
    notice->peer = peer;
    plan->comm->strays = true;
}

/* To the ranks that this one receives from: to the one before it also when all has come, as that may send what the next run needs. */
static void say_back(const struct run *run, enum comm_word_kind kind, const struct packet_header *word)
{
    struct vkring_plan *plan = run->plan;
    struct comm_line *previous = plan->lines[LINE_PREVIOUS], *home = plan->lines[LINE_HOME_SOURCE];
    comm_line_say(plan->comm, previous, kind, word);
    if (plan->receive_gradients.due > 0 && home != previous)
        comm_line_say(plan->comm, home, kind, word);
}

/* To the ranks that this one sends to. */
static void tell_waiting_on(struct run *run, const struct packet_wait *wait)
{
    struct vkring_plan *plan = run->plan;
    struct notice *keys = &plan->notices[NOTICE_KEYS], *gradients = &plan->notices[NOTICE_GRADIENTS];
    struct packet_wait of_keys = *wait, of_gradients = *wait;
    uint32_t peer;
    of_keys.step = next_keys(run);
    if (!keys->request && !plan->send.header_request) {
        packet_waiting_make(&of_keys, &keys->header);
        tell(plan, keys, plan->send.peer, COMM_TAG_HEADER);
    }
    if (run_next_gradients(run, &of_gradients.step, &peer) && !gradients->request && !plan->send_gradients.active) {
        packet_waiting_make(&of_gradients, &gradients->header);
        tell(plan, gradients, peer, COMM_TAG_GRADIENT_HEADER);
    }
}

/* As the ranks before see it. */
static struct packet_wait wait_of(const struct run *run)
{
    return (struct packet_wait){
        .call = run->plan->comm->runs,
        .microseconds = (uint64_t)(1e6 * run->idle_seconds),
        .step = run->arrived < steps_of(run) ? run->arrived : VKRING_NONE,
        .gradient_step = run->gradients.arrived < steps_of(run) ? run->gradients.arrived + 1 : VKRING_NONE,
        .waits_for = run_waits_for(run),
    };
}

void run_tell_waiting(struct run *run)
{
    const double timeout = run->plan->timeout_seconds;
    struct packet_header word;
    if (run->idle_seconds < TELLING_PART * timeout)
        run->telling_at = TELLING_PART * timeout;
    if (run->idle_seconds < run->telling_at || steps_of(run) == 1)
        return;
    run->telling_at = run->idle_seconds + TELLING_AGAIN_PART * timeout;
    const struct packet_wait wait = wait_of(run);
    packet_waiting_make(&wait, &word);
    say_back(run, COMM_WORD_WAITING, &word);
    tell_waiting_on(run, &wait);
}

static void hear_waiting(struct run *run, const struct comm_line *line, struct packet_wait wait)
{
    struct vkring_plan *plan = run->plan;
    if (plan->send.peer == line->peer)
        link_hear(&plan->send, &wait);
    wait.step = wait.gradient_step;
    if (plan->send_gradients.peer == line->peer)
        link_hear(&plan->send_gradients, &wait);
}

static enum vkring_status hear_line(struct run *run, struct comm_line *line)
{
    enum vkring_status status;
    const void *word;
    uint64_t bytes;
    for (;;) {
        TRY(comm_line_hear(run->plan->comm, line, &word, &bytes), fail);
        if (!word)
            return VKRING_OK;
        struct packet_header header;
        memcpy(&header, word, sizeof(header));
        const enum packet_notice notice = packet_notice_of(&header, bytes);
        if (notice == PACKET_WAITING)
            hear_waiting(run, line, packet_wait_of(&header));
        if (notice == PACKET_GIVEN_UP) {
            run->told_of = packet_given_up_reason(&header);
            return packet_given_up_fail(&header, line->peer);
        }
    }
fail:
    return status;
}

enum vkring_status run_hear(struct run *run)
{
    enum vkring_status status;
    const struct vkring_plan *plan = run->plan;
    struct comm_line *next = plan->lines[LINE_NEXT], *home = plan->lines[LINE_HOME_TARGET];
    if (run->idle_seconds < fmin(TELLING_PART * plan->timeout_seconds, LISTENING_SECONDS))
        return VKRING_OK;
    if (plan->send.active || plan->send_gradients.active)
        TRY(hear_line(run, next), fail);
    if (plan->send_gradients.active && home != next)
        TRY(hear_line(run, home), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Another's failure is passed on as it came; what went wrong here is our own. */
static uint32_t culprit_of(const struct vkring_plan *plan, const struct vkring_error *error)
{
    const bool of_another = error->status == VKRING_ERROR_TIMEOUT || error->status == VKRING_ERROR_PEER;
    return of_another && error->rank != VKRING_NONE ? error->rank : plan->layout.rank;
}

/* So is why it failed. */
static enum vkring_status reason_of(const struct run *run, const struct vkring_error *error)
{
    const enum vkring_status reasons[] = {run->told_of, run->plan->receive.given_up_for, run->plan->receive_gradients.given_up_for};
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i] != VKRING_OK)
            return reasons[i];
    return error->status;
}

void run_tell_given_up(struct run *run, const struct vkring_error *error)
{
    struct vkring_plan *plan = run->plan;
    struct notice *last = &plan->notices[NOTICE_GIVEN_UP];
    const struct vkring_error told = {reason_of(run, error), culprit_of(plan, error),
                                      error->step == VKRING_NONE ? run_step(run) : error->step, ""};
    uint32_t step, peer;
    if (steps_of(run) > 1) {
        for (int i = 0; i < GIVEN_UP_NOTICES; i++)
            packet_given_up_make(told.status, told.rank, told.step, &last[i].header);
        say_back(run, COMM_WORD_LAST, &last[0].header);
        tell(plan, &last[0], layout_next(&plan->layout), COMM_TAG_HEADER);
        if (run_next_gradients(run, &step, &peer)) {
            tell(plan, &last[1], peer, COMM_TAG_GRADIENT_HEADER);
            if (run_gradients_home(run) != peer)
                tell(plan, &last[2], run_gradients_home(run), COMM_TAG_GRADIENT_HEADER);
        }
    }
    if (run_gathers_sinks(run))
        comm_refuse(plan->comm, &told);
}

enum vkring_status run_poll_notices(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    uint64_t ignored;
    bool sent;
    for (int i = 0; i < NOTICES; i++) {
        struct notice *notice = &plan->notices[i];
        if (notice->request)
            TRY(comm_test(plan->comm, &notice->request, notice->peer, &sent, &ignored), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

bool run_abandon_notices(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    bool pending = false;
    for (int i = 0; i < NOTICES; i++) {
        pending = pending || plan->notices[i].request;
        comm_abandon(plan->comm, &plan->notices[i].request);
    }
    return pending;
}

bool run_leave_notices(struct vkring_plan *plan)
{
    bool pending = false, sent;
    uint64_t ignored;
    for (int i = 0; i < NOTICES; i++) {
        struct notice *notice = &plan->notices[i];
        if (notice->request)
            comm_test(plan->comm, &notice->request, notice->peer, &sent, &ignored);
        pending = pending || notice->request;
        comm_leave(plan->comm, &notice->request);
    }
    return pending;
}
