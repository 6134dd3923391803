/* SPDX-License-Identifier: MIT */
#include "exchange.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "row_parts.h"

/* What all ranks together give to a piece, and what one gives at least and at most. */
#define PIECE_BYTES ((uint64_t)8 << 20)
#define LEAST_BLOCK_BYTES ((uint64_t)64 << 10)
#define MOST_BLOCK_BYTES ((uint64_t)2 << 20)

/* Memory ------------------------------------------------------------------------------------------------------------------ */

static uint64_t word_count_of(const struct exchange_size *size)
{
    return EXCHANGE_FIELDS + 2 * size->batch;
}

uint64_t exchange_piece_rows(const struct exchange_size *size)
{
    const uint64_t most = max_u64(min_u64(PIECE_BYTES / size->ranks, MOST_BLOCK_BYTES), LEAST_BLOCK_BYTES);
    if (size->ranks == 1 || size->row_bytes == 0)
        return 0;
    return min_u64(max_u64(most / size->row_bytes, 1), size->most_rows);
}

uint64_t exchange_bytes(const struct exchange_size *size)
{
    const uint64_t words = (1 + (uint64_t)size->ranks) * word_count_of(size) + size->ranks * (size->batch + 1) + size->batch + 1;
    const uint64_t rows = exchange_piece_rows(size), block_bytes = rows > 0 ? rows * size->row_bytes + ROW_PARTS_SLACK : 0;
    return words * sizeof(uint64_t) + max_u64(size->ranks * block_bytes, size->dealt_bytes);
}

enum vkring_status exchange_create(const struct exchange_size *size, struct exchange *out_exchange)
{
    struct exchange exchange = {
        .batch = size->batch,
        .word_count = word_count_of(size),
        .words = calloc((size_t)((1 + (uint64_t)size->ranks) * word_count_of(size)), sizeof(uint64_t)),
        .before = calloc((size_t)(size->ranks * size->batch + 1), sizeof(uint64_t)),
        .starts = calloc((size_t)(size->batch + 1), sizeof(uint64_t)),
        .passed = calloc(size->ranks, sizeof(uint64_t)),
    };
    if (!exchange.words || !exchange.before || !exchange.starts || !exchange.passed) {
        exchange_destroy(&exchange);
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for what %" PRIu32 " ranks tell each other", size->ranks);
    }
    *out_exchange = exchange;
    return VKRING_OK;
}

void exchange_destroy(struct exchange *exchange)
{
    free(exchange->words);
    free(exchange->before);
    free(exchange->starts);
    free(exchange->passed);
    *exchange = (struct exchange){0};
}

/* Agreement --------------------------------------------------------------------------------------------------------------- */

static uint64_t *own_words(const struct exchange *exchange)
{
    return exchange->words;
}

static uint64_t *words_of(const struct exchange *exchange, uint32_t rank)
{
    return exchange->words + (1 + (uint64_t)rank) * exchange->word_count;
}

/* The own words to all. */
static enum vkring_status tell(struct exchange *exchange, vkring_comm *comm, double timeout_seconds)
{
    const uint64_t bytes = exchange->word_count * sizeof(uint64_t);
    if (comm)
        return comm_allgather(comm, own_words(exchange), bytes, words_of(exchange, 0), timeout_seconds);
    memcpy(words_of(exchange, 0), own_words(exchange), (size_t)bytes);
    return VKRING_OK;
}

/* The first rank whose word differs from that of rank 0; 0 if none does. */
static uint32_t find_other(const struct exchange *exchange, uint32_t ranks, uint64_t word)
{
    for (uint32_t rank = 1; rank < ranks; rank++)
        if (words_of(exchange, rank)[word] != words_of(exchange, 0)[word])
            return rank;
    return 0;
}

static enum vkring_status compare(const struct exchange *exchange, uint32_t ranks, uint64_t word, const char *name)
{
    const uint32_t other = find_other(exchange, ranks, word);
    if (other == 0)
        return VKRING_OK;
    return status_fail_at(VKRING_ERROR_MISMATCH, other, VKRING_NONE, "ranks disagree on %s: %" PRIu64 " on rank 0, %" PRIu64 " on rank %u",
                          name, words_of(exchange, 0)[word], words_of(exchange, other)[word], other);
}

enum vkring_status exchange_compare(struct exchange *exchange, vkring_comm *comm, const char *const names[EXCHANGE_FIELDS],
                                    const uint64_t numbers[EXCHANGE_FIELDS], double timeout_seconds)
{
    enum vkring_status status;
    memcpy(own_words(exchange), numbers, EXCHANGE_FIELDS * sizeof(*numbers));
    TRY(tell(exchange, comm, timeout_seconds), fail);
    for (uint64_t i = 0; comm && i < EXCHANGE_FIELDS; i++)
        TRY(compare(exchange, vkring_comm_size(comm), i, names[i]), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status cache_count_rows(const struct vkring_cache *cache, const uint64_t *rows, uint64_t *out_count)
{
    uint64_t count = 0;
    for (uint64_t sequence = 0; sequence < cache->problem.batch; sequence++)
        if (!checked_add(count, rows[sequence], &count))
            return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the rows of all sequences are more than 2^64");
    *out_count = count;
    return VKRING_OK;
}

enum vkring_status cache_check_usable(const struct vkring_cache *cache)
{
    if (cache->lost)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the cache broke off in an earlier call and can only be destroyed");
    if (cache->comm && cache->comm->in_run)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "a cache cannot be used while a run is under way on its communicator");
    return VKRING_OK;
}

static void write_words(struct vkring_cache *cache, const struct cache_call *call, enum vkring_status mine)
{
    const struct exchange *exchange = &cache->exchange;
    const size_t bytes = (size_t)exchange->batch * sizeof(uint64_t);
    uint64_t *words = own_words(exchange), *lengths = words + EXCHANGE_FIELDS, *rows = lengths + exchange->batch;
    words[EXCHANGE_KIND] = call->kind;
    words[EXCHANGE_CACHE] = cache->id;
    words[EXCHANGE_WORD] = call->word;
    words[EXCHANGE_STATUS] = (uint64_t)(int64_t)mine;
    memcpy(lengths, cache->lengths, bytes);
    if (mine == VKRING_OK)
        memcpy(rows, call->rows, bytes);
    else
        memset(rows, 0, bytes);
}

static enum vkring_status check_peers(const struct vkring_cache *cache)
{
    for (uint32_t rank = 0; rank < cache->ranks; rank++) {
        const enum vkring_status its = (enum vkring_status)(int64_t)words_of(&cache->exchange, rank)[EXCHANGE_STATUS];
        if (its != VKRING_OK)
            return status_fail_at(VKRING_ERROR_PEER, rank, VKRING_NONE, "rank %u refused a call of the cache: %s", rank,
                                  vkring_status_string(its));
    }
    return VKRING_OK;
}

static enum vkring_status check_lengths(const struct vkring_cache *cache)
{
    for (uint64_t sequence = 0; sequence < cache->exchange.batch; sequence++) {
        const uint64_t word = EXCHANGE_FIELDS + sequence;
        const uint32_t other = find_other(&cache->exchange, cache->ranks, word);
        if (other)
            return status_fail_at(VKRING_ERROR_MISMATCH, other, VKRING_NONE,
                                  "ranks disagree on the length of sequence %" PRIu64 ": %" PRIu64 " on rank 0, %" PRIu64 " on rank %u",
                                  sequence, words_of(&cache->exchange, 0)[word], words_of(&cache->exchange, other)[word], other);
    }
    return VKRING_OK;
}

static enum vkring_status check_calls(const struct vkring_cache *cache)
{
    enum vkring_status status;
    const struct exchange *exchange = &cache->exchange;
    TRY(compare(exchange, cache->ranks, EXCHANGE_CACHE, "which cache is called"), fail);
    TRY(compare(exchange, cache->ranks, EXCHANGE_KIND, "the call of the cache (1: append, 2: attend)"), fail);
    TRY(compare(exchange, cache->ranks, EXCHANGE_WORD, "the seed"), fail);
    TRY(check_lengths(cache), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Fills in what follows from the rows of all ranks. */
static enum vkring_status count_rows(struct vkring_cache *cache)
{
    struct exchange *exchange = &cache->exchange;
    exchange->most_rows = 0;
    for (uint64_t sequence = 0; sequence < exchange->batch; sequence++) {
        uint64_t sum = 0;
        for (uint32_t rank = 0; rank < cache->ranks; rank++) {
            exchange->before[rank * exchange->batch + sequence] = sum;
            if (!checked_add(sum, cache_rows_of_rank(cache, rank)[sequence], &sum) || sum > cache->problem.q_len)
                return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "sequence %" PRIu64 " gets more than q_len = %" PRIu64 " rows", sequence,
                                   cache->problem.q_len);
        }
        exchange->starts[sequence + 1] = exchange->starts[sequence] + sum;
    }
    for (uint32_t rank = 0; rank < cache->ranks; rank++) {
        uint64_t rows = 0;
        for (uint64_t sequence = 0; sequence < exchange->batch; sequence++)
            rows += cache_rows_of_rank(cache, rank)[sequence];
        exchange->most_rows = max_u64(exchange->most_rows, rows);
    }
    return VKRING_OK;
}

enum vkring_status cache_agree(struct vkring_cache *cache, const struct cache_call *call, enum vkring_status mine)
{
    enum vkring_status status;
    const struct vkring_error own = *vkring_last_error();
    write_words(cache, call, mine);
    cache->sent_before = cache->comm ? cache->comm->sent_bytes : 0;
    status = tell(&cache->exchange, cache->comm, cache->timeout_seconds);
    if (status != VKRING_OK)
        cache->lost = true;
    if (mine != VKRING_OK)
        return status_fail_at(mine, own.rank, own.step, "%s", own.message);
    if (status != VKRING_OK)
        return status;
    TRY(check_peers(cache), fail);
    TRY(check_calls(cache), fail);
    TRY(count_rows(cache), fail);
    return VKRING_OK;
fail:
    return status;
}

void cache_break_off(struct vkring_cache *cache)
{
    const struct vkring_error own = *vkring_last_error();
    struct vkring_error told = own;
    cache->lost = true;
    if (!cache->comm || cache->comm->failed)
        return;
    told.rank = cache->rank;
    comm_refuse(cache->comm, &told);
    cache->comm->failed = true;
    status_fail_at(own.status, own.rank, own.step, "%s", own.message);
}

const uint64_t *cache_rows_of_rank(const struct vkring_cache *cache, uint32_t rank)
{
    return words_of(&cache->exchange, rank) + EXCHANGE_FIELDS + cache->exchange.batch;
}

uint64_t cache_new_rows(const struct vkring_cache *cache, uint64_t sequence)
{
    return cache->exchange.starts[sequence + 1] - cache->exchange.starts[sequence];
}

void cache_count_sent(const struct vkring_cache *cache, uint64_t *bytes)
{
    if (cache->comm)
        *bytes += cache->comm->sent_bytes - cache->sent_before;
}

/* Rows -------------------------------------------------------------------------------------------------------------------- */

bool cache_runs_next(struct cache_runs *runs, const struct vkring_cache *cache, struct cache_run *out_run)
{
    const uint64_t batch = cache->exchange.batch, *rows = cache_rows_of_rank(cache, runs->rank);
    while (runs->sequence < batch && runs->passed + rows[runs->sequence] <= runs->next)
        runs->passed += rows[runs->sequence++];
    if (runs->sequence == batch || runs->next >= runs->end)
        return false;
    const uint64_t of_sequence = runs->next - runs->passed;
    *out_run = (struct cache_run){
        .sequence = runs->sequence,
        .own = runs->next,
        .index = cache->exchange.before[runs->rank * batch + runs->sequence] + of_sequence,
        .rows = min_u64(rows[runs->sequence] - of_sequence, runs->end - runs->next),
    };
    runs->next += out_run->rows;
    return true;
}

struct cache_line cache_line_start(struct vkring_cache *cache, uint64_t first, uint64_t count)
{
    memset(cache->exchange.passed, 0, cache->ranks * sizeof(*cache->exchange.passed));
    return (struct cache_line){.first = first, .count = count};
}

/* Of a rank's rows of a sequence, those in the line. */
static struct cache_run run_in_line(const struct cache_line *line, const struct vkring_cache *cache)
{
    const uint64_t batch = cache->exchange.batch, begin = cache->exchange.passed[line->rank];
    const uint64_t end = begin + cache_rows_of_rank(cache, line->rank)[line->sequence];
    const uint64_t first = max_u64(begin, line->first), past = min_u64(end, line->first + line->count);
    return (struct cache_run){
        .sequence = line->sequence,
        .own = first,
        .index = cache->exchange.before[line->rank * batch + line->sequence] + first - begin,
        .rows = past > first ? past - first : 0,
    };
}

static void step(struct cache_line *line, struct vkring_cache *cache)
{
    cache->exchange.passed[line->rank] += cache_rows_of_rank(cache, line->rank)[line->sequence];
    line->rank++;
    if (line->rank == cache->ranks) {
        line->rank = 0;
        line->sequence++;
    }
}

bool cache_line_next(struct cache_line *line, struct vkring_cache *cache, struct cache_place *out_place)
{
    while (line->sequence < cache->exchange.batch) {
        *out_place = (struct cache_place){run_in_line(line, cache), line->rank, line->row};
        step(line, cache);
        line->row += out_place->run.rows;
        if (out_place->run.rows > 0)
            return true;
    }
    return false;
}

enum vkring_status cache_gather_piece(struct vkring_cache *cache, const void *mine, uint64_t block_bytes, const unsigned char **out_blocks)
{
    enum vkring_status status;
    struct comm_gather gather;
    TRY(comm_gather_start(cache->comm, mine, block_bytes, &gather), fail);
    TRY(comm_gather_wait(&gather, cache->timeout_seconds), fail);
    *out_blocks = comm_gather_blocks(&gather);
    return VKRING_OK;
fail:
    cache->lost = true;
    return status;
}
