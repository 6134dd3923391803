/* SPDX-License-Identifier: MIT */
/*
 * Sums over ranks, window after window of the elements: each rank adds up one part of a window (reduce-scatter) and gives it to all
 * (allgather). So an element crosses the network twice however many ranks there are, every rank does as much, and all get the bits of the
 * one that added.
 */
#include <vkring/sum.h>

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "../base/checked.h"
#include "../base/crc32c.h"
#include "../comm/comm.h"

#define WINDOW_ELEMENTS ((uint64_t)1 << 21)
#define DEFAULT_TIMEOUT_SECONDS 300.0

struct sum {
    vkring_comm *comm;
    const struct vkring_elements *list;
    uint64_t list_count, total;
    uint32_t rank, ranks;
    uint64_t part; /* elements of a window that a rank adds up, at most */
    double timeout_seconds;
    float *own, *others; /* [ranks][part] */
};

/* What ranks compare before anything moves. */
struct record {
    int64_t status;
    uint64_t total, list_count, counts_crc;
};

/* Where a walk over the elements is. */
struct cursor {
    uint64_t entry, at;
};

static enum vkring_status check_elements(const struct vkring_elements *elements, uint64_t entry)
{
    uint64_t bytes, end = 0;
    const bool fits = checked_multiply(elements->count, sizeof(float), &bytes) && checked_add(elements->offset_bytes, bytes, &end);
    const uint64_t size = elements->buffer ? vkring_buffer_size(elements->buffer) : 0;
    if (elements->count == 0)
        return VKRING_OK;
    if (!elements->buffer)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "elements %" PRIu64 " to be summed: buffer is null", entry);
    if (elements->offset_bytes % sizeof(float) != 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT,
                           "elements %" PRIu64 " to be summed: offset_bytes %" PRIu64 " is not a multiple of 4", entry,
                           elements->offset_bytes);
    if (!fits || end > size)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT,
                           "elements %" PRIu64 " to be summed: %" PRIu64 " leave their buffer of %" PRIu64 " bytes", entry, elements->count,
                           size);
    return VKRING_OK;
}

static enum vkring_status count_elements(struct sum *sum)
{
    enum vkring_status status;
    for (uint64_t i = 0; i < sum->list_count; i++) {
        TRY(check_elements(&sum->list[i], i), fail);
        if (!checked_add(sum->total, sum->list[i].count, &sum->total))
            return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "more than 2^64 elements to be summed");
    }
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status take_memory(struct sum *sum)
{
    enum vkring_status status;
    const uint64_t most = max_u64(WINDOW_ELEMENTS / sum->ranks, 1);
    sum->part = min_u64(divide_up(sum->total, sum->ranks), most);
    const size_t count = (size_t)max_u64(sum->part * sum->ranks, 1);
    sum->own = malloc(count * sizeof(float));
    sum->others = malloc(count * sizeof(float));
    if (!sum->own || !sum->others)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a window of %zu elements to be summed", count);
    TRY(comm_exchange_reserve(sum->comm, max_u64(sum->part * sizeof(float), sizeof(struct record))), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status prepare(struct sum *sum)
{
    enum vkring_status status;
    TRY(count_elements(sum), fail);
    if (sum->ranks > 1)
        TRY(take_memory(sum), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Together ------------------------------------------------------------------------------------------------------------------ */

static struct record describe(const struct sum *sum, enum vkring_status mine)
{
    struct record record = {.status = mine, .total = sum->total, .list_count = sum->list_count};
    for (uint64_t i = 0; mine == VKRING_OK && i < sum->list_count; i++)
        record.counts_crc = crc32c((uint32_t)record.counts_crc, &sum->list[i].count, sizeof(sum->list[i].count));
    return record;
}

static enum vkring_status fail_of_mismatch(const char *what, uint64_t here, uint64_t there, uint32_t rank)
{
    return status_fail_at(VKRING_ERROR_MISMATCH, rank, VKRING_NONE,
                          "ranks disagree on what to sum: %" PRIu64 " %s on rank 0, %" PRIu64 " on rank %" PRIu32, here, what, there, rank);
}

static enum vkring_status compare(const struct record *records, uint32_t ranks)
{
    for (uint32_t rank = 0; rank < ranks; rank++)
        if (records[rank].status != VKRING_OK)
            return status_fail_at(VKRING_ERROR_PEER, rank, VKRING_NONE, "rank %" PRIu32 " failed while preparing a sum: %s", rank,
                                  vkring_status_string((enum vkring_status)records[rank].status));
    for (uint32_t rank = 1; rank < ranks; rank++) {
        const struct record *here = &records[0], *there = &records[rank];
        if (here->list_count != there->list_count)
            return fail_of_mismatch("buffers", here->list_count, there->list_count, rank);
        if (here->total != there->total)
            return fail_of_mismatch("elements", here->total, there->total, rank);
        if (here->counts_crc != there->counts_crc)
            return status_fail_at(VKRING_ERROR_MISMATCH, rank, VKRING_NONE,
                                  "ranks disagree on what to sum: buffers of other lengths on rank 0 than on rank %" PRIu32, rank);
    }
    return VKRING_OK;
}

/* mine: how this rank's preparations went; that comes before what others say. */
static enum vkring_status agree(const struct sum *sum, enum vkring_status mine)
{
    enum vkring_status status;
    const struct vkring_error own = *vkring_last_error();
    const struct record record = describe(sum, mine);
    struct comm_gather gather;
    status = comm_gather_start(sum->comm, &record, sizeof(record), &gather);
    if (status == VKRING_OK)
        status = comm_gather_wait(&gather, sum->timeout_seconds);
    if (status == VKRING_OK)
        status = compare(comm_gather_blocks(&gather), sum->ranks);
    if (mine != VKRING_OK)
        return status_fail_at(mine, own.rank, own.step, "%s", own.message);
    return status;
}

/* Windows ------------------------------------------------------------------------------------------------------------------- */

static enum vkring_status copy(const struct vkring_elements *elements, uint64_t at, float *values, uint64_t count, bool back)
{
    const uint64_t offset = elements->offset_bytes + at * sizeof(float), bytes = count * sizeof(float);
    return back ? vkring_buffer_upload(elements->buffer, offset, values, bytes)
                : vkring_buffer_download(elements->buffer, offset, values, bytes);
}

/* The next count elements of the list, to values or back. */
static enum vkring_status walk(const struct sum *sum, struct cursor *cursor, float *values, uint64_t count, bool back)
{
    enum vkring_status status;
    while (count > 0) {
        const struct vkring_elements *elements = &sum->list[cursor->entry];
        const uint64_t here = min_u64(count, elements->count - cursor->at);
        if (here > 0)
            TRY(copy(elements, cursor->at, values, here, back), fail);
        values += here;
        count -= here;
        cursor->at += here;
        if (cursor->at == elements->count)
            *cursor = (struct cursor){.entry = cursor->entry + 1};
    }
    return VKRING_OK;
fail:
    return status;
}

/* What all ranks gave of this one's part, to the first of them. */
static void add_up(struct sum *sum, uint64_t part)
{
    for (uint64_t i = 0; i < part; i++) {
        double total = (double)sum->others[i];
        for (uint32_t rank = 1; rank < sum->ranks; rank++)
            total += (double)sum->others[rank * part + i];
        sum->others[i] = (float)total;
    }
}

/* A failure of this rank's device, of which only it knows. */
static enum vkring_status give_up(const struct sum *sum, enum vkring_status mine)
{
    const struct vkring_error own = *vkring_last_error();
    struct vkring_error told = own;
    told.rank = sum->rank;
    comm_refuse(sum->comm, &told);
    sum->comm->failed = true;
    return status_fail_at(mine, own.rank, own.step, "%s", own.message);
}

static enum vkring_status sum_window(struct sum *sum, struct cursor *from, struct cursor *to, uint64_t count)
{
    enum vkring_status status;
    const uint64_t part = divide_up(count, sum->ranks);
    for (uint64_t i = count; i < part * sum->ranks; i++)
        sum->own[i] = 0;
    TRY(walk(sum, from, sum->own, count, false), fail_here);
    TRY(comm_exchange(sum->comm, sum->own, part * sizeof(float), sum->others, sum->timeout_seconds), fail);
    add_up(sum, part);
    TRY(comm_allgather(sum->comm, sum->others, part * sizeof(float), sum->own, sum->timeout_seconds), fail);
    TRY(walk(sum, to, sum->own, count, true), fail_here);
    return VKRING_OK;
fail_here:
    return give_up(sum, status);
fail:
    return status;
}

static enum vkring_status sum_windows(struct sum *sum)
{
    enum vkring_status status;
    struct cursor from = {0}, to = {0};
    uint64_t count;
    for (uint64_t done = 0; done < sum->total; done += count) {
        count = min_u64(sum->total - done, sum->part * sum->ranks);
        TRY(sum_window(sum, &from, &to, count), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_buffers_sum(vkring_comm *comm, uint64_t list_count, const struct vkring_elements *elements,
                                      double timeout_seconds)
{
    enum vkring_status status;
    const bool is_deadline = isfinite(timeout_seconds) && timeout_seconds >= 0;
    struct sum sum = {
        .comm = comm,
        .list = elements,
        .list_count = list_count,
        .rank = comm ? vkring_comm_rank(comm) : 0,
        .ranks = comm ? vkring_comm_size(comm) : 1,
        .timeout_seconds = is_deadline && timeout_seconds > 0 ? timeout_seconds : DEFAULT_TIMEOUT_SECONDS,
    };
    if (comm && comm->in_run)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "nothing can be summed while a run is under way on the communicator");
    status = is_deadline ? prepare(&sum) : status_fail(VKRING_ERROR_INVALID_ARGUMENT, "timeout_seconds is negative or not finite");
    if (sum.ranks > 1) {
        TRY(agree(&sum, status), fail);
        TRY(sum_windows(&sum), fail);
    }
fail:
    free(sum.own);
    free(sum.others);
    return status;
}
