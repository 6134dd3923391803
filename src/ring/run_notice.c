/* SPDX-License-Identifier: MIT */
/*
 * What a rank tells those that wait for it when it has nothing to send: that it waits itself, or that it gave up.
 *
 * Both take the place of a header, so they cost nothing while all is well, and come to the next rank, which is the one that waits. A rank
 * that learns that another gave up gives up too and passes it on: all know within a moment, and name the same rank. A rank that is only
 * silent tells nobody. Of the ranks that wait for it, one after another, only the first has no word from the rank before it: it names that
 * one when its deadline comes, and the others, who know that theirs waits too, are told.
 */
#include "run.h"

/* The next packet that is due from here; after the last, the next rank may wait for one of the next run. */
static uint32_t next_keys(const struct run *run)
{
    return run->sent + 1 < steps_of(run) ? run->sent + 1 : VKRING_NONE;
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

void run_tell_waiting(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    struct notice *keys = &plan->notices[NOTICE_KEYS], *gradients = &plan->notices[NOTICE_GRADIENTS];
    uint32_t step, peer;
    if (run->told_waiting || steps_of(run) == 1)
        return;
    run->told_waiting = true;
    if (!keys->request && !plan->send.header_request) {
        packet_waiting_make(plan->calls, next_keys(run), &keys->header);
        tell(plan, keys, plan->send.peer, COMM_TAG_HEADER);
    }
    if (run_next_gradients(run, &step, &peer) && !gradients->request && !plan->send_gradients.header_request) {
        packet_waiting_make(plan->calls, step, &gradients->header);
        tell(plan, gradients, peer, COMM_TAG_GRADIENT_HEADER);
    }
}

/* Another's failure is passed on as it came; what went wrong here is our own. */
static uint32_t culprit_of(const struct vkring_plan *plan, const struct vkring_error *error)
{
    const bool of_another = error->status == VKRING_ERROR_TIMEOUT || error->status == VKRING_ERROR_PEER;
    return of_another && error->rank != VKRING_NONE ? error->rank : plan->layout.rank;
}

void run_tell_given_up(struct run *run, const struct vkring_error *error)
{
    struct vkring_plan *plan = run->plan;
    struct notice *last = &plan->notices[NOTICE_GIVEN_UP];
    const struct vkring_error told = {error->status, culprit_of(plan, error), error->step == VKRING_NONE ? run_step(run) : error->step, ""};
    uint32_t step, peer;
    if (steps_of(run) > 1) {
        for (int i = 0; i < GIVEN_UP_NOTICES; i++)
            packet_given_up_make(told.status, told.rank, told.step, &last[i].header);
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

enum vkring_status run_poll_notices(struct run *run, bool *out_done)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    uint64_t ignored;
    bool sent;
    *out_done = true;
    for (int i = 0; i < NOTICES; i++) {
        struct notice *notice = &plan->notices[i];
        if (!notice->request)
            continue;
        TRY(comm_test(plan->comm, &notice->request, notice->peer, &sent, &ignored), fail);
        *out_done = *out_done && sent;
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
