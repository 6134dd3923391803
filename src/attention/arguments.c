/* SPDX-License-Identifier: MIT */
#include "arguments.h"

#include <math.h>
#include <string.h>

#include "../base/checked.h"
#include "segments.h"

#define LOG2_E 1.44269504088896340736
/* Scores under any smaller one are 0 to f32 as well, and what is divided by it overflows. */
#define LEAST_SOFTCAP 1e-30
/* Scores over any larger one are 0 to many GPUs, or nearly: too small to be normal. It changes none that is below 1e26. */
#define MOST_SOFTCAP 0x1p100
/* Times log2(e) any larger one is no number to f32, nor is then a score of 0. */
#define MOST_SCALE 0x1p127

struct rows_argument {
    uint64_t address, batch_stride, row_stride, head_stride;
};

/* As in arguments.glsl: scalar layout, 64-bit words where it has (low, high) pairs. */
struct kernel_arguments {
    struct rows_argument query, key, value, output, output_grad;
    struct rows_argument query_grad, key_grad, value_grad;
    struct rows_argument score_grad;
    struct rows_argument lse, lse_residual, output_residual, row_stats;
    struct rows_argument bias, bias_grad;
    struct rows_argument query_ids, key_ids, query_segments, key_segments;
    uint64_t slopes, sinks, sink_grad;
    uint64_t state;
    uint32_t rows, keys;
    uint32_t first_batch, first_head;
    uint32_t batches, heads;
    uint32_t heads_per_kv_head;
    uint32_t first_row, first_key;
    uint32_t query_fine_ranges, key_fine_ranges;
    uint32_t first, last;
    uint32_t splits, split_keys, entries;
    int32_t lower, upper, stair;
    uint32_t stair_phase, causal_block;
    int32_t alibi_diagonal, alibi_low, alibi_high;
    float alibi_far;
    float dot_scale, softcap, scale;
    uint32_t dropout_threshold;
    float dropout_scale;
    uint32_t seed[2];
    uint32_t query_position;
    uint32_t key_quad, key_phase;
    uint32_t query_stride, key_stride;
    uint32_t nothing;
    struct rows_argument key_scales, value_scales;
};

_Static_assert(sizeof(struct kernel_arguments) <= ARGUMENT_BYTES, "the arguments fit their slot");

/* The rows of a dispatch, on either side. */
struct extent {
    uint64_t first_row, rows, first_key, keys;
};

static struct extent extent_of(const struct attention_dispatch *dispatch)
{
    const struct tiling_box *box = &dispatch->box;
    switch (dispatch->side) {
    case OWN_QUERIES:
        return (struct extent){box->first_row, box->rows, dispatch->other_first, dispatch->others};
    case OWN_KEYS:
    case OWN_BIAS:
        return (struct extent){dispatch->other_first, dispatch->others, box->first_row, box->rows};
    case OWN_HEADS:
        break;
    }
    return (struct extent){dispatch->other_first, dispatch->others, 0, 0};
}

static struct rows_argument rows_at(const struct tensor_view *view, uint64_t batch, uint64_t row, uint64_t head)
{
    if (!view->address)
        return (struct rows_argument){0};
    return (struct rows_argument){tensor_address(view, batch, row, head), view->batch_stride, view->row_stride, view->head_stride};
}

/* A bias of a row lists all keys of the sequence; one of no row, the keys of its side. So do their gradients. */
static struct rows_argument bias_at(const struct attention_dispatch *dispatch, const struct tensor_view *of_queries,
                                    const struct tensor_view *of_keys, enum vkring_type type, const struct extent *extent, uint64_t head)
{
    const struct vkring_bias_params *bias = &dispatch->problem->bias;
    const uint64_t key = bias->per_query ? dispatch_block(dispatch).key_row : extent->first_key;
    struct rows_argument rows = rows_at(bias->per_query ? of_queries : of_keys, dispatch->box.first_batch, extent->first_row, head);
    if (rows.address)
        rows.address += key * vkring_type_bytes(type);
    return rows;
}

static void fill_tensors(const struct attention_dispatch *dispatch, const struct extent *extent, struct kernel_arguments *arguments)
{
    const struct query_tensors *queries = dispatch->queries;
    const struct key_tensors *keys = dispatch->keys;
    const uint64_t batch = dispatch->box.first_batch;
    const uint64_t query_head = dispatch->side == OWN_QUERIES ? dispatch->box.first_head : 0;
    const uint64_t key_head = dispatch->side == OWN_KEYS ? dispatch->box.first_head : 0;
    const uint64_t row = extent->first_row, key = extent->first_key;
    const struct vkring_bias_params *bias = &dispatch->problem->bias;
    const enum vkring_type bias_grad_type = bias->per_query ? bias->type : VKRING_TYPE_F32; /* of keys they are sums that others add to */
    arguments->query = rows_at(&queries->query, batch, row, query_head);
    arguments->output = rows_at(&queries->output, batch, row, query_head);
    arguments->output_grad = rows_at(&queries->output_grad, batch, row, query_head);
    arguments->query_grad = rows_at(&queries->query_grad, batch, row, query_head);
    arguments->lse = rows_at(&queries->lse, batch, row, query_head);
    arguments->lse_residual = rows_at(&queries->lse_residual, batch, row, query_head);
    arguments->output_residual = rows_at(&queries->output_residual, batch, row, query_head);
    arguments->row_stats = rows_at(&queries->row_stats, batch, row, query_head);
    arguments->key = rows_at(&keys->key, batch, key, key_head);
    arguments->value = rows_at(&keys->value, batch, key, key_head);
    arguments->key_scales = rows_at(&keys->key_scales, batch, key, key_head);
    arguments->value_scales = rows_at(&keys->value_scales, batch, key, key_head);
    arguments->key_grad = rows_at(&keys->key_grad, batch, key, key_head);
    arguments->value_grad = rows_at(&keys->value_grad, batch, key, key_head);
    arguments->bias = bias_at(dispatch, &queries->bias, &keys->bias, bias->type, extent, query_head);
    arguments->bias_grad = bias_at(dispatch, &queries->bias_grad, &keys->bias_grad, bias_grad_type, extent, query_head);
    arguments->query_ids = rows_at(&queries->ids, batch, row, 0);
    arguments->key_ids = rows_at(&keys->ids, batch, key, 0);
    arguments->query_segments = rows_at(&queries->segments, batch, 0, 0);
    arguments->key_segments = rows_at(&keys->segments, batch, 0, 0);
    arguments->score_grad = rows_at(&dispatch->score_grads, 0, 0, 0);
    arguments->slopes = queries->slopes.address;
    arguments->sinks = queries->sinks.address;
    arguments->sink_grad = queries->sink_grad.address;
}

static double clamp(double value, double most)
{
    return fmin(fmax(value, -most), most);
}

/* Limits as the own side sees them: a row's keys, or a key's rows. */
static void fill_mask(const struct attention_dispatch *dispatch, const struct mask_block *block, struct kernel_arguments *arguments)
{
    const struct mask_limits limits = mask_limits_of(dispatch->problem, block);
    const bool own_is_key = dispatch->side == OWN_KEYS || dispatch->side == OWN_BIAS;
    arguments->lower = own_is_key ? -limits.upper : limits.lower;
    arguments->upper = own_is_key ? -limits.lower : limits.upper;
    arguments->stair = own_is_key ? limits.row_stair : limits.key_stair;
    arguments->stair_phase = own_is_key ? limits.key_phase : limits.query_phase;
    arguments->causal_block = (uint32_t)dispatch->problem->causal_block;
}

static void fill_modifiers(const struct attention_dispatch *dispatch, const struct mask_block *block, struct kernel_arguments *arguments)
{
    const struct problem *problem = dispatch->problem;
    if (problem->alibi) {
        const struct mask_alibi alibi = mask_alibi_of(problem, block);
        arguments->alibi_diagonal = alibi.diagonal;
        arguments->alibi_low = alibi.low;
        arguments->alibi_high = alibi.high;
        arguments->alibi_far = alibi.far;
    }
    const double softcap = fmin(fmax(problem->softcap, LEAST_SOFTCAP), MOST_SOFTCAP);
    const double scale = clamp(problem->scale, MOST_SCALE);
    arguments->scale = (float)scale;
    arguments->dot_scale = (float)(problem->softcap > 0 ? clamp(scale / softcap, MOST_SCALE) : scale * LOG2_E);
    arguments->softcap = (float)(softcap * LOG2_E);
    arguments->dropout_threshold = (uint32_t)(problem->dropout * 4294967296.0);
    arguments->dropout_scale = (float)(1 / (1 - problem->dropout));
    arguments->seed[0] = (uint32_t)dispatch->queries->seed;
    arguments->seed[1] = (uint32_t)(dispatch->queries->seed >> 32);
    arguments->query_position = (uint32_t)((uint64_t)problem->query_offset + block->query_row);
    arguments->key_quad = (uint32_t)(block->key_row >> 2);
    arguments->key_phase = (uint32_t)(block->key_row & 3);
    arguments->query_stride = (uint32_t)block->query_stride;
    arguments->key_stride = (uint32_t)block->key_stride;
}

struct mask_block dispatch_block(const struct attention_dispatch *dispatch)
{
    const struct query_tensors *queries = dispatch->queries;
    const struct key_tensors *keys = dispatch->keys;
    const struct extent extent = extent_of(dispatch);
    return (struct mask_block){
        .query_row = queries->query_row + extent.first_row * max_u64(queries->query_stride, 1),
        .rows = extent.rows,
        .key_row = keys->key_row + extent.first_key * max_u64(keys->key_stride, 1),
        .keys = extent.keys,
        .query_stride = max_u64(queries->query_stride, 1),
        .key_stride = max_u64(keys->key_stride, 1),
    };
}

void arguments_write(const struct attention_dispatch *dispatch, void *to)
{
    const struct problem *problem = dispatch->problem;
    const struct extent extent = extent_of(dispatch);
    const struct mask_block block = dispatch_block(dispatch);
    struct kernel_arguments arguments = {
        .state = dispatch->state_address + dispatch->box.first_workgroup * dispatch->state_bytes_per_workgroup,
        .rows = (uint32_t)extent.rows,
        .keys = (uint32_t)extent.keys,
        .first_batch = (uint32_t)(problem->first_entry + dispatch->box.first_batch),
        .first_head = (uint32_t)dispatch->box.first_head,
        .batches = (uint32_t)problem->batch,
        .heads = (uint32_t)problem->heads,
        .heads_per_kv_head = (uint32_t)(problem->heads / problem->kv_heads),
        .first_row = (uint32_t)extent.first_row,
        .first_key = (uint32_t)extent.first_key,
        .query_fine_ranges = (uint32_t)max_u64(segment_fine_ranges(dispatch->queries->rows), 1),
        .key_fine_ranges = (uint32_t)max_u64(segment_fine_ranges(dispatch->keys->keys), 1),
        .first = dispatch->first,
        .last = dispatch->last,
        .splits = (uint32_t)dispatch->box.splits,
        .split_keys = (uint32_t)dispatch->split_keys,
        .entries = (uint32_t)dispatch->box.batch,
    };
    fill_tensors(dispatch, &extent, &arguments);
    fill_mask(dispatch, &block, &arguments);
    fill_modifiers(dispatch, &block, &arguments);
    memcpy(to, &arguments, sizeof(arguments));
}
