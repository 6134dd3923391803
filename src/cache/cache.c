/* SPDX-License-Identifier: MIT */
#include "cache.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../ring/agree.h"
#include "../ring/plan.h"
#include "pass_probe.h"

#define DEFAULT_DISPATCH_SECONDS 0.1
/* What ranks tell each other grows with it. */
#define MOST_SEQUENCES ((uint64_t)1 << 24)
#define MOST_ROW_BYTES ((uint64_t)1 << 27)
/* Kernels find rows of a bias from one address with 32 bits. */
#define MOST_BIAS_ELEMENTS (((uint64_t)1 << 24) - 1)
/* Of rows that are stored at a time. */
#define STORE_BYTES ((uint64_t)2 << 20)
#define STORE_ROWS ((uint64_t)4096)
/* Of query rows that are attended at a time: on one rank, and at least. */
#define ATTEND_BYTES ((uint64_t)8 << 20)
#define ATTEND_LEAST_ROWS ((uint64_t)64)

/* Parameters -------------------------------------------------------------------------------------------------------------- */

static enum vkring_status check_attention(const vkring_device *device, const struct vkring_plan_params *params)
{
    if (params->backward)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "a cache has no backward");
    if (params->has_query_offset)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "a cache has no query_offset: queries are the last rows of their sequence");
    if (params->layout != VKRING_LAYOUT_CONTIGUOUS || params->has_key_layout || params->query_rows_of_rank || params->key_rows_of_rank)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "a cache has no layout and no rows of ranks");
    if (params->batch > MOST_SEQUENCES)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "batch is %" PRIu64 ", above 2^24 for a cache", params->batch);
    if ((params->type == VKRING_TYPE_F16 || params->type == VKRING_TYPE_BF16) && !device->limits.storage_16bit)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "%s has no 16-bit storage for f16 and bf16 tensors", device->info.name);
    return VKRING_OK;
}

static enum vkring_status check_choices(const struct vkring_cache_params *params)
{
    if (params->storage != VKRING_CACHE_AS_TYPE && params->storage != VKRING_CACHE_INT8)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "storage %d is unknown", (int)params->storage);
    if (params->pass != VKRING_CACHE_PASS_AUTO && params->pass != VKRING_CACHE_PASS_QUERIES && params->pass != VKRING_CACHE_PASS_KEYS)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "pass %d is unknown", (int)params->pass);
    return VKRING_OK;
}

/* As of tensors. */
static enum vkring_status check_rows(const struct problem *problem)
{
    const uint64_t dim = max_u64(problem->head_dim, problem->value_dim);
    if (problem->kv_heads * dim * vkring_type_bytes(problem->type) > MOST_ROW_BYTES)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "rows of %" PRIu64 " heads take more than 128 MiB", problem->kv_heads);
    return VKRING_OK;
}

/* Where queries travel, those of all heads are one row. */
static enum vkring_status check_bias(const struct vkring_cache *cache)
{
    const struct problem *problem = &cache->problem;
    const bool travels = problem->bias.per_query && cache->comm && cache->pass != VKRING_CACHE_PASS_KEYS;
    const uint64_t heads = travels && problem->bias.per_head ? problem->heads : 1;
    if (problem->bias.present && problem->kv_len > MOST_BIAS_ELEMENTS / heads)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "rows of a bias, of %" PRIu64 " heads, have 2^24 elements or more", heads);
    return VKRING_OK;
}

static enum vkring_status resolve(const struct vkring_cache_params *params, struct vkring_cache *cache)
{
    enum vkring_status status;
    const struct vkring_plan_params *attention = &params->attention;
    TRY(check_attention(cache->device, attention), fail);
    TRY(check_choices(params), fail);
    TRY(problem_resolve(attention, &cache->problem), fail);
    TRY(check_rows(&cache->problem), fail);
    cache->problem.query_offset = 0;
    cache->storage = params->storage;
    cache->pass = params->pass;
    TRY(check_bias(cache), fail);
    cache->timeout_seconds = plan_timeout_seconds(attention);
    cache->dispatch_seconds = attention->dispatch_seconds > 0 ? attention->dispatch_seconds : DEFAULT_DISPATCH_SECONDS;
    cache->slots = divide_up(cache->problem.kv_len, cache->ranks);
    return VKRING_OK;
fail:
    return status;
}

/* Of a communicator of one rank nothing is used. */
static struct vkring_cache begin(vkring_device *device, vkring_comm *comm)
{
    const bool alone = !comm || vkring_comm_size(comm) == 1;
    return (struct vkring_cache){
        .device = device,
        .comm = alone ? NULL : comm,
        .rank = alone ? 0 : vkring_comm_rank(comm),
        .ranks = alone ? 1 : vkring_comm_size(comm),
    };
}

/* Memory ------------------------------------------------------------------------------------------------------------------ */

static struct store_size rows_of_store(const struct vkring_cache *cache)
{
    const struct problem *problem = &cache->problem;
    return (struct store_size){
        .type = problem->type,
        .storage = cache->storage,
        .kv_heads = problem->kv_heads,
        .head_dim = problem->head_dim,
        .value_dim = problem->value_dim,
        .segment_ids = problem->segment_ids,
    };
}

static struct deal_size deal_size_of(const struct vkring_cache *cache)
{
    const struct problem *problem = &cache->problem;
    const struct store_size store = rows_of_store(cache);
    const struct row_parts keys = store_row_parts(&store);
    return (struct deal_size){.ranks = cache->ranks, .row_bytes = row_parts_sum(&keys), .call_rows = problem->batch * problem->q_len};
}

static bool queries_travel(const struct vkring_cache *cache)
{
    return cache->comm && cache->pass != VKRING_CACHE_PASS_KEYS;
}

static struct exchange_size exchange_size_of(const struct vkring_cache *cache)
{
    const struct problem *problem = &cache->problem;
    const struct deal_size deal = deal_size_of(cache);
    const struct row_parts queries = gathered_query_parts(problem, problem->kv_len);
    return (struct exchange_size){
        .ranks = cache->ranks,
        .batch = problem->batch,
        .row_bytes = queries_travel(cache) ? row_parts_sum(&queries) : 0,
        .most_rows = problem->batch * problem->q_len,
        .dealt_bytes = deal_got_bytes(&deal),
    };
}

static struct store_size store_size_of(const struct vkring_cache *cache)
{
    const struct problem *problem = &cache->problem;
    const struct deal_size deal = deal_size_of(cache);
    struct store_size size = rows_of_store(cache);
    const struct row_parts parts = store_row_parts(&size);
    const uint64_t row_bytes = row_parts_sum(&parts), most = problem->batch * divide_up(problem->q_len, cache->ranks);
    size.rows = min_u64(min_u64(max_u64(STORE_BYTES / row_bytes, 1), STORE_ROWS), most);
    size.packed_rows = deal_most_rows(&deal);
    return size;
}

/* A call's queries go through in pieces of so many, of a rank; 0 where keys travel. */
static uint64_t piece_rows_of(const struct vkring_cache *cache)
{
    const struct problem *problem = &cache->problem;
    const struct exchange_size exchange = exchange_size_of(cache);
    const struct row_parts parts = gathered_query_parts(problem, 0);
    const uint64_t alone = max_u64(ATTEND_BYTES / row_parts_sum(&parts), ATTEND_LEAST_ROWS);
    return cache->comm ? exchange_piece_rows(&exchange) : min_u64(alone, problem->batch * problem->q_len);
}

static struct gathered_size gathered_size_of(const struct vkring_cache *cache)
{
    const uint64_t rows = piece_rows_of(cache);
    return (struct gathered_size){
        .problem = &cache->problem,
        .ranks = cache->ranks,
        .own_rows = cache->comm ? rows : 0,
        .columns = queries_travel(cache) ? cache->problem.kv_len : 0,
        .rows = min_u64(rows * cache->ranks, cache->problem.batch * cache->problem.q_len),
    };
}

/* Of one sequence at a time: where rows are so long that a rank gives few, those of all ranks still go together. */
static uint64_t span_rows_of(const struct vkring_cache *cache)
{
    const uint64_t piece = piece_rows_of(cache), of_all = gathered_size_of(cache).rows;
    const uint64_t rows = cache->comm ? min_u64(max_u64(piece, ATTEND_LEAST_ROWS), of_all) : piece;
    return min_u64(rows, cache->problem.q_len);
}

static struct partial_size partial_size_of(const struct vkring_cache *cache, const char *kernels)
{
    return (struct partial_size){
        .problem = &cache->problem,
        .kernels = kernels,
        .int8_keys = cache->storage == VKRING_CACHE_INT8,
        .rank = cache->rank,
        .ranks = cache->ranks,
        .slots = cache->slots,
        .call_rows = cache->comm ? gathered_size_of(cache).rows : cache->problem.batch * cache->problem.q_len,
        .most_rows = span_rows_of(cache),
        .dispatch_seconds = cache->dispatch_seconds,
    };
}

static uint64_t ids_bytes(const struct vkring_cache *cache)
{
    return cache->problem.segment_ids ? cache->problem.batch * cache->slots * sizeof(int32_t) : 0;
}

/* Keys that travel take their part of a bias with them. */
static uint64_t own_bias_bytes(const struct vkring_cache *cache)
{
    const struct vkring_bias_params *bias = &cache->problem.bias;
    const bool travels = cache->comm && cache->pass != VKRING_CACHE_PASS_QUERIES && bias->present && !bias->per_query;
    return travels ? (bias->per_head ? cache->problem.heads : 1) * cache->slots * vkring_type_bytes(bias->type) : 0;
}

static enum vkring_status measure(const struct vkring_cache *cache, const char *kernels, struct vkring_cache_memory *out_memory)
{
    enum vkring_status status;
    const struct problem *problem = &cache->problem;
    const struct exchange_size exchange = exchange_size_of(cache);
    const struct deal_size deal = deal_size_of(cache);
    const struct store_size store = store_size_of(cache);
    const struct gathered_size gathered = gathered_size_of(cache);
    const struct partial_size partial = partial_size_of(cache, kernels);
    struct vkring_cache_memory memory = {.host_bytes = exchange_bytes(&exchange) + deal_bytes(&deal)};
    uint64_t keys, values, ids, own_bias;
    bool counts_as_host;
    TRY(shard_measure(cache->device, problem, cache->storage, cache->slots, problem->head_dim, &keys), fail);
    TRY(shard_measure(cache->device, problem, cache->storage, cache->slots, problem->value_dim, &values), fail);
    TRY(vk_buffer_measure(cache->device, VK_MEMORY_DEVICE, ids_bytes(cache), &ids, &counts_as_host), fail);
    memory.storage_bytes = keys + values + ids;
    TRY(vk_buffer_measure(cache->device, VK_MEMORY_DEVICE, own_bias_bytes(cache), &own_bias, &counts_as_host), fail);
    memory.device_bytes = memory.storage_bytes + own_bias;
    TRY(store_measure(cache->device, &store, &memory), fail);
    TRY(gathered_measure(cache->device, &gathered, &memory), fail);
    TRY(partial_measure(cache->device, &partial, &memory), fail);
    *out_memory = memory;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_cache_measure(vkring_device *device, vkring_comm *comm, const struct vkring_cache_params *params,
                                        struct vkring_cache_memory *out_memory)
{
    enum vkring_status status;
    struct vkring_cache cache = begin(device, comm);
    TRY(resolve(params, &cache), fail);
    TRY(measure(&cache, params->attention.kernels, out_memory), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Creation ---------------------------------------------------------------------------------------------------------------- */

static enum vkring_status take_device_memory(struct vkring_cache *cache, const char *kernels)
{
    enum vkring_status status;
    const struct problem *problem = &cache->problem;
    const struct store_size store = store_size_of(cache);
    const struct gathered_size gathered = gathered_size_of(cache);
    const struct partial_size partial = partial_size_of(cache, kernels);
    TRY(measure(cache, kernels, &cache->memory), fail);
    TRY(shard_create(cache->device, problem, cache->storage, cache->slots, problem->head_dim, &cache->key), fail);
    TRY(shard_create(cache->device, problem, cache->storage, cache->slots, problem->value_dim, &cache->value), fail);
    TRY(vk_buffer_create(cache->device, VK_MEMORY_DEVICE, ids_bytes(cache), &cache->ids), fail);
    TRY(vk_buffer_create(cache->device, VK_MEMORY_DEVICE, own_bias_bytes(cache), &cache->own_bias), fail);
    if (own_bias_bytes(cache) > 0)
        TRY(pack_kernel_create(cache->device, vkring_type_bytes(problem->bias.type), &cache->pack_bias), fail);
    TRY(store_create(cache->device, &store, &cache->store), fail);
    TRY(gathered_create(cache->device, &gathered, &cache->gathered), fail);
    TRY(partial_create(cache->device, &partial, &cache->partial), fail);
    cache->piece_rows = piece_rows_of(cache);
    TRY(device_work_create(cache->device, cache->timeout_seconds, &cache->work), fail);
    return VKRING_OK;
fail:
    return status;
}

/* All that can fail before anything is told. */
static enum vkring_status prepare(const struct vkring_cache_params *params, struct vkring_cache *cache)
{
    enum vkring_status status;
    TRY(resolve(params, cache), fail);
    const struct exchange_size size = exchange_size_of(cache);
    const struct deal_size deal = deal_size_of(cache);
    cache->lengths = calloc((size_t)(cache->problem.batch + 1), sizeof(*cache->lengths));
    cache->rows_of_rank = calloc(cache->ranks, sizeof(*cache->rows_of_rank));
    cache->kernels = params->attention.kernels ? strdup(params->attention.kernels) : NULL;
    if (!cache->lengths || !cache->rows_of_rank || (params->attention.kernels && !cache->kernels))
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for %" PRIu64 " lengths", cache->problem.batch);
    TRY(exchange_create(&size, &cache->exchange), fail);
    TRY(deal_create(&deal, &cache->deal), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status agree_on_choices(struct vkring_cache *cache)
{
    static const char *const names[EXCHANGE_FIELDS] = {"storage", "pass", "what is made", "what is made"};
    const uint64_t numbers[EXCHANGE_FIELDS] = {cache->storage, cache->pass};
    return exchange_compare(&cache->exchange, cache->comm, names, numbers, cache->timeout_seconds);
}

/* Also where this rank has no cache. */
static enum vkring_status agree(vkring_comm *comm, const struct vkring_cache_params *params, struct vkring_cache *cache,
                                enum vkring_status mine)
{
    enum vkring_status status;
    static const struct problem no_problem = {0};
    static const struct layout no_layout = {0};
    TRY(agree_on_problem(comm, mine, cache ? &cache->problem : &no_problem, &no_layout, 0, plan_timeout_seconds(&params->attention)), fail);
    TRY(agree_on_choices(cache), fail);
    cache->id = comm->rounds;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_cache_create(vkring_device *device, vkring_comm *comm, const struct vkring_cache_params *params,
                                       vkring_cache **out_cache)
{
    enum vkring_status status;
    struct vkring_cache *cache;
    const struct vkring_cache beginning = begin(device, comm);
    if (comm && comm->in_run)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "a cache cannot be made while a run is under way on its communicator");
    cache = calloc(1, sizeof(*cache));
    if (cache) {
        *cache = beginning;
        status = prepare(params, cache);
    } else {
        status = status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a cache");
    }
    if (beginning.comm)
        status = agree(beginning.comm, params, cache, status);
    if (status != VKRING_OK)
        goto fail;
    status = take_device_memory(cache, params->attention.kernels);
    if (beginning.comm)
        status = agree_on_status(beginning.comm, status, "making its cache", cache->timeout_seconds);
    if (status == VKRING_OK && beginning.comm && cache->pass == VKRING_CACHE_PASS_AUTO)
        status = pass_probe(cache);
    if (status != VKRING_OK)
        goto fail;
    *out_cache = cache;
    return VKRING_OK;
fail:
    vkring_cache_destroy(&cache);
    return status;
}

void vkring_cache_destroy(vkring_cache **cache_pointer)
{
    struct vkring_cache *cache = cache_pointer ? *cache_pointer : NULL;
    if (!cache)
        return;
    *cache_pointer = NULL;
    if (!device_work_settle(&cache->work))
        return; /* lost, because freeing what the device writes to is worse */
    device_work_destroy(&cache->work);
    partial_destroy(&cache->partial);
    gathered_destroy(&cache->gathered, cache->device);
    store_destroy(&cache->store, cache->device);
    shard_destroy(&cache->key);
    shard_destroy(&cache->value);
    vkring_buffer_destroy(&cache->ids);
    vkring_buffer_destroy(&cache->own_bias);
    rows_kernel_destroy(cache->device, &cache->pack_bias);
    exchange_destroy(&cache->exchange);
    deal_destroy(&cache->deal);
    free(cache->lengths);
    free(cache->rows_of_rank);
    free(cache->kernels);
    free(cache);
}

/* Lengths ----------------------------------------------------------------------------------------------------------------- */

void vkring_cache_get_info(const vkring_cache *cache, struct vkring_cache_info *out_info)
{
    *out_info = (struct vkring_cache_info){
        .rank = cache->rank,
        .ranks = cache->ranks,
        .memory = cache->memory,
        .lengths = cache->lengths,
        .lost = cache->lost,
        .append_sent_bytes = cache->append_sent_bytes,
        .attend_sent_bytes = cache->attend_sent_bytes,
    };
    for (uint64_t sequence = 0; sequence < cache->problem.batch; sequence++)
        out_info->own_rows += positions_of_rank(cache->lengths[sequence], cache->rank, cache->ranks);
}

enum vkring_status vkring_cache_truncate(vkring_cache *cache, const uint64_t *lengths)
{
    enum vkring_status status;
    const uint64_t batch = cache->problem.batch;
    TRY(cache_check_usable(cache), fail);
    for (uint64_t sequence = 0; sequence < batch; sequence++)
        if (lengths[sequence] > cache->lengths[sequence])
            return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "sequence %" PRIu64 " has %" PRIu64 " rows, not %" PRIu64, sequence,
                               cache->lengths[sequence], lengths[sequence]);
    memcpy(cache->lengths, lengths, (size_t)batch * sizeof(*lengths));
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_cache_reset(vkring_cache *cache)
{
    enum vkring_status status;
    TRY(cache_check_usable(cache), fail);
    memset(cache->lengths, 0, (size_t)cache->problem.batch * sizeof(*cache->lengths));
    return VKRING_OK;
fail:
    return status;
}
