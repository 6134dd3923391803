/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

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

/* A row of a block of some rows becomes the next of those that are to be stored. */
static void keep_row(struct store *store, const unsigned char *block, uint64_t block_rows, uint64_t row)
{
    const struct row_parts parts = store_row_parts(&store->size);
    unsigned char *rows = store->rows->mapped;
    for (int part = STORE_PART_ROW; part <= STORE_PART_ID; part++) {
        const uint64_t bytes = parts.bytes[part];
        memcpy(rows + row_parts_offset(&parts, part, store->size.rows) + store->count * bytes,
               block + row_parts_offset(&parts, part, block_rows) + row * bytes, (size_t)bytes);
    }
}

/* Of the rows of a run, which begin at row `first` of a block, those whose positions lie on this rank. */
static enum vkring_status keep_of_run(struct vkring_cache *cache, const struct cache_run *run, const unsigned char *block,
                                      uint64_t block_rows, uint64_t first)
{
    enum vkring_status status;
    struct store *store = &cache->store;
    const uint64_t begin = cache->lengths[run->sequence] + run->index;
    for (uint64_t position = positions_next(begin, cache->rank, cache->ranks); position < begin + run->rows; position += cache->ranks) {
        if (store->count == store->size.rows)
            TRY(store_gathered(cache), fail);
        keep_row(store, block, block_rows, first + position - begin);
        enter(cache, run->sequence, position);
    }
    return VKRING_OK;
fail:
    return status;
}

/* Of own rows [first, first + count) of each rank. */
static enum vkring_status keep_of_piece(struct vkring_cache *cache, const unsigned char *blocks, uint64_t first, uint64_t count)
{
    enum vkring_status status;
    const struct row_parts parts = store_row_parts(&cache->store.size);
    const uint64_t block_bytes = row_parts_end(&parts, count);
    struct cache_run run;
    for (uint32_t rank = 0; rank < cache->ranks; rank++)
        for (struct cache_runs runs = {.rank = rank, .next = first, .end = first + count}; cache_runs_next(&runs, cache, &run);)
            TRY(keep_of_run(cache, &run, blocks + rank * block_bytes, count, run.own - first), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status gather_and_store(struct append *append)
{
    enum vkring_status status;
    struct vkring_cache *cache = append->cache;
    struct store *store = &cache->store;
    const struct row_parts parts = store_row_parts(&store->size);
    const uint64_t all = cache->exchange.most_rows;
    const unsigned char *blocks;
    uint64_t count;
    for (uint64_t first = 0; first < all; first += count) {
        count = min_u64(store->size.packed_rows, all - first);
        if (first < append->count) {
            const struct store_rows rows = store_rows_from(&append->rows, first);
            TRY(store_pack(store, &cache->work, &rows, min_u64(count, append->count - first), count), fail);
        }
        TRY(cache_gather_piece(cache, store->packed->mapped, row_parts_end(&parts, count), &blocks), fail);
        TRY(keep_of_piece(cache, blocks, first, count), fail);
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
    TRY(cache->comm ? gather_and_store(append) : store_own(append), fail);
    TRY(device_work_finish(&cache->work), fail);
    for (uint64_t sequence = 0; sequence < cache->problem.batch; sequence++)
        cache->lengths[sequence] += cache_new_rows(cache, sequence);
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
