/* SPDX-License-Identifier: MIT */
/*
 * Every rank sends its own bytes to every other, or to each its own. A ring would need fewer messages at once, but there a silent rank
 * stops its neighbour, which then looks silent to the next: only messages straight from rank to rank let every survivor name the one that
 * stopped.
 */
#include <inttypes.h>
#include <string.h>

#include "../base/clock.h"
#include "gather_round.h"

/* How long after the deadline others are given to say who is silent, and why: a rank may be silent only because it waits elsewhere. */
static const double excuse_seconds = 0.3;
/* And how much longer if several are, of whom some may wait for the others. */
static const double excuse_of_several_seconds = 0.2;

/* Up to here transports send a message on before its receiver takes it. */
static const uint64_t largest_eager_bytes = 4096;

static uint32_t count_pending(void *const *requests, uint32_t size, uint32_t *out_first)
{
    uint32_t count = 0;
    for (uint32_t rank = size; rank-- > 0;) {
        if (requests[rank]) {
            *out_first = rank;
            count++;
        }
    }
    return count;
}

double comm_gather_excuse_seconds(const struct comm_gather *gather)
{
    uint32_t ignored;
    return excuse_seconds + (count_pending(gather->receives, gather->comm->fn.size, &ignored) > 1 ? excuse_of_several_seconds : 0);
}

enum vkring_status comm_gather_blame(const struct comm_gather *gather, double seconds)
{
    uint32_t size = gather->comm->fn.size;
    uint32_t rank = VKRING_NONE;
    const char *verb = "sent";
    uint32_t count = count_pending(gather->receives, size, &rank);
    if (count == 0) {
        verb = "took";
        count = count_pending(gather->sends, size, &rank);
    }
    if (count > 1)
        return status_fail_at(VKRING_ERROR_TIMEOUT, rank, VKRING_NONE, "rank %" PRIu32 " and %" PRIu32 " others %s nothing for %g seconds",
                              rank, count - 1, verb, seconds);
    return status_fail_at(VKRING_ERROR_TIMEOUT, rank, VKRING_NONE, "rank %" PRIu32 " %s nothing for %g seconds", rank, verb, seconds);
}

/*
 * Those that have this rank's message wait for the next, and would wait for nothing. So would those that lack it, where another's refusal
 * ends this rank: they may have had all they wait for from that one, and the transport may not send what is given up.
 */
static void gather_refuse(const struct comm_gather *gather, enum vkring_status status)
{
    struct vkring_error error = *vkring_last_error();
    struct vkring_error told = error;
    if (error.rank == VKRING_NONE || (status != VKRING_ERROR_TIMEOUT && status != VKRING_ERROR_PEER))
        told.rank = gather->comm->fn.rank;
    if (gather->told != VKRING_OK)
        told.status = gather->told;
    comm_refuse(gather->comm, &told);
    status_fail_at(error.status, error.rank, error.step, "%s", error.message);
}

/* Also when nothing is left to give up, or was not even started: the ranks are out of step. */
void comm_gather_abandon(struct comm_gather *gather)
{
    gather->comm->failed = true;
    for (uint32_t peer = 0; gather->sends && peer < gather->comm->fn.size; peer++) {
        comm_abandon(gather->comm, &gather->sends[peer]);
        comm_abandon(gather->comm, &gather->receives[peer]);
    }
}

static enum vkring_status gather_start(struct comm_gather *gather, const void *mine)
{
    enum vkring_status status;
    TRY(comm_check_usable(gather->comm), fail);
    TRY(gather_prepare(gather, mine), fail_wanted);
    TRY(gather_start_round(gather), fail_wanted);
    return VKRING_OK;
fail_wanted:
    gather_refuse(gather, status);
    comm_gather_abandon(gather);
fail:
    return status;
}

enum vkring_status comm_gather_start(struct vkring_comm *comm, const void *mine, uint64_t bytes, struct comm_gather *out_gather)
{
    enum vkring_status status;
    struct comm_gather gather = {.comm = comm, .block_bytes = bytes};
    TRY(gather_start(&gather, mine), fail);
    *out_gather = gather;
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status gather_poll(struct comm_gather *gather, bool *progress, bool *out_done)
{
    enum vkring_status status;
    struct gather_round state;
    *out_done = false;
    TRY(gather_poll_round(gather, &state), fail);
    *progress = *progress || state.progress;
    if (state.pending > 0)
        return VKRING_OK;
    gather->offset += gather->message_bytes;
    *out_done = gather->offset == gather->block_bytes;
    if (!*out_done)
        TRY(gather_start_round(gather), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status comm_gather_poll(struct comm_gather *gather, bool *progress, bool *out_done)
{
    enum vkring_status status;
    TRY(gather_poll(gather, progress, out_done), fail);
    return VKRING_OK;
fail:
    gather_refuse(gather, status);
    comm_gather_abandon(gather);
    return status;
}

const void *comm_gather_blocks(const struct comm_gather *gather)
{
    return gather->blocks;
}

/* Whether one of the requests is still under way; what came is not looked at. */
static bool finish_requests(struct vkring_comm *comm, void **requests, bool *progress)
{
    bool pending = false;
    for (uint32_t peer = 0; peer < comm->fn.size; peer++) {
        bool done = true;
        uint64_t ignored;
        if (!requests[peer])
            continue;
        const enum vkring_status status = comm_test(comm, &requests[peer], peer, &done, &ignored);
        *progress = *progress || (status == VKRING_OK && done);
        pending = pending || (status == VKRING_OK && !done);
    }
    return pending;
}

/*
 * Before this rank gives up for what another sent: large messages between it and the rest end only while both see to them. Where it left at
 * once, those that wait for theirs to be taken, and have all that they wait for themselves, would blame it.
 */
static void gather_settle(struct comm_gather *gather)
{
    struct comm_backoff backoff = {0};
    const struct vkring_error error = *vkring_last_error();
    double last_progress = clock_seconds();
    bool pending = gather->message_bytes > largest_eager_bytes;
    while (pending && clock_seconds() - last_progress < excuse_of_several_seconds) {
        bool progress = false;
        pending = finish_requests(gather->comm, gather->receives, &progress);
        pending = finish_requests(gather->comm, gather->sends, &progress) || pending;
        if (progress)
            last_progress = clock_seconds();
        comm_backoff_pause(&backoff);
    }
    status_fail_at(error.status, error.rank, error.step, "%s", error.message);
}

enum vkring_status comm_gather_wait(struct comm_gather *gather, double timeout_seconds)
{
    enum vkring_status status;
    struct comm_backoff backoff = {0};
    double last_progress = clock_seconds();
    for (;;) {
        bool progress = false, done;
        TRY(gather_poll(gather, &progress, &done), fail);
        if (done)
            return VKRING_OK;
        double now = clock_seconds();
        if (progress) {
            backoff = (struct comm_backoff){0};
            last_progress = now;
        } else if (now - last_progress >= timeout_seconds + comm_gather_excuse_seconds(gather)) {
            status = comm_gather_blame(gather, timeout_seconds);
            gather_refuse(gather, status);
            comm_gather_abandon(gather);
            return status;
        }
        comm_backoff_pause(&backoff);
    }
fail:
    gather_refuse(gather, status);
    gather_settle(gather);
    comm_gather_abandon(gather);
    return status;
}

static enum vkring_status gather_finish(struct comm_gather *gather, void *all, double timeout_seconds)
{
    enum vkring_status status;
    TRY(comm_gather_wait(gather, timeout_seconds), fail);
    if (gather->block_bytes > 0)
        memcpy(all, gather->blocks, (size_t)(gather->block_bytes * gather->comm->fn.size));
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status comm_allgather(struct vkring_comm *comm, const void *mine, uint64_t bytes, void *all, double timeout_seconds)
{
    enum vkring_status status;
    struct comm_gather gather;
    TRY(comm_gather_start(comm, mine, bytes, &gather), fail);
    TRY(gather_finish(&gather, all, timeout_seconds), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status comm_exchange_start(struct vkring_comm *comm, const void *given, const struct comm_shares *shares,
                                       struct comm_gather *out_gather)
{
    enum vkring_status status;
    struct comm_gather gather = {.comm = comm, .block_bytes = shares->most_bytes, .given = given, .shares = shares};
    TRY(gather_start(&gather, gather.given + shares->given[comm->fn.rank]), fail);
    *out_gather = gather;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status comm_exchange_reserve(struct vkring_comm *comm, uint64_t bytes)
{
    enum vkring_status status;
    TRY(comm_check_usable(comm), fail);
    TRY(gather_check_blocks(comm, bytes), fail);
    TRY(gather_reserve(comm, bytes, bytes * comm->fn.size, true), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status comm_exchange(struct vkring_comm *comm, const void *given, uint64_t bytes, void *got, double timeout_seconds)
{
    enum vkring_status status;
    struct comm_gather gather = {.comm = comm, .block_bytes = bytes, .given = given};
    TRY(gather_start(&gather, (const unsigned char *)given + comm->fn.rank * bytes), fail);
    TRY(gather_finish(&gather, got, timeout_seconds), fail);
    return VKRING_OK;
fail:
    return status;
}
