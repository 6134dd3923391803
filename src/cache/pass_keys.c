/* SPDX-License-Identifier: MIT */
#include "pass_keys.h"

#include "../ring/plan.h"

/* With its part of the scales. */
static double key_element_bytes(const struct vkring_cache *cache)
{
    const struct problem *problem = &cache->problem;
    const uint64_t scales = cache->storage == VKRING_CACHE_INT8 ? 2 * sizeof(float) : 0;
    const uint64_t bytes = shard_row_bytes(problem->type, cache->storage, problem->head_dim) +
                           shard_row_bytes(problem->type, cache->storage, problem->value_dim) + scales;
    return (double)bytes / (double)(problem->head_dim + problem->value_dim);
}

/* Rows of a bias go with their queries, or stay with them. */
static bool bias_outweighs_keys(const struct vkring_cache *cache, double new_rows)
{
    const struct problem *problem = &cache->problem;
    const uint64_t heads = problem->bias.per_head ? problem->heads : 1;
    const double key_bytes = (double)(problem->kv_heads * (problem->head_dim + problem->value_dim)) * key_element_bytes(cache);
    return problem->bias.present && problem->bias.per_query &&
           new_rows * (double)(heads * vkring_type_bytes(problem->bias.type)) >= key_bytes;
}

bool pass_keys_pays(const struct vkring_cache *cache)
{
    const struct problem *problem = &cache->problem;
    const double group = (double)problem->heads / (double)problem->kv_heads;
    const double element_bytes = (double)vkring_type_bytes(problem->type);
    const double bytes_per_flop = (double)cache->ranks * cache->flops * element_bytes / cache->link_bytes_per_second;
    const double key_part = key_element_bytes(cache) / element_bytes;
    double new_rows = 0, rows = 0;
    for (uint64_t sequence = 0; sequence < problem->batch; sequence++) {
        const uint64_t its = cache_new_rows(cache, sequence);
        new_rows += (double)its;
        rows += its > 0 ? (double)cache->lengths[sequence] : 0;
    }
    if (bias_outweighs_keys(cache, new_rows))
        return true;
    return new_rows > 0 && new_rows / rows >= key_part * 2 / group - 4 * new_rows / bytes_per_flop;
}

/* Of a sequence's rows this rank's are `first` on among those of the call. */
struct turn {
    uint64_t sequence, first, own;
    const uint64_t *rows_of_rank;
    const struct query_tensors *queries; /* of the whole call */
};

/* A bias of all queries goes with the keys. */
static struct vkring_bias_params bias_of(const struct problem *problem)
{
    struct vkring_bias_params bias = problem->bias;
    bias.per_batch = false;
    return bias;
}

static struct vkring_plan_params params_of(const struct vkring_cache *cache, const struct turn *turn)
{
    const struct problem *problem = &cache->problem;
    return (struct vkring_plan_params){
        .type = problem->type,
        .batch = 1,
        .q_len = cache_new_rows(cache, turn->sequence),
        .kv_len = cache->lengths[turn->sequence],
        .heads = problem->heads,
        .kv_heads = problem->kv_heads,
        .head_dim = problem->head_dim,
        .value_dim = problem->value_dim,
        .causal = problem->causal,
        .has_window = true,
        .has_scale = true,
        .segment_ids = problem->segment_ids,
        .alibi = problem->alibi,
        .sinks = problem->sinks,
        .has_key_layout = true,
        .causal_block = problem->causal ? problem->causal_block : 0,
        .window_left = problem->window_left,
        .window_right = problem->window_right,
        .scale = problem->scale,
        .softcap = problem->softcap,
        .dropout = problem->dropout,
        .bias = bias_of(problem),
        .key_layout = VKRING_LAYOUT_STRIPED,
        .query_rows_of_rank = turn->rows_of_rank,
        .timeout_seconds = cache->timeout_seconds,
        .dispatch_seconds = cache->dispatch_seconds,
        .events = 1,
        .kernels = cache->kernels,
    };
}

/* Rows of the call from a turn's first on. */
static struct vkring_tensor rows_of(const struct vkring_tensor *tensor, const struct turn *turn, uint64_t heads, uint64_t dim,
                                    uint64_t element_bytes)
{
    struct vkring_tensor rows = *tensor;
    const uint64_t stride = tensor->sequence_stride ? tensor->sequence_stride : heads * dim;
    rows.offset_bytes += turn->first * stride * element_bytes;
    rows.batch_stride = 0;
    return rows;
}

/* Integers go by words. */
static struct vkring_tensor shard_tensor(const struct vkring_cache *cache, const struct shard *shard, uint64_t sequence)
{
    const uint64_t element_bytes = cache->storage == VKRING_CACHE_INT8 ? sizeof(uint32_t) : vkring_type_bytes(cache->problem.type);
    return (struct vkring_tensor){
        .buffer = shard->elements,
        .offset_bytes = sequence * shard->sequence_bytes,
        .sequence_stride = shard->row_bytes / element_bytes,
        .head_stride = shard->head_bytes / element_bytes,
    };
}

static struct vkring_tensor scales_tensor(const struct vkring_cache *cache, const struct shard *shard, uint64_t sequence)
{
    return (struct vkring_tensor){
        .buffer = shard->scales,
        .offset_bytes = sequence * cache->problem.kv_heads * shard->slots * sizeof(float),
        .head_stride = shard->slots,
    };
}

static struct plan_sequence sequence_of(const struct vkring_cache *cache, uint64_t sequence)
{
    struct plan_sequence its = {.entry = sequence, .int8_keys = cache->storage == VKRING_CACHE_INT8};
    if (its.int8_keys) {
        its.key_scales = scales_tensor(cache, &cache->key, sequence);
        its.value_scales = scales_tensor(cache, &cache->value, sequence);
    }
    return its;
}

/* The sequence's, by positions if each query has its own, else by this rank's keys. */
static struct vkring_tensor bias_tensor(const struct vkring_cache *cache, const struct turn *turn)
{
    const struct tensor_view *bias = &turn->queries->bias;
    const uint64_t element_bytes = vkring_type_bytes(cache->problem.bias.type);
    if (!cache->problem.bias.per_query)
        return (struct vkring_tensor){.buffer = cache->own_bias, .head_stride = cache->slots};
    return (struct vkring_tensor){
        .buffer = bias->buffer,
        .offset_bytes = bias->offset_bytes + turn->first * bias->row_stride,
        .sequence_stride = bias->row_stride / element_bytes,
        .head_stride = bias->head_stride / element_bytes,
    };
}

/* Of a bias by positions those of this rank's keys. */
static enum vkring_status pack_own_bias(struct vkring_cache *cache, const struct turn *turn)
{
    enum vkring_status status;
    const struct problem *problem = &cache->problem;
    const uint64_t element_bytes = vkring_type_bytes(problem->bias.type), heads = problem->bias.per_head ? problem->heads : 1;
    const uint64_t keys = positions_of_rank(cache->lengths[turn->sequence], cache->rank, cache->ranks);
    const struct tensor_shape shape = {"bias", element_bytes, 1, keys, heads, 1};
    const struct tensor_view to = {
        .address = cache->own_bias->address, .row_stride = element_bytes, .head_stride = cache->slots * element_bytes};
    struct tensor_view from = turn->queries->bias;
    from.address += turn->sequence * from.batch_stride + cache->rank * element_bytes;
    from.row_stride = cache->ranks * element_bytes;
    TRY(device_work_begin(&cache->work), fail);
    pack_record(cache->device, &cache->work.commands, &cache->pack_bias, &shape, &from, &to);
    TRY(device_work_run(&cache->work), fail);
    return VKRING_OK;
fail:
    return status;
}

static struct vkring_forward_io io_of(const struct vkring_cache *cache, const struct vkring_cache_attend_io *io, const struct turn *turn)
{
    const struct problem *problem = &cache->problem;
    const uint64_t element_bytes = vkring_type_bytes(problem->type);
    struct vkring_forward_io its = {
        .query = rows_of(&io->query, turn, problem->heads, problem->head_dim, element_bytes),
        .key = shard_tensor(cache, &cache->key, turn->sequence),
        .value = shard_tensor(cache, &cache->value, turn->sequence),
        .output = rows_of(&io->output, turn, problem->heads, problem->value_dim, element_bytes),
        .alibi_slopes = io->alibi_slopes,
        .sinks = io->sinks,
        .seed = io->seed,
    };
    if (problem->segment_ids) {
        its.query_segment_ids = (struct vkring_tensor){.buffer = io->segment_ids.buffer,
                                                       .offset_bytes = io->segment_ids.offset_bytes + turn->first * sizeof(int32_t)};
        its.key_segment_ids = (struct vkring_tensor){.buffer = cache->ids, .offset_bytes = turn->sequence * cache->slots * sizeof(int32_t)};
    }
    if (problem->bias.present)
        its.bias = bias_tensor(cache, turn);
    if (io->lse.buffer)
        its.lse = (struct vkring_tensor){
            .buffer = io->lse.buffer,
            .offset_bytes = io->lse.offset_bytes + turn->first * sizeof(float),
            .head_stride = turn->queries->rows,
        };
    return its;
}

static enum vkring_status attend_sequence(struct vkring_cache *cache, const struct vkring_cache_attend_io *io, const struct turn *turn)
{
    enum vkring_status status;
    const struct vkring_plan_params params = params_of(cache, turn);
    const struct plan_sequence sequence = sequence_of(cache, turn->sequence);
    const struct vkring_forward_io its = io_of(cache, io, turn);
    vkring_plan *plan = NULL;
    if (cache->problem.bias.present && !cache->problem.bias.per_query)
        TRY(pack_own_bias(cache, turn), fail);
    TRY(plan_create_for_sequence(cache->device, cache->comm, &params, &sequence, &plan), fail);
    TRY(vkring_forward(plan, &its), fail);
fail:
    vkring_plan_destroy(&plan);
    return status;
}

static void list_rows(const struct vkring_cache *cache, uint64_t sequence, uint64_t *rows_of_rank)
{
    for (uint32_t rank = 0; rank < cache->ranks; rank++)
        rows_of_rank[rank] = cache_rows_of_rank(cache, rank)[sequence];
}

enum vkring_status pass_keys_attend(struct vkring_cache *cache, const struct vkring_cache_attend_io *io,
                                    const struct query_tensors *queries)
{
    enum vkring_status status = VKRING_OK;
    struct turn turn = {.queries = queries};
    uint64_t *rows_of_rank = cache->rows_of_rank;
    for (; turn.sequence < cache->problem.batch; turn.sequence++) {
        turn.rows_of_rank = rows_of_rank;
        if (cache_new_rows(cache, turn.sequence) == 0)
            continue;
        list_rows(cache, turn.sequence, rows_of_rank);
        turn.own = rows_of_rank[cache->rank];
        TRY(attend_sequence(cache, io, &turn), fail);
        turn.first += turn.own;
    }
fail:
    return status;
}
