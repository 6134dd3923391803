/* SPDX-License-Identifier: MIT */
#include "bench_masks.h"

#include <math.h>
#include <stdlib.h>

#include <ref/random_input.h>

enum stream { STREAM_BIAS = 11, STREAM_SINKS };

static int32_t *make_ids(uint64_t rows, uint32_t segments)
{
    int32_t *ids = malloc(rows * sizeof(*ids) + 1);
    for (uint64_t row = 0; ids && row < rows; row++)
        ids[row] = (int32_t)(row * segments / rows);
    return ids;
}

static float *make_random(uint64_t seed, uint64_t count)
{
    float *values = malloc(count * sizeof(*values) + 1);
    if (values)
        random_fill(seed, RANDOM_NORMAL, 1.0f, 0, count, values);
    return values;
}

/* 2^(-8 h / heads), as the paper has them. */
static float *make_slopes(uint64_t heads)
{
    float *slopes = malloc(heads * sizeof(*slopes));
    for (uint64_t head = 0; slopes && head < heads; head++)
        slopes[head] = (float)exp2(-8.0 * (double)(head + 1) / (double)heads);
    return slopes;
}

static bool make_host(const struct vkring_plan_params *problem, struct bench_masks *masks)
{
    bool good = true;
    if (problem->segment_ids) {
        masks->query_ids = make_ids(problem->q_len, masks->segments);
        masks->key_ids = make_ids(problem->kv_len, masks->segments);
        good = masks->query_ids && masks->key_ids;
    }
    if (problem->bias.present)
        good = good && (masks->bias = make_random(STREAM_BIAS, problem->kv_len));
    if (problem->alibi)
        good = good && (masks->slopes = make_slopes(problem->heads));
    if (problem->sinks)
        good = good && (masks->sinks = make_random(STREAM_SINKS, problem->heads));
    return good;
}

/* The same in each of `times` batch entries. */
static bool place(vkring_device *device, const void *from, uint64_t bytes, uint64_t times, vkring_buffer **out_buffer,
                  struct vkring_tensor *tensor)
{
    if (vkring_buffer_create(device, bytes * times, out_buffer) != VKRING_OK)
        return false;
    tensor->buffer = *out_buffer;
    for (uint64_t i = 0; i < times; i++)
        if (vkring_buffer_upload(*out_buffer, i * bytes, from, bytes) != VKRING_OK)
            return false;
    return true;
}

/* The same of the rank's part of numbers of 4 bytes, each of a row. */
static bool place_part(vkring_device *device, const void *whole, const struct vkring_span *spans, uint64_t rows, uint64_t times,
                       vkring_buffer **out_buffer, struct vkring_tensor *tensor)
{
    uint32_t *part = malloc(rows * sizeof(*part) + 1), *to = part;
    for (int i = 0; part && i < VKRING_SPANS; i++)
        for (uint64_t row = 0; row < spans[i].rows; row++)
            *to++ = ((const uint32_t *)whole)[spans[i].first + row * spans[i].stride];
    const bool placed = part && place(device, part, rows * sizeof(*part), times, out_buffer, tensor);
    free(part);
    return placed;
}

static bool place_all(vkring_device *device, const struct vkring_plan_params *problem, const struct vkring_plan_info *info,
                      struct bench_masks *masks, struct vkring_forward_io *io)
{
    const uint64_t batch = problem->batch, heads = problem->heads * sizeof(float);
    const struct vkring_rank_rows *rows = &info->rows;
    if (problem->segment_ids &&
        !(place_part(device, masks->query_ids, rows->query_spans, rows->query_rows, batch, &masks->on_device[0], &io->query_segment_ids) &&
          place_part(device, masks->key_ids, rows->key_spans, rows->key_rows, batch, &masks->on_device[1], &io->key_segment_ids)))
        return false;
    if (problem->bias.present && !place_part(device, masks->bias, rows->key_spans, rows->key_rows, 1, &masks->on_device[2], &io->bias))
        return false;
    if (problem->alibi && !place(device, masks->slopes, heads, 1, &masks->on_device[3], &io->alibi_slopes))
        return false;
    return !problem->sinks || place(device, masks->sinks, heads, 1, &masks->on_device[4], &io->sinks);
}

bool bench_masks_make(vkring_device *device, const struct vkring_plan_params *problem, uint32_t segments,
                      const struct vkring_plan_info *info, struct bench_masks *out_masks, struct vkring_forward_io *io,
                      struct failure *failure)
{
    *out_masks = (struct bench_masks){.segments = segments};
    if (!make_host(problem, out_masks))
        return fail_memory(failure);
    return place_all(device, problem, info, out_masks, io) || fail_library(failure, info->rank);
}

void bench_masks_free(struct bench_masks *masks)
{
    free(masks->query_ids);
    free(masks->key_ids);
    free(masks->bias);
    free(masks->slopes);
    free(masks->sinks);
    for (size_t i = 0; i < sizeof(masks->on_device) / sizeof(masks->on_device[0]); i++)
        vkring_buffer_destroy(&masks->on_device[i]);
}

void bench_masks_refer(const struct bench_masks *masks, const struct vkring_plan_params *problem, uint64_t position,
                       struct reference_problem *out_problem)
{
    out_problem->causal_block = problem->causal_block;
    out_problem->has_window = problem->has_window;
    out_problem->window_left = problem->window_left;
    out_problem->window_right = problem->window_right;
    out_problem->query_segment_ids = masks->query_ids ? masks->query_ids + position : NULL;
    out_problem->key_segment_ids = masks->key_ids;
    out_problem->bias.values = masks->bias;
    out_problem->alibi_slopes = masks->slopes;
    out_problem->softcap = problem->softcap;
    out_problem->sinks = masks->sinks;
    out_problem->dropout = problem->dropout;
}
