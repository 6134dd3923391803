/* SPDX-License-Identifier: MIT */
#include "gather_round.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "../base/checked.h"
#include "../base/crc32c.h"

/* Larger blocks go in several rounds, so that nobody has to hold much for a rank that is late. */
static const uint64_t largest_message_bytes = 65536;

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
    void *scratch = bytes <= SIZE_MAX ? malloc((size_t)bytes) : NULL;
    if (!scratch)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for messages of %" PRIu64 " bytes", bytes);
    free(comm->scratch);
    comm->scratch = scratch;
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
enum vkring_status gather_reserve(struct vkring_comm *comm, uint64_t block_bytes, uint64_t blocks_bytes, bool exchanges)
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

enum vkring_status gather_check_blocks(const struct vkring_comm *comm, uint64_t block_bytes)
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
        TRY(gather_check_blocks(comm, gather->block_bytes), fail);
    TRY(gather_reserve(comm, gather->block_bytes, got_offset(gather, comm->fn.size), gather->given != NULL), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status gather_prepare(struct comm_gather *gather, const void *mine)
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

enum vkring_status gather_start_round(struct comm_gather *gather)
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

static enum vkring_status poll_receive(struct comm_gather *gather, uint32_t peer, struct gather_round *state)
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

static enum vkring_status poll_send(struct comm_gather *gather, uint32_t peer, struct gather_round *state)
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

enum vkring_status gather_poll_round(struct comm_gather *gather, struct gather_round *out_state)
{
    enum vkring_status status;
    *out_state = (struct gather_round){0};
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

void comm_refuse(struct vkring_comm *comm, const struct vkring_error *error)
{
    void *request = NULL;
    bool done;
    uint64_t ignored;
    struct seal seal = {.reason = error->status, .culprit = error->rank};
    if (comm->failed)
        return; /* all were told before */
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
