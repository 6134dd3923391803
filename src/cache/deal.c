/* SPDX-License-Identifier: MIT */
#include "deal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"

/* What a rank gives at a time. */
#define GIVEN_BYTES ((uint64_t)1 << 20)

/* Memory ------------------------------------------------------------------------------------------------------------------ */

uint64_t deal_most_rows(const struct deal_size *size)
{
    return size->ranks > 1 ? min_u64(max_u64(GIVEN_BYTES / size->row_bytes, 1), size->call_rows) : 0;
}

/* Even one row of each rank may go to the same. */
static uint64_t most_got(const struct deal_size *size)
{
    return size->ranks > 1 ? min_u64(max_u64(deal_most_rows(size), size->ranks), size->call_rows) : 0;
}

static uint64_t number_count(const struct deal_size *size)
{
    const uint64_t ranks = size->ranks;
    return ranks * ranks + 3 * ranks + 2;
}

uint64_t deal_bytes(const struct deal_size *size)
{
    return size->ranks > 1 ? number_count(size) * sizeof(uint64_t) + deal_most_rows(size) * size->row_bytes : 0;
}

uint64_t deal_got_bytes(const struct deal_size *size)
{
    return most_got(size) * size->row_bytes;
}

enum vkring_status deal_create(const struct deal_size *size, struct deal *out_deal)
{
    const uint64_t ranks = size->ranks;
    struct deal deal = {.size = *size, .most_rows = deal_most_rows(size)};
    if (ranks == 1)
        return VKRING_OK;
    deal.rows = calloc((size_t)number_count(size), sizeof(uint64_t));
    deal.block = malloc((size_t)(deal.most_rows * size->row_bytes) + 1);
    if (!deal.rows || !deal.block) {
        deal_destroy(&deal);
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for rows on their way to %" PRIu64 " ranks", ranks);
    }
    deal.given = deal.rows + ranks * ranks;
    deal.got = deal.given + ranks + 1;
    deal.next = deal.got + ranks + 1;
    *out_deal = deal;
    return VKRING_OK;
}

void deal_destroy(struct deal *deal)
{
    free(deal->rows);
    free(deal->block);
    *deal = (struct deal){0};
}

/* Pieces ------------------------------------------------------------------------------------------------------------------ */

/* Runs of decoding are shorter than there are ranks. */
static void count_run(struct vkring_cache *cache, uint32_t from, const struct cache_run *run)
{
    const uint64_t begin = cache->lengths[run->sequence] + run->index, end = begin + run->rows;
    uint64_t *rows = cache->deal.rows + (uint64_t)from * cache->ranks;
    for (uint64_t position = begin; position < min_u64(end, begin + cache->ranks); position++)
        rows[position % cache->ranks] += divide_up(end - position, cache->ranks);
}

static void count_piece(struct vkring_cache *cache, const struct deal_piece *piece)
{
    const uint64_t ranks = cache->ranks;
    struct cache_run run;
    memset(cache->deal.rows, 0, (size_t)(ranks * ranks) * sizeof(uint64_t));
    for (uint32_t rank = 0; rank < ranks; rank++)
        for (struct cache_runs runs = {.rank = rank, .next = piece->first, .end = piece->first + piece->count};
             cache_runs_next(&runs, cache, &run);)
            count_run(cache, rank, &run);
}

/* That any rank gets. */
static uint64_t most_got_of_piece(const struct deal *deal)
{
    const uint64_t ranks = deal->size.ranks;
    uint64_t most = 0;
    for (uint64_t to = 0; to < ranks; to++) {
        uint64_t sum = 0;
        for (uint64_t from = 0; from < ranks; from++)
            sum += deal->rows[from * ranks + to];
        most = max_u64(most, sum);
    }
    return most;
}

static void find_places(struct deal *deal, uint32_t rank)
{
    const uint64_t ranks = deal->size.ranks, bytes = deal->size.row_bytes;
    for (uint64_t peer = 0; peer < ranks; peer++) {
        deal->next[peer] = deal->given[peer];
        deal->given[peer + 1] = deal->given[peer] + deal->rows[rank * ranks + peer] * bytes;
        deal->got[peer + 1] = deal->got[peer] + deal->rows[peer * ranks + rank] * bytes;
    }
}

bool deal_piece_from(struct vkring_cache *cache, uint64_t first, struct deal_piece *out_piece)
{
    struct deal *deal = &cache->deal;
    const uint64_t all = cache->exchange.most_rows;
    if (first >= all)
        return false;
    *out_piece = (struct deal_piece){first, min_u64(deal->most_rows, all - first)};
    count_piece(cache, out_piece);
    while (most_got_of_piece(deal) > most_got(&deal->size)) {
        out_piece->count /= 2;
        count_piece(cache, out_piece);
    }
    find_places(deal, cache->rank);
    return true;
}

/* Rows -------------------------------------------------------------------------------------------------------------------- */

unsigned char *deal_place(struct deal *deal, uint64_t position)
{
    uint64_t *next = &deal->next[position % deal->size.ranks];
    unsigned char *place = deal->block + *next;
    *next += deal->size.row_bytes;
    return place;
}

/* Of any rank to another. */
static uint64_t most_travelling(const struct deal *deal)
{
    const uint64_t ranks = deal->size.ranks;
    uint64_t most = 0;
    for (uint64_t i = 0; i < ranks * ranks; i++)
        if (i / ranks != i % ranks)
            most = max_u64(most, deal->rows[i]);
    return most;
}

enum vkring_status deal_exchange(struct vkring_cache *cache, const unsigned char **out_rows)
{
    enum vkring_status status;
    const struct deal *deal = &cache->deal;
    const struct comm_shares shares = {deal->given, deal->got, most_travelling(deal) * deal->size.row_bytes};
    struct comm_gather gather;
    TRY(comm_exchange_start(cache->comm, deal->block, &shares, &gather), fail);
    TRY(comm_gather_wait(&gather, cache->timeout_seconds), fail);
    *out_rows = comm_gather_blocks(&gather);
    return VKRING_OK;
fail:
    cache->lost = true;
    return status;
}
