/* SPDX-License-Identifier: MIT */
/*
 * Every rank sends its own bytes to every other, or to each its own. A ring would need fewer messages at once, but there a silent rank
 * stops its neighbour, which then looks silent to the next: only messages straight from rank to rank let every survivor name the one that
 * stopped.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "../base/checked.h"
#include "../base/clock.h"
#include "../base/crc32c.h"
#include "comm.h"

/* Larger blocks go in several rounds, so that nobody has to hold much for a rank that is late. */
static const uint64_t largest_message_bytes = 65536;

/* How long after the deadline others are given to say who is silent, and why: a rank may be silent only because it waits elsewhere. */
static const double excuse_seconds = 0.3;
/* And how much longer if several are, of whom some may wait for the others. */
static const double excuse_of_several_seconds = 0.2;

/* Up to here transports send a message on before its receiver takes it. */
static const uint64_t largest_eager_bytes = 4096;

/*
 * Goes before each message: which it is, and that it is whole. One with a reason has nothing behind it: its sender takes no part, now or
 * later, on account of the culprit.
 */
struct seal {
    uint32_t round;
    int32_t reason;
    uint32_t culprit;
    uint32_t crc; /* CRC32C of the fields above and the message */
};

_Static_assert(sizeof(struct seal) == COMM_REFUSAL_BYTES, "a refusal is a seal");

static uint32_t crc_of(const struct seal *seal, const void *message, uint64_t bytes)
{
    return crc32c(crc32c(0, seal, offsetof(struct seal, crc)), message, bytes);
}

enum vkring_status comm_scratch_take(struct vkring_comm *comm, uint64_t bytes)
{
    if (comm->scratch_bytes >= bytes)
        return VKRING_OK;
    free(comm->scratch);
    comm->scratch_bytes = 0;
    comm->scratch = bytes <= SIZE_MAX ? malloc((size_t)bytes) : NULL;
    if (!comm->scratch)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for messages of %" PRIu64 " bytes", bytes);
    comm->scratch_bytes = bytes;
    return VKRING_OK;
}

/* What messages between two ranks take, with their seals. */
static uint64_t slot_bytes(uint64_t block_bytes)
{
    return sizeof(struct seal) + min_u64(block_bytes, largest_message_bytes);
}

static uint64_t requests_bytes(const struct vkring_comm *comm)
{
    return 2 * (uint64_t)comm->fn.size * sizeof(void *);
}

/* Where what a rank gave begins among all that is gathered; that of the rank after the last: the end. */
static uint64_t got_offset(const struct comm_gather *gather, uint32_t rank)
{
    return gather->shares ? gather->shares->got[rank] : rank * gather->block_bytes;
}

/* The same of what this rank gives. */
static uint64_t given_offset(const struct comm_gather *gather, uint32_t rank)
{
    return gather->shares ? gather->shares->given[rank] : rank * gather->block_bytes;
}

/* How much of so many bytes the message of this round has. */
static uint64_t part_bytes(const struct comm_gather *gather, uint64_t bytes)
{
    return bytes > gather->offset ? min_u64(bytes - gather->offset, gather->message_bytes) : 0;
}

static uint64_t bytes_to(const struct comm_gather *gather, uint32_t peer)
{
    return part_bytes(gather, given_offset(gather, peer + 1) - given_offset(gather, peer));
}

static uint64_t bytes_from(const struct comm_gather *gather, uint32_t peer)
{
    return part_bytes(gather, got_offset(gather, peer + 1) - got_offset(gather, peer));
}

/* Of a gather, or of one that gives each rank what is its own. A refusal has its place first. */
static enum vkring_status scratch_reserve(struct vkring_comm *comm, uint64_t block_bytes, uint64_t blocks_bytes, bool exchanges)
{
    enum vkring_status status;
    const uint64_t messages_bytes = (exchanges ? 2 : 1) * comm->fn.size * slot_bytes(block_bytes);
    uint64_t total_bytes;
    if (!checked_add(blocks_bytes, sizeof(struct seal) + requests_bytes(comm) + messages_bytes, &total_bytes))
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory to gather %" PRIu64 " bytes", blocks_bytes);
    TRY(comm_scratch_take(comm, total_bytes), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status check_blocks(const struct vkring_comm *comm, uint64_t block_bytes)
{
    uint64_t ignored;
    if (!checked_multiply(block_bytes, comm->fn.size, &ignored))
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory to gather %" PRIu64 " bytes of each rank", block_bytes);
    return VKRING_OK;
}

static enum vkring_status reserve(const struct comm_gather *gather)
{
    enum vkring_status status;
    struct vkring_comm *comm = gather->comm;
    if (!gather->shares)
        TRY(check_blocks(comm, gather->block_bytes), fail);
    TRY(scratch_reserve(comm, gather->block_bytes, got_offset(gather, comm->fn.size), gather->given != NULL), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status gather_prepare(struct comm_gather *gather, const void *mine)
{
    enum vkring_status status;
    struct vkring_comm *comm = gather->comm;
    const uint64_t messages_bytes = comm->fn.size * slot_bytes(gather->block_bytes);
    const uint32_t rank = comm->fn.rank;
    TRY(reserve(gather), fail);

    unsigned char *requests = (unsigned char *)comm->scratch + sizeof(struct seal);
    memset(requests, 0, (size_t)requests_bytes(comm));
    gather->sends = (void **)(void *)requests;
    gather->receives = gather->sends + comm->fn.size;
    gather->messages = requests + requests_bytes(comm);
    gather->outgoing = gather->messages + messages_bytes;
    gather->blocks = gather->outgoing + (gather->given ? messages_bytes : 0);
    const uint64_t own_bytes = got_offset(gather, rank + 1) - got_offset(gather, rank);
    if (own_bytes > 0)
        memcpy(gather->blocks + got_offset(gather, rank), mine, (size_t)own_bytes);
    return VKRING_OK;
fail:
    return status;
}

static unsigned char *part_of(const struct comm_gather *gather, uint32_t rank)
{
    return gather->blocks + got_offset(gather, rank) + gather->offset;
}

static uint64_t sealed_bytes(uint64_t message_bytes)
{
    return sizeof(struct seal) + message_bytes;
}

/* Seals are packed: they are copied, never pointed at. */
static unsigned char *message_of(const struct comm_gather *gather, uint32_t rank)
{
    return gather->messages + rank * slot_bytes(gather->block_bytes);
}

static unsigned char *message_to(const struct comm_gather *gather, uint32_t peer)
{
    return gather->given ? gather->outgoing + peer * slot_bytes(gather->block_bytes) : message_of(gather, gather->comm->fn.rank);
}

static void seal_message(const struct comm_gather *gather, unsigned char *message, const unsigned char *part, uint64_t bytes)
{
    struct seal seal = {.round = gather->comm->rounds, .culprit = VKRING_NONE};
    if (bytes > 0)
        memcpy(message + sizeof(seal), part, (size_t)bytes);
    seal.crc = crc_of(&seal, message + sizeof(seal), bytes);
    memcpy(message, &seal, sizeof(seal));
}

static void seal_own(struct comm_gather *gather)
{
    const uint32_t rank = gather->comm->fn.rank;
    if (!gather->given)
        seal_message(gather, message_of(gather, rank), part_of(gather, rank), gather->message_bytes);
    for (uint32_t peer = 0; gather->given && peer < gather->comm->fn.size; peer++)
        if (peer != rank)
            seal_message(gather, message_to(gather, peer), gather->given + given_offset(gather, peer) + gather->offset,
                         bytes_to(gather, peer));
    gather->comm->rounds++;
}

static enum vkring_status start_round(struct comm_gather *gather)
{
    enum vkring_status status;
    struct vkring_comm *comm = gather->comm;
    uint32_t size = comm->fn.size;
    gather->message_bytes = min_u64(gather->block_bytes - gather->offset, largest_message_bytes);
    seal_own(gather);
    /* Receives first, so that messages find their place; the right neighbour first, so that not all send to rank 0 at once. */
    for (uint32_t distance = 1; distance < size; distance++) {
        uint32_t peer = (uint32_t)(((uint64_t)comm->fn.rank + size - distance) % size);
        TRY(comm_receive(comm, message_of(gather, peer), sealed_bytes(bytes_from(gather, peer)), peer, COMM_TAG_AGREE,
                         &gather->receives[peer]),
            fail);
    }
    for (uint32_t distance = 1; distance < size; distance++) {
        uint32_t peer = (uint32_t)(((uint64_t)comm->fn.rank + distance) % size);
        TRY(comm_send(comm, message_to(gather, peer), sealed_bytes(bytes_to(gather, peer)), peer, COMM_TAG_AGREE, &gather->sends[peer]),
            fail);
    }
    return VKRING_OK;
fail:
    return status;
}

/* How many requests are still under way, and whether one has just ended. */
struct round_state {
    uint32_t pending;
    bool progress;
};

static enum vkring_status fail_of_refusal(struct comm_gather *gather, uint32_t peer, const struct seal *seal)
{
    const enum vkring_status reason = (enum vkring_status)seal->reason;
    gather->told = reason;
    return status_fail_at(VKRING_ERROR_PEER, seal->culprit, VKRING_NONE, "rank %" PRIu32 " %s (%s), as rank %" PRIu32 " says",
                          seal->culprit, status_deed(reason), vkring_status_string(reason), peer);
}

static enum vkring_status fail_of_length(const struct comm_gather *gather, uint32_t peer, uint64_t bytes)
{
    const uint64_t behind_seal = bytes > sizeof(struct seal) ? bytes - sizeof(struct seal) : 0;
    return status_fail_at(VKRING_ERROR_PEER, peer, VKRING_NONE, "rank %" PRIu32 " sent %" PRIu64 " bytes where %" PRIu64 " were expected",
                          peer, behind_seal, bytes_from(gather, peer));
}

/* A message that came: of this round, whole, and a part of what is gathered. */
static enum vkring_status admit(struct comm_gather *gather, uint32_t peer, uint64_t bytes)
{
    const unsigned char *message = message_of(gather, peer);
    const uint64_t due = bytes_from(gather, peer);
    struct seal seal;
    memcpy(&seal, message, sizeof(seal));
    if (bytes != sealed_bytes(due) && bytes != sizeof(seal))
        return fail_of_length(gather, peer, bytes);
    if (seal.crc != crc_of(&seal, message + sizeof(seal), bytes - sizeof(seal)))
        return status_fail_at(VKRING_ERROR_PEER, peer, VKRING_NONE, "rank %" PRIu32 " sent a message that arrived damaged", peer);
    if (seal.reason != VKRING_OK)
        return fail_of_refusal(gather, peer, &seal);
    if (bytes != sealed_bytes(due))
        return fail_of_length(gather, peer, bytes);
    if (seal.round != gather->comm->rounds - 1)
        return status_fail_at(VKRING_ERROR_PEER, peer, VKRING_NONE, "rank %" PRIu32 " sent message %" PRIu32 " where %" PRIu32 " was due",
                              peer, seal.round, gather->comm->rounds - 1);
    if (due > 0)
        memcpy(part_of(gather, peer), message + sizeof(seal), (size_t)due);
    return VKRING_OK;
}

static enum vkring_status poll_receive(struct comm_gather *gather, uint32_t peer, struct round_state *state)
{
    enum vkring_status status;
    bool done;
    uint64_t bytes = 0;
    TRY(comm_test(gather->comm, &gather->receives[peer], peer, &done, &bytes), fail);
    if (done)
        TRY(admit(gather, peer, bytes), fail);
    state->pending += !done;
    state->progress |= done;
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status poll_send(struct comm_gather *gather, uint32_t peer, struct round_state *state)
{
    enum vkring_status status;
    bool done;
    uint64_t bytes;
    TRY(comm_test(gather->comm, &gather->sends[peer], peer, &done, &bytes), fail);
    state->pending += !done;
    state->progress |= done;
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status poll_round(struct comm_gather *gather, struct round_state *out_state)
{
    enum vkring_status status;
    *out_state = (struct round_state){0};
    for (uint32_t peer = 0; peer < gather->comm->fn.size; peer++) {
        if (gather->receives[peer])
            TRY(poll_receive(gather, peer, out_state), fail);
        if (gather->sends[peer])
            TRY(poll_send(gather, peer, out_state), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

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

void comm_refuse(struct vkring_comm *comm, const struct vkring_error *error)
{
    void *request = NULL;
    bool done;
    uint64_t ignored;
    struct seal seal = {.reason = error->status, .culprit = error->rank};
    if (!comm->scratch || comm->failed)
        return; /* nothing was ever gathered, so nobody waits; or all were told before */
    seal.crc = crc_of(&seal, &seal, 0);
    memcpy(comm->scratch, &seal, sizeof(seal));
    comm->strays = true;
    for (uint32_t distance = 1; distance < comm->fn.size; distance++) {
        uint32_t peer = (uint32_t)(((uint64_t)comm->fn.rank + distance) % comm->fn.size);
        if (comm->fn.send(comm->fn.context, comm->scratch, sizeof(seal), peer, COMM_TAG_AGREE, &request) != VKRING_OK || !request)
            continue;
        if (comm_test(comm, &request, peer, &done, &ignored) != VKRING_OK || !done)
            comm_abandon(comm, &request);
    }
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

/* Also when nothing is left to give up: the ranks are out of step. */
void comm_gather_abandon(struct comm_gather *gather)
{
    gather->comm->failed = true;
    for (uint32_t peer = 0; peer < gather->comm->fn.size; peer++) {
        comm_abandon(gather->comm, &gather->sends[peer]);
        comm_abandon(gather->comm, &gather->receives[peer]);
    }
}

static enum vkring_status gather_start(struct comm_gather *gather, const void *mine)
{
    enum vkring_status status;
    TRY(comm_check_usable(gather->comm), fail);
    TRY(gather_prepare(gather, mine), fail);
    TRY(start_round(gather), fail_started);
    return VKRING_OK;
fail_started:
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
    struct round_state state;
    *out_done = false;
    TRY(poll_round(gather, &state), fail);
    *progress = *progress || state.progress;
    if (state.pending > 0)
        return VKRING_OK;
    gather->offset += gather->message_bytes;
    *out_done = gather->offset == gather->block_bytes;
    if (!*out_done)
        TRY(start_round(gather), fail);
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
    TRY(check_blocks(comm, bytes), fail);
    TRY(scratch_reserve(comm, bytes, bytes * comm->fn.size, true), fail);
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
