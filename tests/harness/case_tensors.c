/* SPDX-License-Identifier: MIT */
#include "case_tensors.h"

#include <string.h>

#include "case_problem.h"

static const char *const names[TENSORS] = {
    "query",  "key", "value",        "query_segment_ids", "key_segment_ids", "bias",     "alibi_slopes", "sinks",     "output_grad",
    "output", "lse", "lse_residual", "output_residual",   "query_grad",      "key_grad", "value_grad",   "bias_grad", "sink_grad",
};

const char *case_tensor_name(enum case_tensor tensor)
{
    return names[tensor];
}

bool case_writes(enum case_tensor tensor)
{
    return tensor >= OUTPUT;
}

bool case_has(const struct attention_case *c, enum case_tensor tensor)
{
    const struct vkring_plan_params *p = &c->params;
    switch (tensor) {
    case QUERY_SEGMENT_IDS:
    case KEY_SEGMENT_IDS:
        return p->segment_ids;
    case BIAS:
        return p->bias.present;
    case ALIBI_SLOPES:
        return p->alibi;
    case SINKS:
        return p->sinks;
    case LSE:
        return !c->no_lse;
    case LSE_RESIDUAL:
    case OUTPUT_RESIDUAL:
        return p->backward && !c->no_residuals;
    case OUTPUT_GRAD:
        return p->backward;
    case QUERY_GRAD:
    case KEY_GRAD:
    case VALUE_GRAD:
        return p->backward && !(c->unwanted >> (tensor - QUERY_GRAD) & 1);
    case BIAS_GRAD:
        return p->backward && p->bias.present && !(c->unwanted >> (tensor - QUERY_GRAD) & 1);
    case SINK_GRAD:
        return p->backward && p->sinks && !(c->unwanted >> (tensor - QUERY_GRAD) & 1);
    default:
        return true;
    }
}

enum vkring_type case_tensor_type(const struct attention_case *c, enum case_tensor tensor)
{
    switch (tensor) {
    case BIAS:
    case BIAS_GRAD:
        return c->params.bias.type;
    case QUERY_SEGMENT_IDS: /* four bytes that are moved, not converted */
    case KEY_SEGMENT_IDS:
    case ALIBI_SLOPES:
    case SINKS:
    case SINK_GRAD:
    case LSE:
    case LSE_RESIDUAL:
        return VKRING_TYPE_F32;
    default:
        return c->params.type;
    }
}

struct tensor_shape_of_test case_tensor_shape(const struct attention_case *c, const struct vkring_plan_info *info, enum case_tensor tensor)
{
    const struct vkring_plan_params *p = &c->params;
    typedef struct tensor_shape_of_test shape;
    switch (tensor) {
    case QUERY:
    case QUERY_GRAD:
        return (shape){p->batch, info->rows.query_rows, p->heads, p->head_dim};
    case KEY:
    case KEY_GRAD:
        return (shape){p->batch, info->rows.key_rows, case_kv_heads(c), p->head_dim};
    case VALUE:
    case VALUE_GRAD:
        return (shape){p->batch, info->rows.key_rows, case_kv_heads(c), case_value_dim(c)};
    case OUTPUT:
    case OUTPUT_RESIDUAL:
    case OUTPUT_GRAD:
        return (shape){p->batch, info->rows.query_rows, p->heads, case_value_dim(c)};
    case LSE:
    case LSE_RESIDUAL:
        return (shape){p->batch, 1, p->heads, info->rows.query_rows};
    case QUERY_SEGMENT_IDS:
        return (shape){p->batch, 1, 1, info->rows.query_rows};
    case KEY_SEGMENT_IDS:
        return (shape){p->batch, 1, 1, info->rows.key_rows};
    case BIAS:
    case BIAS_GRAD:
        return p->bias.per_query ? (shape){case_bias_batch(c), case_bias_heads(c), info->rows.query_rows, p->kv_len}
                                 : (shape){case_bias_batch(c), case_bias_heads(c), 1, info->rows.key_rows};
    case ALIBI_SLOPES:
    case SINKS:
    case SINK_GRAD:
        return (shape){1, 1, 1, p->heads};
    case TENSORS:
        break;
    }
    return (shape){0};
}

/* Whether a tensor is cut over the ranks as queries are, or as keys, or not at all. */
static struct case_slice cut(const struct attention_case *c, const struct vkring_plan_info *info, enum case_tensor tensor)
{
    const struct vkring_rank_rows *rows = &info->rows;
    struct case_slice by_query = {.whole_rows = c->params.q_len, .rows = rows->query_rows};
    struct case_slice by_key = {.whole_rows = c->params.kv_len, .rows = rows->key_rows};
    memcpy(by_query.spans, rows->query_spans, sizeof(by_query.spans));
    memcpy(by_key.spans, rows->key_spans, sizeof(by_key.spans));
    switch (tensor) {
    case KEY:
    case VALUE:
    case KEY_GRAD:
    case VALUE_GRAD:
    case KEY_SEGMENT_IDS:
        return by_key;
    case BIAS:
    case BIAS_GRAD:
        return c->params.bias.per_query ? by_query : by_key;
    case ALIBI_SLOPES:
    case SINKS:
    case SINK_GRAD:
        return (struct case_slice){.whole_rows = 1, .rows = 1, .spans = {{0, 1, 1}}};
    default:
        return by_query;
    }
}

struct case_slice case_slice(const struct attention_case *c, const struct vkring_plan_info *info, enum case_tensor tensor)
{
    const struct vkring_plan_params *p = &c->params;
    struct case_slice slice = cut(c, info, tensor);
    slice.width = 1;
    switch (tensor) {
    case LSE:
    case LSE_RESIDUAL:
        slice.blocks = p->batch * p->heads;
        return slice;
    case BIAS:
    case BIAS_GRAD:
        slice.blocks = case_bias_batch(c) * case_bias_heads(c);
        slice.width = p->bias.per_query ? p->kv_len : 1;
        return slice;
    case QUERY_SEGMENT_IDS:
    case KEY_SEGMENT_IDS:
        slice.blocks = p->batch;
        return slice;
    default: {
        const struct tensor_shape_of_test shape = case_tensor_shape(c, info, tensor);
        slice.blocks = shape.batch;
        slice.width = shape.heads * shape.dim;
        return slice;
    }
    }
}

uint64_t case_whole_count(const struct attention_case *c, enum case_tensor tensor)
{
    const struct case_slice slice = case_slice(c, &(struct vkring_plan_info){0}, tensor);
    return slice.blocks * slice.whole_rows * slice.width;
}

uint64_t case_slice_count(const struct attention_case *c, const struct vkring_plan_info *info, enum case_tensor tensor)
{
    const struct case_slice slice = case_slice(c, info, tensor);
    return slice.blocks * slice.rows * slice.width;
}

void case_take_slice(const struct case_slice *slice, uint64_t element_bytes, const void *whole, void *out_part)
{
    const uint64_t row = slice->width * element_bytes;
    char *to = out_part;
    for (uint64_t b = 0; b < slice->blocks; b++)
        for (const struct vkring_span *span = slice->spans; span < slice->spans + VKRING_SPANS; span++)
            for (uint64_t i = 0; i < span->rows; i++, to += row)
                memcpy(to, (const char *)whole + (b * slice->whole_rows + span->first + i * span->stride) * row, row);
}
