/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "cache.h"

struct append {
    struct vkring_cache *cache;
    struct store_rows rows; /* this rank's */
    uint64_t count;
};

static enum vkring_status resolve(struct append *append, const struct vkring_cache_append_io *io)
{
    enum vkring_status status;
    struct vkring_cache *cache = append->cache;
    const struct problem *problem = &cache->problem;
    const uint64_t element_bytes = vkring_type_bytes(problem->type);
    TRY(cache_count_rows(cache, io->rows, &append->count), fail);
    const struct tensor_shape key_shape = {"key", element_bytes, 1, append->count, problem->kv_heads, problem->head_dim};
    const struct tensor_shape value_shape = {"value", element_bytes, 1, append->count, problem->kv_heads, problem->value_dim};
    const struct tensor_shape ids_shape = {"segment_ids", sizeof(int32_t), 1, 1, 1, append->count};
    TRY(tensor_resolve(&io->key, &key_shape, &append->rows.key), fail);
    TRY(tensor_resolve(&io->value, &value_shape, &append->rows.value), fail);
    if (problem->segment_ids)
        TRY(tensor_resolve_vector(&io->segment_ids, &ids_shape, &append->rows.ids), fail);
    TRY(tensor_check_device(&append->rows.key, "key", cache->device), fail);
    TRY(tensor_check_device(&append->rows.value, "value", cache->device), fail);
    TRY(tensor_check_device(&append->rows.ids, "segment_ids", cache->device), fail);
    append->rows.key.batch_stride = append->rows.value.batch_stride = 0; /* of one batch entry, which may be as long as it likes */
    if (!cache->comm)
        TRY(store_prepare(&cache->store, cache->device, &append->rows), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status check_room(const struct vkring_cache *cache)
{
    const uint64_t capacity = cache->problem.kv_len;
    for (uint64_t sequence = 0; sequence < cache->problem.batch; sequence++)
        if (cache_new_rows(cache, sequence) > capacity - cache->lengths[sequence])
            return status_fail(VKRING_ERROR_CACHE_FULL,
                               "sequence %" PRIu64 " has %" PRIu64 " rows of at most %" PRIu64 " and gets %" PRIu64, sequence,
                               cache->lengths[sequence], capacity, cache_new_rows(cache, sequence));
    return VKRING_OK;
}

/* The next row of the table is to lie there. */
static void enter(struct vkring_cache *cache, uint64_t sequence, uint64_t position)
{
    const uint64_t slot = position / cache->ranks;
    store_enter(&cache->store, sequence * cache->problem.kv_heads * cache->slots + slot, sequence * cache->slots + slot);
}

/* On one rank, from where the tensors are. */
static enum vkring_status store_own(struct append *append)
{
    enum vkring_status status;
    struct vkring_cache *cache = append->cache;
    struct cache_run run;
    for (uint64_t first = 0; first < append->count; first += cache->store.size.rows) {
        const struct store_rows rows = store_rows_from(&append->rows, first);
        struct cache_runs runs = {.next = first, .end = min_u64(first + cache->store.size.rows, append->count)};
        while (cache_runs_next(&runs, cache, &run))
            for (uint64_t i = 0; i < run.rows; i++)
                enter(cache, run.sequence, cache->lengths[run.sequence] + run.index + i);
        TRY(store_run(&cache->store, &cache->work, &rows, &cache->key, &cache->value, cache->ids), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status store_gathered(struct vkring_cache *cache)
{
    const struct store_rows rows = store_packed_rows(&cache->store, cache->store.rows, cache->store.size.rows);
    return store_run(&cache->store, &cache->work, &rows, &cache->key, &cache->value, cache->ids);
}

/* Packed rows of a piece to where those for each rank lie. */
static void deal_packed(struct vkring_cache *cache, const struct deal_piece *piece, uint64_t count)
{
    const struct row_parts parts = store_row_parts(&cache->store.size);
    const unsigned char *packed = cache->store.packed->mapped;
    struct cache_runs runs = {.rank = cache->rank, .next = piece->first, .end = piece->first + count};
    struct cache_run run;
    while (cache_runs_next(&runs, cache, &run))
        for (uint64_t i = 0; i < run.rows; i++) {
            unsigned char *row = deal_place(&cache->deal, cache->lengths[run.sequence] + run.index + i);
            row_parts_take(&parts, packed, count, run.own - piece->first + i, row);
        }
}

/* This rank's. */
static enum vkring_status deal_own(struct append *append, const struct deal_piece *piece)
{
    enum vkring_status status;
    struct vkring_cache *cache = append->cache;
    const uint64_t count = piece->first < append->count ? min_u64(piece->count, append->count - piece->first) : 0;
    const struct store_rows rows = store_rows_from(&append->rows, piece->first);
    TRY(store_pack(&cache->store, &cache->work, &rows, count), fail);
    deal_packed(cache, piece, count);
    return VKRING_OK;
fail:
    return status;
}

/* Of the rows of a run, those whose positions lie on this rank, which come one behind the other. */
static enum vkring_status keep_of_run(struct vkring_cache *cache, const struct cache_run *run, const unsigned char **row)
{
    enum vkring_status status;
    struct store *store = &cache->store;
    const struct row_parts parts = store_row_parts(&store->size);
    const uint64_t begin = cache->lengths[run->sequence] + run->index;
    for (uint64_t position = positions_next(begin, cache->rank, cache->ranks); position < begin + run->rows; position += cache->ranks) {
        if (store->count == store->size.rows)
            TRY(store_gathered(cache), fail);
        row_parts_put(&parts, *row, store->rows->mapped, store->size.rows, store->count);
        enter(cache, run->sequence, position);
        *row += row_parts_sum(&parts);
    }
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status keep_of_piece(struct vkring_cache *cache, const struct deal_piece *piece, const unsigned char *rows)
{
    enum vkring_status status;
    struct cache_run run;
    for (uint32_t rank = 0; rank < cache->ranks; rank++) {
        const unsigned char *row = rows + cache->deal.got[rank];
        struct cache_runs runs = {.rank = rank, .next = piece->first, .end = piece->first + piece->count};
        while (cache_runs_next(&runs, cache, &run))
            TRY(keep_of_run(cache, &run, &row), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status deal_and_store(struct append *append)
{
    enum vkring_status status;
    struct vkring_cache *cache = append->cache;
    struct deal_piece piece;
    const unsigned char *rows;
    for (uint64_t first = 0; deal_piece_from(cache, first, &piece); first += piece.count) {
        TRY(deal_own(append, &piece), fail);
        TRY(deal_exchange(cache, &rows), fail);
        TRY(keep_of_piece(cache, &piece, rows), fail);
    }
    TRY(store_gathered(cache), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status run(struct append *append, const struct vkring_cache_append_io *io)
{
    enum vkring_status status;
    struct vkring_cache *cache = append->cache;
    vkring_buffer *const buffers[] = {io->key.buffer, io->value.buffer, cache->problem.segment_ids ? io->segment_ids.buffer : NULL};
    device_work_start(&cache->work, buffers, sizeof(buffers) / sizeof(buffers[0]));
    TRY(cache->comm ? deal_and_store(append) : store_own(append), fail);
    TRY(device_work_finish(&cache->work), fail);
    for (uint64_t sequence = 0; sequence < cache->problem.batch; sequence++)
        cache->lengths[sequence] += cache_new_rows(cache, sequence);
    cache_count_sent(cache, &cache->append_sent_bytes);
    return VKRING_OK;
fail:
    cache_break_off(cache);
    return status;
}

enum vkring_status vkring_cache_append(vkring_cache *cache, const struct vkring_cache_append_io *io)
{
    enum vkring_status status;
    struct append append = {.cache = cache};
    const struct cache_call call = {.kind = CACHE_CALL_APPEND, .rows = io->rows};
    TRY(cache_check_usable(cache), fail);
    TRY(cache_agree(cache, &call, resolve(&append, io)), fail);
    TRY(check_room(cache), fail);
    TRY(run(&append, io), fail);
    return VKRING_OK;
fail:
    return status;
}
