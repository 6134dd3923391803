/* SPDX-License-Identifier: MIT */
#include "pass_probe.h"

#include <math.h>
#include <stdlib.h>

#include "../base/clock.h"
#include "../ring/agree.h"
#include "../vk/device_speed.h"

/* Enough that starting a message is little beside it. */
#define PROBE_BYTES ((uint64_t)1 << 18)
/* Of a rank's attention: the same of a dispatch. */
#define PROBE_SECONDS 0.01
#define PROBE_ROWS ((uint64_t)256)
#define LEAST_ROWS ((uint64_t)32)
/* What a dispatch took the first time may have been anything. */
#define MOST_GROWTH 64.0

/* Attention --------------------------------------------------------------------------------------------------------------- */

/* Kernels are at their pace where rows have several times as many keys. */
struct probe_size probe_size_for(double flop, double pair_flop, const struct probe_size *most)
{
    const double pairs = fmax(flop / pair_flop, 1);
    struct probe_size size = {min_u64(most->rows, PROBE_ROWS), most->keys};
    while (size.rows > 1 && (double)size.rows > pairs)
        size.rows /= 2;
    while (size.rows > LEAST_ROWS && pairs < 4 * (double)size.rows * (double)size.rows)
        size.rows /= 2;
    if (pairs < (double)size.rows * (double)size.keys)
        size.keys = max_u64((uint64_t)(pairs / (double)size.rows), 1);
    return size;
}

static double flop_per_pair(const struct problem *problem)
{
    return 2 * (double)problem->heads * (double)(problem->head_dim + problem->value_dim);
}

/* The last queries of a sequence of such a length. */
static struct partial_span span_of(const struct vkring_cache *cache, const struct probe_size *size)
{
    const uint64_t length = size->keys * cache->ranks;
    return (struct partial_span){.position = length - min_u64(size->rows, length), .rows = size->rows, .keys = size->keys};
}

static double flop_of(const struct vkring_cache *cache, const struct partial_span *span)
{
    const struct mask_block block = {
        .query_row = span->position,
        .rows = span->rows,
        .key_row = cache->rank,
        .keys = span->keys,
        .query_stride = 1,
        .key_stride = cache->ranks,
    };
    return mask_kept_pairs(&cache->partial.problem, &block) * flop_per_pair(&cache->problem);
}

/* Slopes and sinks are numbers like any; there is room for a float of each head where lse go. */
static struct query_tensors queries_of(struct vkring_cache *cache, uint64_t rows)
{
    struct gathered *gathered = &cache->gathered;
    struct query_tensors queries = gathered_tensors(gathered, rows);
    queries.slopes = (struct tensor_view){
        .buffer = gathered->own,
        .offset_bytes = gathered->lse_offset_bytes,
        .address = gathered->own->address + gathered->lse_offset_bytes,
    };
    queries.sinks = queries.slopes;
    return queries;
}

static enum vkring_status time_span(struct vkring_cache *cache, const struct partial_span *span, double *out_seconds)
{
    enum vkring_status status;
    const struct query_tensors queries = queries_of(cache, span->rows);
    const struct key_tensors keys = cache_keys(cache);
    TRY(partial_prepare(&cache->partial, &queries, &keys), fail);
    const double begin = clock_seconds();
    TRY(device_work_begin(&cache->work), fail);
    partial_start(&cache->partial, &cache->work, &queries, &keys, 1);
    TRY(partial_add(&cache->partial, span), fail);
    partial_finish(&cache->partial);
    TRY(device_work_run(&cache->work), fail);
    *out_seconds = fmax(clock_seconds() - begin, 1e-9);
fail:
    return status;
}

/* Segment ids and biases are an application's, and decide how much is skipped. */
static bool can_be_timed(const struct vkring_cache *cache, const struct probe_size *most)
{
    const struct problem *problem = &cache->problem;
    return problem->batch > 0 && most->rows > 0 && most->keys > 0 && !problem->segment_ids && !problem->bias.present;
}

/* First what a guess says; then, warm, what that says. Pairs that are all masked tell nothing. */
static enum vkring_status time_attention(struct vkring_cache *cache, double *flops)
{
    enum vkring_status status = VKRING_OK;
    const struct probe_size most = {cache->partial.most_rows, cache->slots};
    double flop = PROBE_SECONDS * *flops, seconds;
    if (!can_be_timed(cache, &most))
        return VKRING_OK;
    for (int turn = 0; turn < 2; turn++) {
        const struct probe_size size = probe_size_for(flop, flop_per_pair(&cache->problem), &most);
        const struct partial_span span = span_of(cache, &size);
        const double done = flop_of(cache, &span);
        if (done <= 0)
            break;
        TRY(time_span(cache, &span, &seconds), fail);
        *flops = done / seconds;
        flop = fmin(PROBE_SECONDS * *flops, MOST_GROWTH * done);
    }
fail:
    return status;
}

/* Link -------------------------------------------------------------------------------------------------------------------- */

static enum vkring_status time_link(struct vkring_cache *cache, unsigned char *memory, double *out_bytes_per_second)
{
    enum vkring_status status;
    double begin = 0;
    for (int turn = 0; turn < 2; turn++) { /* the first opens connections */
        begin = clock_seconds();
        TRY(comm_allgather(cache->comm, memory, PROBE_BYTES, memory + PROBE_BYTES, cache->timeout_seconds), fail);
    }
    *out_bytes_per_second = (double)(cache->ranks - 1) * (double)PROBE_BYTES / fmax(clock_seconds() - begin, 1e-9);
fail:
    return status;
}

/* Both -------------------------------------------------------------------------------------------------------------------- */

struct probe probe_slowest(const struct probe *probes, uint32_t ranks)
{
    struct probe slowest = probes[0];
    for (uint32_t rank = 1; rank < ranks; rank++) {
        slowest.link_bytes_per_second = fmin(slowest.link_bytes_per_second, probes[rank].link_bytes_per_second);
        slowest.flops = fmin(slowest.flops, probes[rank].flops);
    }
    return slowest;
}

static void keep(struct vkring_cache *cache, const struct probe *slowest)
{
    cache->link_bytes_per_second = slowest->link_bytes_per_second;
    cache->flops = slowest->flops;
    log_line(&cache->device->log, VKRING_LOG_INFO, "a cache of %u ranks: attention at %.3g FLOP/s, messages at %.3g B/s, of the slowest",
             cache->ranks, slowest->flops, slowest->link_bytes_per_second);
}

enum vkring_status pass_probe(struct vkring_cache *cache)
{
    enum vkring_status status;
    const size_t bytes = (size_t)(cache->ranks + 1) * PROBE_BYTES;
    unsigned char *memory = calloc(bytes, 1);
    struct probe *probes = calloc(cache->ranks, sizeof(*probes));
    struct probe mine = {.flops = vk_device_flops(cache->device)};
    status = memory && probes ? VKRING_OK : status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory to time the link with");
    TRY(agree_on_status(cache->comm, status, "timing its link", cache->timeout_seconds), fail);
    TRY(time_link(cache, memory, &mine.link_bytes_per_second), fail);
    status = time_attention(cache, &mine.flops);
    TRY(agree_on_status(cache->comm, status, "timing its device", cache->timeout_seconds), fail);
    TRY(comm_allgather(cache->comm, &mine, sizeof(mine), probes, cache->timeout_seconds), fail);
    const struct probe slowest = probe_slowest(probes, cache->ranks);
    keep(cache, &slowest);
fail:
    free(memory);
    free(probes);
    return status;
}
