/* SPDX-License-Identifier: MIT */
/*
 * Binomial trees, one for each owner, rank r counted from the owner on: at distance d those with r mod 2d = d send what they have merged to
 * r - d. So all that a rank sends at a distance, whoever owns it, goes to one rank, and comes from one: a message each.
 *
 * A silent rank stops the one that waits for it, and so all others, one after another. Ranks that wait for long therefore tell each other
 * whom they wait for: the last of that chain, who says nothing, is the culprit.
 */
#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "../base/checked.h"
#include "../base/clock.h"
#include "../base/crc32c.h"
#include "comm.h"

/* Longer blocks go in pieces, each through the whole tree: nobody waits long for what others do meanwhile, or holds much for them. */
static const uint64_t most_message_bytes = (uint64_t)256 << 10;

/* After its deadline a rank waits so long for others to say whom they wait for. */
static const double excuse_seconds = 0.3;
/* When one that waits begins to listen, or earlier if its time is shorter than four times that. */
static const double listening_seconds = 0.2;

#define WORD_MAGIC 0x72646372u

/* Goes before each message: which it is, and that it is whole. */
struct seal {
    uint32_t round;
    uint32_t message; /* of all that a rank sends in the round, to whomever */
    uint32_t distance;
    uint32_t crc; /* CRC32C of the fields above and the message */
};

/* Why a rank does nothing: it waits for another, or takes no part any more on account of one. */
struct word {
    uint32_t magic;
    uint32_t round;
    int32_t reason; /* VKRING_OK: it waits */
    uint32_t rank;
    uint32_t crc; /* CRC32C of the fields above */
};

_Static_assert(sizeof(struct word) <= COMM_WORD_BYTES, "a word has room");

struct reduction {
    struct vkring_comm *comm;
    const struct comm_reduction *wanted;
    unsigned char *blocks;
    unsigned char *outgoing, *incoming; /* each behind its seal */
    uint32_t *waits_for;                /* by rank, as it said; VKRING_NONE: nothing was heard of it */
    double timeout_seconds;
    uint64_t piece_records; /* of each owner */
    uint64_t first_record;
    uint32_t piece;
    uint32_t distance;
    uint64_t due_bytes; /* behind the seal of what comes */
    void *send, *receive;
    bool heard;              /* another waits, too */
    enum vkring_status told; /* why another takes no part, once it said so */
};

static uint32_t counted_from(const struct reduction *reduction, uint32_t owner)
{
    const struct vkring_comm_functions *fn = &reduction->comm->fn;
    return (uint32_t)(((uint64_t)fn->rank + fn->size - owner) % fn->size);
}

static uint32_t source_of(const struct reduction *reduction)
{
    const struct vkring_comm_functions *fn = &reduction->comm->fn;
    return (uint32_t)(((uint64_t)fn->rank + reduction->distance) % fn->size);
}

static uint32_t target_of(const struct reduction *reduction)
{
    const struct vkring_comm_functions *fn = &reduction->comm->fn;
    return (uint32_t)(((uint64_t)fn->rank + fn->size - reduction->distance) % fn->size);
}

static bool sends_to(const struct reduction *reduction, uint32_t owner)
{
    const uint64_t distance = reduction->distance;
    return counted_from(reduction, owner) % (2 * distance) == distance;
}

static bool receives_of(const struct reduction *reduction, uint32_t owner)
{
    const uint64_t distance = reduction->distance, place = counted_from(reduction, owner);
    return place % (2 * distance) == 0 && place + distance < reduction->comm->fn.size;
}

/* Records of the owner in the piece at hand. */
static uint64_t records_of(const struct reduction *reduction, uint32_t owner)
{
    const uint64_t records = reduction->wanted->records[owner];
    return records > reduction->first_record ? min_u64(records - reduction->first_record, reduction->piece_records) : 0;
}

enum deed { DEED_COUNT, DEED_PACK, DEED_MERGE };

/* Goes through all owners' parts of a message and returns their bytes. */
static uint64_t go_through(struct reduction *reduction, enum deed deed, bool outgoing)
{
    const struct comm_reduction *wanted = reduction->wanted;
    unsigned char *block = reduction->blocks + reduction->first_record * wanted->record_bytes;
    unsigned char *message = (outgoing ? reduction->outgoing : reduction->incoming) + sizeof(struct seal);
    uint64_t at = 0;
    for (uint32_t owner = 0; owner < reduction->comm->fn.size; owner++) {
        const bool is_part = outgoing ? sends_to(reduction, owner) : receives_of(reduction, owner);
        const uint64_t records = is_part ? records_of(reduction, owner) : 0, bytes = records * wanted->record_bytes;
        if (deed == DEED_PACK && bytes > 0)
            memcpy(message + at, block, (size_t)bytes);
        if (deed == DEED_MERGE && records > 0)
            wanted->merge(wanted->context, block, message + at, records);
        at += bytes;
        block += wanted->records[owner] * wanted->record_bytes;
    }
    return at;
}

static uint32_t crc_of(const struct seal *seal, const void *message, uint64_t bytes)
{
    return crc32c(crc32c(0, seal, offsetof(struct seal, crc)), message, bytes);
}

static struct seal seal_of(const struct reduction *reduction, const void *message, uint64_t bytes)
{
    struct seal seal = {.round = reduction->comm->rounds, .message = reduction->piece, .distance = reduction->distance};
    seal.crc = crc_of(&seal, message, bytes);
    return seal;
}

static enum vkring_status start_step(struct reduction *reduction)
{
    enum vkring_status status;
    struct vkring_comm *comm = reduction->comm;
    const uint64_t outgoing_bytes = go_through(reduction, DEED_PACK, true);
    reduction->due_bytes = go_through(reduction, DEED_COUNT, false);
    if (reduction->due_bytes > 0)
        TRY(comm_receive(comm, reduction->incoming, sizeof(struct seal) + reduction->due_bytes, source_of(reduction), COMM_TAG_REDUCE,
                         &reduction->receive),
            fail);
    if (outgoing_bytes > 0) {
        const struct seal seal = seal_of(reduction, reduction->outgoing + sizeof(seal), outgoing_bytes);
        memcpy(reduction->outgoing, &seal, sizeof(seal));
        TRY(comm_send(comm, reduction->outgoing, sizeof(seal) + outgoing_bytes, target_of(reduction), COMM_TAG_REDUCE, &reduction->send),
            fail);
    }
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status admit(struct reduction *reduction, uint64_t bytes)
{
    const uint32_t source = source_of(reduction);
    const unsigned char *message = reduction->incoming + sizeof(struct seal);
    struct seal seal;
    memcpy(&seal, reduction->incoming, sizeof(seal));
    if (bytes != sizeof(seal) + reduction->due_bytes)
        return status_fail_at(VKRING_ERROR_PEER, source, VKRING_NONE,
                              "rank %" PRIu32 " sent %" PRIu64 " bytes to be merged where %" PRIu64 " were expected", source,
                              bytes > sizeof(seal) ? bytes - sizeof(seal) : 0, reduction->due_bytes);
    if (seal.crc != crc_of(&seal, message, reduction->due_bytes))
        return status_fail_at(VKRING_ERROR_PEER, source, VKRING_NONE, "rank %" PRIu32 " sent a message that arrived damaged", source);
    const struct seal due = seal_of(reduction, message, reduction->due_bytes);
    if (memcmp(&seal, &due, sizeof(seal)) != 0)
        return status_fail_at(VKRING_ERROR_PEER, source, VKRING_NONE,
                              "rank %" PRIu32 " sent message %" PRIu32 " of reduction %" PRIu32 " where %" PRIu32 " of %" PRIu32 " was due",
                              source, seal.message, seal.round, due.message, due.round);
    go_through(reduction, DEED_MERGE, false);
    return VKRING_OK;
}

static enum vkring_status poll_step(struct reduction *reduction, bool *out_progress)
{
    enum vkring_status status;
    uint64_t bytes = 0;
    bool received = false, sent = false;
    if (reduction->receive)
        TRY(comm_test(reduction->comm, &reduction->receive, source_of(reduction), &received, &bytes), fail);
    if (received)
        TRY(admit(reduction, bytes), fail);
    if (reduction->send)
        TRY(comm_test(reduction->comm, &reduction->send, target_of(reduction), &sent, &bytes), fail);
    *out_progress = received || sent;
    return VKRING_OK;
fail:
    return status;
}

static uint32_t peer_waited_for(const struct reduction *reduction)
{
    return reduction->receive ? source_of(reduction) : target_of(reduction);
}

static void say(const struct reduction *reduction, enum comm_word_kind kind, enum vkring_status reason, uint32_t rank)
{
    struct vkring_comm *comm = reduction->comm;
    struct word word = {.magic = WORD_MAGIC, .round = comm->rounds, .reason = reason, .rank = rank};
    unsigned char bytes[COMM_WORD_BYTES] = {0};
    word.crc = crc32c(0, &word, offsetof(struct word, crc));
    memcpy(bytes, &word, sizeof(word));
    for (uint32_t distance = 1; distance < comm->fn.size; distance++) {
        struct comm_line *line;
        if (comm_line_find(comm, (uint32_t)(((uint64_t)comm->fn.rank + distance) % comm->fn.size), &line) == VKRING_OK)
            comm_line_say(comm, line, kind, bytes);
    }
}

static enum vkring_status take_word(struct reduction *reduction, uint32_t peer, const void *bytes, uint64_t size)
{
    struct word word;
    memcpy(&word, bytes, sizeof(word));
    const bool is_ours = size == COMM_WORD_BYTES && word.magic == WORD_MAGIC && word.round == reduction->comm->rounds &&
                         word.crc == crc32c(0, &word, offsetof(struct word, crc));
    if (!is_ours)
        return VKRING_OK;
    reduction->waits_for[peer] = word.rank;
    reduction->heard = true;
    if (word.reason == VKRING_OK)
        return VKRING_OK;
    reduction->told = (enum vkring_status)word.reason;
    return status_fail_at(VKRING_ERROR_PEER, word.rank, VKRING_NONE, "rank %" PRIu32 " %s (%s), as rank %" PRIu32 " says", word.rank,
                          status_deed(reduction->told), vkring_status_string(reduction->told), peer);
}

static enum vkring_status hear_from(struct reduction *reduction, uint32_t peer)
{
    enum vkring_status status;
    struct comm_line *line;
    const void *word;
    uint64_t bytes;
    TRY(comm_line_find(reduction->comm, peer, &line), fail);
    do {
        TRY(comm_line_hear(reduction->comm, line, &word, &bytes), fail);
        if (word)
            TRY(take_word(reduction, peer, word, bytes), fail);
    } while (word);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status hear_all(struct reduction *reduction)
{
    enum vkring_status status;
    const struct vkring_comm_functions *fn = &reduction->comm->fn;
    for (uint32_t distance = 1; distance < fn->size; distance++)
        TRY(hear_from(reduction, (uint32_t)(((uint64_t)fn->rank + distance) % fn->size)), fail);
    return VKRING_OK;
fail:
    return status;
}

/* From the peer on to whom it waits for, and so on, to one that says nothing. */
static enum vkring_status blame(const struct reduction *reduction)
{
    const struct vkring_comm_functions *fn = &reduction->comm->fn;
    const double seconds = reduction->timeout_seconds;
    const uint32_t peer = peer_waited_for(reduction);
    uint32_t culprit = peer;
    for (uint32_t i = 0; i < fn->size; i++) {
        const uint32_t next = reduction->waits_for[culprit];
        if (next >= fn->size || next == fn->rank)
            break;
        culprit = next;
    }
    if (culprit != peer)
        return status_fail_at(VKRING_ERROR_TIMEOUT, culprit, VKRING_NONE,
                              "rank %" PRIu32 " holds up rank %" PRIu32 ", which %s nothing to be merged for %g seconds", culprit, peer,
                              reduction->receive ? "sent" : "took", seconds);
    return status_fail_at(VKRING_ERROR_TIMEOUT, peer, VKRING_NONE, "rank %" PRIu32 " %s nothing to be merged for %g seconds", peer,
                          reduction->receive ? "sent" : "took", seconds);
}

static void forget_words(struct reduction *reduction)
{
    for (uint32_t rank = 0; rank < reduction->comm->fn.size; rank++)
        reduction->waits_for[rank] = VKRING_NONE;
    reduction->heard = false;
}

static enum vkring_status wait_step(struct reduction *reduction)
{
    enum vkring_status status;
    const double timeout = reduction->timeout_seconds;
    struct comm_backoff backoff = {0};
    double last_progress = clock_seconds();
    bool said = false, progress;
    while (reduction->send || reduction->receive) {
        TRY(poll_step(reduction, &progress), fail);
        const double now = clock_seconds(), idle = now - last_progress;
        if (progress) {
            backoff = (struct comm_backoff){0};
            last_progress = now;
            said = false;
            forget_words(reduction);
            continue;
        }
        if (idle >= fmin(timeout / 4, listening_seconds))
            TRY(hear_all(reduction), fail);
        if (!said && (reduction->heard || idle >= timeout)) {
            say(reduction, COMM_WORD_WAITING, VKRING_OK, peer_waited_for(reduction));
            said = true;
        }
        if (idle >= timeout + excuse_seconds)
            return blame(reduction);
        comm_backoff_pause(&backoff);
    }
    return VKRING_OK;
fail:
    return status;
}

/* Those that are done here, and gather something next, are told as well. */
static void give_up(struct reduction *reduction, enum vkring_status status)
{
    struct vkring_comm *comm = reduction->comm;
    const struct vkring_error error = *vkring_last_error();
    struct vkring_error told = error;
    if (error.rank == VKRING_NONE || (status != VKRING_ERROR_TIMEOUT && status != VKRING_ERROR_PEER))
        told.rank = comm->fn.rank;
    if (reduction->told != VKRING_OK)
        told.status = reduction->told;
    say(reduction, COMM_WORD_LAST, told.status, told.rank);
    comm_refuse(comm, &told);
    comm_abandon(comm, &reduction->send);
    comm_abandon(comm, &reduction->receive);
    comm->failed = true;
    status_fail_at(error.status, error.rank, error.step, "%s", error.message);
}

static enum vkring_status reduce_piece(struct reduction *reduction)
{
    enum vkring_status status;
    const uint32_t size = reduction->comm->fn.size;
    for (reduction->distance = 1; reduction->distance < size; reduction->distance *= 2) {
        TRY(start_step(reduction), fail);
        TRY(wait_step(reduction), fail);
        if (reduction->distance > size / 2)
            break;
    }
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status prepare(struct reduction *reduction)
{
    enum vkring_status status;
    struct vkring_comm *comm = reduction->comm;
    const uint64_t most_owners = divide_up(comm->fn.size, 2), record_bytes = reduction->wanted->record_bytes;
    const uint64_t words_bytes = comm->fn.size * sizeof(uint32_t);
    uint64_t row_bytes, message_bytes, bytes;
    if (!checked_multiply(record_bytes, most_owners, &row_bytes) || !checked_add(row_bytes, most_message_bytes, &message_bytes) ||
        !checked_multiply(message_bytes + sizeof(struct seal), 2, &bytes) || !checked_add(bytes, COMM_REFUSAL_BYTES + words_bytes, &bytes))
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory to merge records of %" PRIu64 " bytes", record_bytes);
    TRY(comm_scratch_take(comm, bytes), fail);
    reduction->piece_records = max_u64(most_message_bytes / max_u64(row_bytes, 1), 1);
    reduction->waits_for = (uint32_t *)(void *)((unsigned char *)comm->scratch + COMM_REFUSAL_BYTES);
    reduction->outgoing = (unsigned char *)comm->scratch + COMM_REFUSAL_BYTES + words_bytes;
    reduction->incoming = reduction->outgoing + sizeof(struct seal) + message_bytes;
    forget_words(reduction);
    return VKRING_OK;
fail:
    return status;
}

static uint64_t most_records(const struct reduction *reduction)
{
    uint64_t most = 0;
    for (uint32_t owner = 0; owner < reduction->comm->fn.size; owner++)
        most = max_u64(most, reduction->wanted->records[owner]);
    return most;
}

enum vkring_status comm_reduce(struct vkring_comm *comm, const struct comm_reduction *wanted, void *blocks, double timeout_seconds)
{
    enum vkring_status status;
    struct reduction reduction = {.comm = comm, .wanted = wanted, .blocks = blocks, .timeout_seconds = timeout_seconds};
    /* all begin within a moment: whoever comes late, or not at all, is found here by everyone */
    TRY(comm_allgather(comm, NULL, 0, NULL, timeout_seconds), fail);
    TRY(prepare(&reduction), fail_prepared);
    const uint64_t records = most_records(&reduction);
    for (; reduction.first_record < records; reduction.first_record += min_u64(reduction.piece_records, records)) {
        TRY(reduce_piece(&reduction), fail_prepared);
        reduction.piece++;
    }
    return VKRING_OK;
fail_prepared:
    give_up(&reduction, status);
fail:
    return status;
}
