/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>

#include "../comm/comm.h"
#include "cache.h"
#include "merge.h"
#include "pass_keys.h"

struct attend {
    struct vkring_cache *cache;
    struct query_tensors queries; /* this rank's */
    struct key_tensors keys;
    uint64_t count; /* of its rows */
};

/* Arguments --------------------------------------------------------------------------------------------------------------- */

struct key_tensors cache_keys(const struct vkring_cache *cache)
{
    const struct shard *shards[] = {&cache->key, &cache->value};
    const uint64_t scales_bytes = cache->slots * sizeof(float);
    struct tensor_view views[2], scales[2];
    for (int i = 0; i < 2; i++) {
        views[i] = (struct tensor_view){
            .buffer = shards[i]->elements,
            .address = shards[i]->elements->address,
            .batch_stride = shards[i]->sequence_bytes,
            .row_stride = shards[i]->row_bytes,
            .head_stride = shards[i]->head_bytes,
        };
        scales[i] = (struct tensor_view){
            .buffer = shards[i]->scales,
            .address = shards[i]->scales->address,
            .batch_stride = cache->problem.kv_heads * scales_bytes,
            .row_stride = sizeof(float),
            .head_stride = scales_bytes,
        };
    }
    const struct tensor_view ids = {
        .buffer = cache->ids,
        .address = cache->ids->address,
        .batch_stride = cache->slots * sizeof(int32_t),
        .row_stride = sizeof(int32_t),
    };
    return (struct key_tensors){.key = views[0], .value = views[1], .key_scales = scales[0], .value_scales = scales[1], .ids = ids};
}

static enum vkring_status resolve_rows(struct attend *attend, const struct vkring_cache_attend_io *io)
{
    enum vkring_status status;
    const struct problem *problem = &attend->cache->problem;
    struct query_tensors *queries = &attend->queries;
    const uint64_t element_bytes = vkring_type_bytes(problem->type);
    const struct tensor_shape query = {"query", element_bytes, 1, attend->count, problem->heads, problem->head_dim};
    const struct tensor_shape output = {"output", element_bytes, 1, attend->count, problem->heads, problem->value_dim};
    const struct tensor_shape lse = {"lse", sizeof(float), 1, 1, problem->heads, attend->count};
    struct vkring_tensor packed_lse = {.buffer = io->lse.buffer, .offset_bytes = io->lse.offset_bytes};
    TRY(tensor_resolve(&io->query, &query, &queries->query), fail);
    TRY(tensor_resolve(&io->output, &output, &queries->output), fail);
    queries->query.batch_stride = queries->output.batch_stride = 0;
    TRY(tensor_check_distinct(&queries->output, &output), fail);
    if (io->lse.buffer)
        TRY(tensor_resolve_vector(&packed_lse, &lse, &queries->lse), fail);
    queries->rows = attend->count;
    return VKRING_OK;
fail:
    return status;
}

/* By positions. Rows that have one each are of one batch entry, whichever. */
static enum vkring_status resolve_bias(struct attend *attend, const struct vkring_cache_attend_io *io)
{
    struct problem problem = attend->cache->problem;
    const bool per_query = problem.bias.per_query;
    problem.bias.per_batch = problem.bias.per_batch && !per_query;
    const struct tensor_shape shape = tensors_bias_shape(&problem, "bias", per_query ? attend->count : 1, problem.kv_len);
    return problem.bias.present ? tensors_resolve_bias(&problem, &io->bias, &shape, &attend->queries.bias) : VKRING_OK;
}

static enum vkring_status resolve_modifiers(struct attend *attend, const struct vkring_cache_attend_io *io)
{
    enum vkring_status status;
    const struct problem *problem = &attend->cache->problem;
    const struct tensor_shape slopes = {"alibi_slopes", sizeof(float), 1, 1, 1, problem->heads};
    const struct tensor_shape sinks = {"sinks", sizeof(float), 1, 1, 1, problem->heads};
    const struct tensor_shape ids = {"segment_ids", sizeof(int32_t), 1, 1, 1, attend->count};
    if (problem->segment_ids)
        TRY(tensor_resolve_vector(&io->segment_ids, &ids, &attend->queries.ids), fail);
    if (problem->alibi)
        TRY(tensor_resolve_vector(&io->alibi_slopes, &slopes, &attend->queries.slopes), fail);
    if (problem->sinks)
        TRY(tensor_resolve_vector(&io->sinks, &sinks, &attend->queries.sinks), fail);
    TRY(resolve_bias(attend, io), fail);
    attend->queries.seed = io->seed;
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status resolve(struct attend *attend, const struct vkring_cache_attend_io *io)
{
    enum vkring_status status;
    struct vkring_cache *cache = attend->cache;
    TRY(cache_count_rows(cache, io->rows, &attend->count), fail);
    TRY(resolve_rows(attend, io), fail);
    TRY(resolve_modifiers(attend, io), fail);
    TRY(tensors_check_device(cache->device, &attend->queries, &attend->keys), fail);
    if (cache->comm)
        return VKRING_OK;
    TRY(tensors_check_near_heads(&attend->queries), fail);
    TRY(partial_prepare(&cache->partial, &attend->queries, &attend->keys), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status check_lengths(const struct vkring_cache *cache)
{
    for (uint64_t sequence = 0; sequence < cache->problem.batch; sequence++)
        if (cache_new_rows(cache, sequence) > cache->lengths[sequence])
            return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "sequence %" PRIu64 " has %" PRIu64 " rows and gets %" PRIu64 " queries",
                               sequence, cache->lengths[sequence], cache_new_rows(cache, sequence));
    return VKRING_OK;
}

/* Spans ------------------------------------------------------------------------------------------------------------------- */

typedef enum vkring_status (*span_visit)(struct partial *partial, const struct partial_span *span);

/* In dispatches of rows that there is room for. */
static enum vkring_status visit_whole(struct vkring_cache *cache, const struct partial_span *whole, span_visit visit)
{
    enum vkring_status status;
    const uint64_t most = cache->partial.most_rows;
    for (uint64_t done = 0; done < whole->rows; done += most) {
        struct partial_span span = *whole;
        span.position += done;
        span.row += done;
        span.rows = min_u64(whole->rows - done, most);
        TRY(visit(&cache->partial, &span), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

/* Own rows [first, first + count) of each rank, as far as it has them. */
struct piece {
    uint64_t first, count;
};

static uint64_t rows_in_piece(const struct vkring_cache *cache, const struct piece *piece, uint32_t rank)
{
    uint64_t rows = 0;
    for (uint64_t sequence = 0; sequence < cache->problem.batch; sequence++)
        rows += cache_rows_of_rank(cache, rank)[sequence];
    return rows > piece->first ? min_u64(rows - piece->first, piece->count) : 0;
}

static bool follows(const struct partial_span *span, const struct partial_span *whole)
{
    return whole->rows > 0 && span->sequence == whole->sequence && span->position == whole->position + whole->rows;
}

static struct partial_span span_at(const struct vkring_cache *cache, const struct cache_place *place)
{
    const uint64_t sequence = place->run.sequence, length = cache->lengths[sequence];
    return (struct partial_span){
        .sequence = sequence,
        .position = length - cache_new_rows(cache, sequence) + place->run.index,
        .row = place->row,
        .rows = place->run.rows,
        .keys = positions_of_rank(length, cache->rank, cache->ranks),
    };
}

/* Rows of several ranks that follow each other in their sequence are one span, which reads its keys once. */
static enum vkring_status visit_piece(struct vkring_cache *cache, const struct piece *piece, span_visit visit)
{
    enum vkring_status status;
    struct cache_line line = cache_line_start(cache, piece->first, piece->count);
    struct cache_place place;
    struct partial_span whole = {0};
    while (cache_line_next(&line, cache, &place)) {
        const struct partial_span span = span_at(cache, &place);
        if (follows(&span, &whole)) {
            whole.rows += span.rows;
        } else {
            TRY(visit_whole(cache, &whole, visit), fail);
            whole = span;
        }
    }
    TRY(visit_whole(cache, &whole, visit), fail);
    return VKRING_OK;
fail:
    return status;
}

static uint64_t count_sequences(const struct vkring_cache *cache)
{
    uint64_t count = 0;
    for (uint64_t sequence = 0; sequence < cache->problem.batch; sequence++)
        count += cache_new_rows(cache, sequence) > 0;
    return count;
}

/* Tables of segment ids are whole before anything reads them. */
static enum vkring_status write_tables(struct vkring_cache *cache, const struct piece *piece)
{
    enum vkring_status status;
    if (!cache->problem.segment_ids)
        return VKRING_OK;
    for (uint64_t sequence = 0; sequence < cache->problem.batch; sequence++)
        if (cache_new_rows(cache, sequence) > 0)
            partial_range_keys(&cache->partial, sequence, positions_of_rank(cache->lengths[sequence], cache->rank, cache->ranks));
    TRY(visit_piece(cache, piece, partial_range_queries), fail);
    vk_commands_barrier(cache->device, &cache->work.commands);
    TRY(visit_piece(cache, piece, partial_bound_queries), fail);
    vk_commands_barrier(cache->device, &cache->work.commands);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status attend_to_keys(struct attend *attend, const struct query_tensors *queries, const struct piece *piece)
{
    enum vkring_status status;
    struct vkring_cache *cache = attend->cache;
    partial_start(&cache->partial, &cache->work, queries, &attend->keys, count_sequences(cache));
    TRY(write_tables(cache, piece), fail);
    TRY(visit_piece(cache, piece, partial_add), fail);
    partial_finish(&cache->partial);
    return VKRING_OK;
fail:
    return status;
}

/* On one rank, from and to where the tensors are. */
static enum vkring_status attend_alone(struct attend *attend)
{
    enum vkring_status status;
    struct vkring_cache *cache = attend->cache;
    if (attend->count == 0)
        return VKRING_OK;
    TRY(device_work_begin(&cache->work), fail);
    TRY(attend_to_keys(attend, &attend->queries, &(struct piece){.count = attend->count}), fail);
    TRY(device_work_run(&cache->work), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Pieces ------------------------------------------------------------------------------------------------------------------ */

static struct tensor_view view_from(const struct tensor_view *view, uint64_t bytes)
{
    struct tensor_view moved = *view;
    moved.offset_bytes += bytes;
    moved.address += moved.address ? bytes : 0;
    return moved;
}

/* Whose results a piece has, owner after owner. */
static uint64_t count_piece(struct vkring_cache *cache, const struct piece *piece)
{
    struct gathered *gathered = &cache->gathered;
    uint64_t all = 0;
    for (uint32_t rank = 0; rank < cache->ranks; rank++) {
        const uint64_t rows = rows_in_piece(cache, piece, rank);
        gathered->starts[rank] = all;
        gathered->counts[rank] = rows * cache->problem.heads;
        all += rows;
    }
    return all;
}

/* Blocks of all ranks become one of all their rows, sequence after sequence. */
static uint64_t put_together(struct vkring_cache *cache, const struct piece *piece, const unsigned char *blocks)
{
    const struct row_parts parts = gathered_query_parts(&cache->problem, cache->gathered.columns);
    const uint64_t all = count_piece(cache, piece), block_bytes = row_parts_end(&parts, piece->count);
    unsigned char *queries = cache->gathered.queries.of_host->mapped;
    struct cache_line line = cache_line_start(cache, piece->first, piece->count);
    struct cache_place place;
    while (cache_line_next(&line, cache, &place)) {
        const unsigned char *block = blocks + place.rank * block_bytes;
        for (int part = 0; part < ROW_PARTS; part++)
            memcpy(queries + row_parts_offset(&parts, part, all) + place.row * parts.bytes[part],
                   block + row_parts_offset(&parts, part, piece->count) + (place.run.own - piece->first) * parts.bytes[part],
                   (size_t)(place.run.rows * parts.bytes[part]));
    }
    return all;
}

/* This rank's queries to all, and theirs into place. */
static enum vkring_status gather(struct attend *attend, const struct piece *piece, uint64_t *out_rows)
{
    enum vkring_status status;
    struct vkring_cache *cache = attend->cache;
    struct gathered *gathered = &cache->gathered;
    const uint64_t own = rows_in_piece(cache, piece, cache->rank);
    const struct row_parts parts = gathered_query_parts(&cache->problem, cache->gathered.columns);
    const uint64_t block_bytes = row_parts_end(&parts, piece->count);
    const unsigned char *blocks;
    if (own > 0) {
        struct query_tensors queries = attend->queries;
        queries.query = view_from(&queries.query, piece->first * queries.query.row_stride);
        queries.ids = view_from(&queries.ids, piece->first * queries.ids.row_stride);
        queries.bias = view_from(&queries.bias, piece->first * queries.bias.row_stride);
        TRY(device_work_begin(&cache->work), fail);
        gathered_record_queries(gathered, &cache->work, &queries, own, piece->count);
        TRY(device_work_run(&cache->work), fail);
        TRY(vk_buffer_invalidate(gathered->own, 0, block_bytes), fail);
    }
    TRY(cache_gather_piece(cache, gathered->own->mapped, block_bytes, &blocks), fail);
    *out_rows = put_together(cache, piece, blocks);
    return VKRING_OK;
fail:
    return status;
}

/* Of results of the piece's rows, back in the order of their owners. */
static enum vkring_status make_records(struct vkring_cache *cache, const struct piece *piece, uint64_t rows)
{
    enum vkring_status status;
    struct gathered *gathered = &cache->gathered;
    struct cache_line line = cache_line_start(cache, piece->first, piece->count);
    struct cache_place place;
    TRY(gathered_see_results(gathered), fail);
    while (cache_line_next(&line, cache, &place)) {
        const struct gathered_move move = {place.row, gathered->starts[place.rank] + place.run.own - piece->first, place.run.rows};
        gathered_make_records(gathered, rows, &move);
    }
    return VKRING_OK;
fail:
    return status;
}

/* What the queries of all ranks get of this rank's keys. */
static enum vkring_status attend_to_shard(struct attend *attend, const struct piece *piece, uint64_t rows)
{
    enum vkring_status status;
    struct vkring_cache *cache = attend->cache;
    struct gathered *gathered = &cache->gathered;
    struct query_tensors queries = gathered_tensors(gathered, rows);
    if (!cache->problem.bias.per_query)
        queries.bias = attend->queries.bias;
    queries.slopes = attend->queries.slopes;
    queries.sinks = attend->queries.sinks;
    queries.seed = attend->queries.seed;
    TRY(device_work_begin(&cache->work), fail);
    TRY(gathered_record_upload(gathered, &cache->work), fail);
    TRY(attend_to_keys(attend, &queries, piece), fail);
    gathered_record_download(gathered, &cache->work);
    TRY(device_work_run(&cache->work), fail);
    return make_records(cache, piece, rows);
fail:
    return status;
}

static void merge(void *context, void *into, const void *from, uint64_t records)
{
    const struct vkring_cache *cache = context;
    merge_records(cache->problem.value_dim, into, from, records);
}

static enum vkring_status reduce(struct vkring_cache *cache)
{
    const struct comm_reduction reduction = {
        .record_bytes = merge_record_floats(cache->problem.value_dim) * sizeof(float),
        .records = cache->gathered.counts,
        .merge = merge,
        .context = cache,
    };
    return comm_reduce(cache->comm, &reduction, cache->gathered.records, cache->timeout_seconds);
}

static enum vkring_status write_own(struct attend *attend, const struct piece *piece)
{
    enum vkring_status status;
    struct vkring_cache *cache = attend->cache;
    const uint64_t own = rows_in_piece(cache, piece, cache->rank);
    if (own == 0)
        return VKRING_OK;
    const struct tensor_view output = view_from(&attend->queries.output, piece->first * attend->queries.output.row_stride);
    const struct tensor_view lse = view_from(&attend->queries.lse, piece->first * sizeof(float));
    TRY(gathered_round(&cache->gathered, cache->gathered.starts[cache->rank], own), fail);
    TRY(device_work_begin(&cache->work), fail);
    gathered_record_outputs(&cache->gathered, &cache->work, &output, &lse, own);
    TRY(device_work_run(&cache->work), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Of those that get queries. */
static uint64_t longest_sequence(const struct vkring_cache *cache)
{
    uint64_t longest = 0;
    for (uint64_t sequence = 0; sequence < cache->problem.batch; sequence++)
        if (cache_new_rows(cache, sequence) > 0)
            longest = max_u64(longest, cache->lengths[sequence]);
    return longest;
}

static enum vkring_status attend_together(struct attend *attend)
{
    enum vkring_status status;
    struct vkring_cache *cache = attend->cache;
    const uint64_t most = cache->piece_rows, all = cache->exchange.most_rows;
    uint64_t rows;
    cache->gathered.columns = longest_sequence(cache);
    for (struct piece piece = {0}; piece.first < all; piece.first += piece.count) {
        piece.count = min_u64(most, all - piece.first);
        TRY(gather(attend, &piece, &rows), fail);
        TRY(attend_to_shard(attend, &piece, rows), fail);
        TRY(reduce(cache), fail);
        TRY(write_own(attend, &piece), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

static bool keys_travel(const struct vkring_cache *cache)
{
    if (!cache->comm || cache->pass == VKRING_CACHE_PASS_QUERIES)
        return false;
    return cache->pass == VKRING_CACHE_PASS_KEYS || pass_keys_pays(cache);
}

/* Plans know nothing of the call's semaphores. */
static enum vkring_status attend_by_keys(struct attend *attend, const struct vkring_cache_attend_io *io)
{
    enum vkring_status status;
    struct vkring_cache *cache = attend->cache;
    TRY(device_work_begin(&cache->work), fail);
    TRY(device_work_run(&cache->work), fail);
    TRY(pass_keys_attend(cache, io, &attend->queries), fail);
fail:
    return status;
}

static enum vkring_status run(struct attend *attend, const struct vkring_cache_attend_io *io)
{
    enum vkring_status status;
    struct vkring_cache *cache = attend->cache;
    vkring_buffer *const buffers[] = {io->query.buffer,
                                      io->output.buffer,
                                      io->lse.buffer,
                                      cache->problem.segment_ids ? io->segment_ids.buffer : NULL,
                                      cache->problem.bias.present ? io->bias.buffer : NULL,
                                      cache->problem.alibi ? io->alibi_slopes.buffer : NULL,
                                      cache->problem.sinks ? io->sinks.buffer : NULL};
    device_work_start(&cache->work, buffers, sizeof(buffers) / sizeof(buffers[0]));
    if (keys_travel(cache))
        TRY(attend_by_keys(attend, io), fail);
    else
        TRY(cache->comm ? attend_together(attend) : attend_alone(attend), fail);
    TRY(device_work_finish(&cache->work), fail);
    cache_count_sent(cache, &cache->attend_sent_bytes);
    return VKRING_OK;
fail:
    cache_break_off(cache);
    return status;
}

enum vkring_status vkring_cache_attend(vkring_cache *cache, const struct vkring_cache_attend_io *io)
{
    enum vkring_status status;
    struct attend attend = {.cache = cache, .keys = cache_keys(cache)};
    const struct cache_call call = {.kind = CACHE_CALL_ATTEND, .word = cache->problem.dropout > 0 ? io->seed : 0, .rows = io->rows};
    TRY(cache_check_usable(cache), fail);
    TRY(cache_agree(cache, &call, resolve(&attend, io)), fail);
    TRY(check_lengths(cache), fail);
    TRY(run(&attend, io), fail);
    return VKRING_OK;
fail:
    return status;
}
