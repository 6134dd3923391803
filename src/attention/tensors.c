/* SPDX-License-Identifier: MIT */
#include "tensors.h"

#include "../base/checked.h"

/* Kernels index a tile of a bias with 32 bits: so many elements a row, and at most 256 rows. */
#define MAX_BIAS_ROW_ELEMENTS (((uint64_t)1 << 24) - 1)

static struct tensor_shape rows_shape(const struct problem *problem, const char *name, uint64_t rows, uint64_t heads, uint64_t dim)
{
    return (struct tensor_shape){name, vkring_type_bytes(problem->type), problem->batch, rows, heads, dim};
}

static struct tensor_shape vector_shape(const char *name, uint64_t batch, uint64_t heads, uint64_t rows)
{
    return (struct tensor_shape){name, sizeof(float), batch, 1, heads, rows};
}

/* [batch or 1][heads or 1][rows][keys], seen as rows of `keys` elements. */
struct tensor_shape tensors_bias_shape(const struct problem *problem, const char *name, uint64_t rows, uint64_t keys)
{
    const struct vkring_bias_params *bias = &problem->bias;
    return (struct tensor_shape){name, vkring_type_bytes(bias->type),       bias->per_batch ? problem->batch : 1,
                                 rows, bias->per_head ? problem->heads : 1, keys};
}

/* What a tensor repeats over it steps over by 0 bytes. */
static void repeat_bias(const struct problem *problem, struct tensor_view *view)
{
    if (!problem->bias.per_batch)
        view->batch_stride = 0;
    if (!problem->bias.per_head)
        view->head_stride = 0;
    if (!problem->bias.per_query)
        view->row_stride = 0;
}

static enum vkring_status resolve_bias(const struct problem *problem, const struct vkring_tensor *tensor, const struct tensor_shape *shape,
                                       bool written, struct tensor_view *out_view)
{
    enum vkring_status status;
    struct vkring_tensor seen = *tensor;
    struct tensor_view view;
    uint64_t head;
    if (!checked_multiply(shape->rows, shape->dim, &head))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s has more than 2^64 elements", shape->name);
    if (!seen.sequence_stride)
        seen.sequence_stride = shape->dim;
    if (seen.sequence_stride > MAX_BIAS_ROW_ELEMENTS)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "%s: rows lie more than %llu elements apart", shape->name,
                           (unsigned long long)MAX_BIAS_ROW_ELEMENTS);
    if (!seen.head_stride)
        seen.head_stride = shape->rows > 1 && tensor->sequence_stride ? shape->rows * tensor->sequence_stride : head;
    if (!seen.batch_stride && !checked_multiply(seen.head_stride, shape->heads, &seen.batch_stride))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: a stride is past 2^64 elements", shape->name);
    TRY(tensor_resolve(&seen, shape, &view), fail);
    if (written)
        TRY(tensor_check_distinct(&view, shape), fail);
    view.packed = seen.head_stride == head && seen.batch_stride == head * shape->heads && seen.sequence_stride == shape->dim;
    if (view.buffer)
        repeat_bias(problem, &view);
    *out_view = view;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status tensors_resolve_bias(const struct problem *problem, const struct vkring_tensor *tensor, const struct tensor_shape *shape,
                                        struct tensor_view *out_view)
{
    return resolve_bias(problem, tensor, shape, false, out_view);
}

/* A tensor that is read, or one that is written and may be left out. */
static enum vkring_status resolve_rows(const struct vkring_tensor *tensor, const struct tensor_shape *shape, bool written, bool optional,
                                       struct tensor_view *out_view)
{
    enum vkring_status status;
    *out_view = (struct tensor_view){0};
    if (optional && !tensor->buffer)
        return VKRING_OK;
    TRY(tensor_resolve(tensor, shape, out_view), fail);
    if (written)
        TRY(tensor_check_distinct(out_view, shape), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status resolve_masks(const struct problem *problem, const struct vkring_forward_io *io, uint64_t query_rows,
                                        uint64_t key_rows, struct query_tensors *queries, struct key_tensors *keys)
{
    enum vkring_status status;
    const struct tensor_shape query_ids = vector_shape("query_segment_ids", problem->batch, 1, query_rows);
    const struct tensor_shape key_ids = vector_shape("key_segment_ids", problem->batch, 1, key_rows);
    if (problem->segment_ids) {
        TRY(tensor_resolve_vector(&io->query_segment_ids, &query_ids, &queries->ids), fail);
        TRY(tensor_resolve_vector(&io->key_segment_ids, &key_ids, &keys->ids), fail);
    }
    if (problem->bias.present) {
        const bool rows = problem->bias.per_query;
        const struct tensor_shape shape = tensors_bias_shape(problem, "bias", rows ? query_rows : 1, rows ? problem->kv_len : key_rows);
        TRY(resolve_bias(problem, &io->bias, &shape, false, rows ? &queries->bias : &keys->bias), fail);
    }
    if (problem->alibi) {
        const struct tensor_shape slopes = vector_shape("alibi_slopes", 1, 1, problem->heads);
        TRY(tensor_resolve_vector(&io->alibi_slopes, &slopes, &queries->slopes), fail);
    }
    if (problem->sinks) {
        const struct tensor_shape sinks = vector_shape("sinks", 1, 1, problem->heads);
        TRY(tensor_resolve_vector(&io->sinks, &sinks, &queries->sinks), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

/* Inputs of forward, and its results: which backward reads. */
static enum vkring_status resolve(const struct problem *problem, const struct vkring_forward_io *io, uint64_t query_rows, uint64_t key_rows,
                                  bool backward, struct query_tensors *out_queries, struct key_tensors *out_keys)
{
    enum vkring_status status;
    struct query_tensors queries = {.rows = query_rows, .seed = io->seed};
    struct key_tensors keys = {.keys = key_rows};
    const struct tensor_shape query = rows_shape(problem, "query", query_rows, problem->heads, problem->head_dim);
    const struct tensor_shape output = rows_shape(problem, "output", query_rows, problem->heads, problem->value_dim);
    const struct tensor_shape output_residual = rows_shape(problem, "output_residual", query_rows, problem->heads, problem->value_dim);
    const struct tensor_shape key = key_part_shape(problem, KEY_PART_KEY, key_rows);
    const struct tensor_shape value = key_part_shape(problem, KEY_PART_VALUE, key_rows);
    const struct tensor_shape lse = vector_shape("lse", problem->batch, problem->heads, query_rows);
    const struct tensor_shape residual = vector_shape("lse_residual", problem->batch, problem->heads, query_rows);

    TRY(resolve_rows(&io->query, &query, false, false, &queries.query), fail);
    TRY(resolve_rows(&io->key, &key, false, false, &keys.key), fail);
    TRY(resolve_rows(&io->value, &value, false, false, &keys.value), fail);
    TRY(resolve_rows(&io->output, &output, !backward, false, &queries.output), fail);
    if (problem->type != VKRING_TYPE_F32)
        TRY(resolve_rows(&io->output_residual, &output_residual, !backward, true, &queries.output_residual), fail);
    if (io->lse.buffer || backward)
        TRY(tensor_resolve_vector(&io->lse, &lse, &queries.lse), fail);
    if (io->lse_residual.buffer)
        TRY(tensor_resolve_vector(&io->lse_residual, &residual, &queries.lse_residual), fail);
    TRY(resolve_masks(problem, io, query_rows, key_rows, &queries, &keys), fail);
    *out_queries = queries;
    *out_keys = keys;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status tensors_resolve_scales(const struct problem *problem, const struct vkring_tensor *key_scales,
                                          const struct vkring_tensor *value_scales, uint64_t key_rows, struct key_tensors *keys)
{
    enum vkring_status status;
    const struct tensor_shape key = key_part_shape(problem, KEY_PART_KEY_SCALES, key_rows);
    const struct tensor_shape value = key_part_shape(problem, KEY_PART_VALUE_SCALES, key_rows);
    TRY(tensor_resolve_vector(key_scales, &key, &keys->key_scales), fail);
    TRY(tensor_resolve_vector(value_scales, &value, &keys->value_scales), fail);
fail:
    return status;
}

enum vkring_status tensors_resolve_forward(const struct problem *problem, const struct vkring_forward_io *io, uint64_t query_rows,
                                           uint64_t key_rows, struct query_tensors *out_queries, struct key_tensors *out_keys)
{
    return resolve(problem, io, query_rows, key_rows, false, out_queries, out_keys);
}

static enum vkring_status resolve_gradients(const struct problem *problem, const struct vkring_backward_io *io, uint64_t query_rows,
                                            uint64_t key_rows, struct query_tensors *queries, struct key_tensors *keys)
{
    enum vkring_status status;
    struct tensor_shape output = rows_shape(problem, "output_grad", query_rows, problem->heads, problem->value_dim);
    struct tensor_shape query = rows_shape(problem, "query_grad", query_rows, problem->heads, problem->head_dim);
    struct tensor_shape key = key_part_shape(problem, KEY_PART_KEY, key_rows), value = key_part_shape(problem, KEY_PART_VALUE, key_rows);
    key.name = "key_grad";
    value.name = "value_grad";
    TRY(resolve_rows(&io->output_grad, &output, false, false, &queries->output_grad), fail);
    TRY(resolve_rows(&io->query_grad, &query, true, true, &queries->query_grad), fail);
    TRY(resolve_rows(&io->key_grad, &key, true, true, &keys->key_grad), fail);
    TRY(resolve_rows(&io->value_grad, &value, true, true, &keys->value_grad), fail);
    if (io->bias_grad.buffer) {
        const bool rows = problem->bias.per_query;
        const struct tensor_shape bias = tensors_bias_shape(problem, "bias_grad", rows ? query_rows : 1, rows ? problem->kv_len : key_rows);
        TRY(resolve_bias(problem, &io->bias_grad, &bias, true, rows ? &queries->bias_grad : &keys->bias_grad), fail);
    }
    if (io->sink_grad.buffer) {
        const struct tensor_shape sink = vector_shape("sink_grad", 1, 1, problem->heads);
        TRY(tensor_resolve_vector(&io->sink_grad, &sink, &queries->sink_grad), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status tensors_resolve_backward(const struct problem *problem, const struct vkring_backward_io *io, uint64_t query_rows,
                                            uint64_t key_rows, struct query_tensors *out_queries, struct key_tensors *out_keys)
{
    enum vkring_status status;
    if (io->bias_grad.buffer && !problem->bias.present)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "bias_grad is wanted of a plan without bias");
    if (io->sink_grad.buffer && !problem->sinks)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "sink_grad is wanted of a plan without sinks");
    TRY(resolve(problem, &io->forward, query_rows, key_rows, true, out_queries, out_keys), fail);
    TRY(resolve_gradients(problem, io, query_rows, key_rows, out_queries, out_keys), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status tensors_check_device(const vkring_device *device, const struct query_tensors *queries, const struct key_tensors *keys)
{
    const struct {
        const struct tensor_view *view;
        const char *name;
    } tensors[] = {{&queries->query, "query"},
                   {&keys->key, "key"},
                   {&keys->value, "value"},
                   {&queries->output, "output"},
                   {&queries->output_residual, "output_residual"},
                   {&queries->lse, "lse"},
                   {&queries->lse_residual, "lse_residual"},
                   {&queries->ids, "query_segment_ids"},
                   {&keys->ids, "key_segment_ids"},
                   {&queries->bias, "bias"},
                   {&keys->bias, "bias"},
                   {&queries->slopes, "alibi_slopes"},
                   {&queries->sinks, "sinks"},
                   {&queries->output_grad, "output_grad"},
                   {&queries->query_grad, "query_grad"},
                   {&keys->key_grad, "key_grad"},
                   {&keys->value_grad, "value_grad"},
                   {&queries->bias_grad, "bias_grad"},
                   {&keys->bias_grad, "bias_grad"},
                   {&queries->sink_grad, "sink_grad"}};
    enum vkring_status status = VKRING_OK;
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]) && status == VKRING_OK; i++)
        status = tensor_check_device(tensors[i].view, tensors[i].name, device);
    return status;
}

static bool queries_are_aligned(const struct query_tensors *queries, uint64_t bytes)
{
    return tensor_aligned(&queries->query, bytes) && tensor_aligned(&queries->output, bytes) &&
           tensor_aligned(&queries->output_residual, bytes) && tensor_aligned(&queries->output_grad, bytes) &&
           tensor_aligned(&queries->query_grad, bytes);
}

static bool keys_are_aligned(const struct key_tensors *keys, uint64_t bytes)
{
    return tensor_aligned(&keys->key, bytes) && tensor_aligned(&keys->value, bytes) && tensor_aligned(&keys->key_grad, bytes) &&
           tensor_aligned(&keys->value_grad, bytes);
}

enum alignment tensors_alignment(const struct problem *problem, const struct query_tensors *queries, const struct key_tensors *keys)
{
    static const uint64_t elements[ALIGNMENTS] = {[ALIGNED_ELEMENTS] = 1, [ALIGNED_QUADS] = 4, [ALIGNED_OCTETS] = 8};
    enum alignment alignment = problem_alignment(problem);
    for (; alignment > ALIGNED_ELEMENTS; alignment--) {
        const uint64_t bytes = elements[alignment] * vkring_type_bytes(problem->type);
        if (queries_are_aligned(queries, bytes) && (problem->int8_keys || keys_are_aligned(keys, bytes)))
            break;
    }
    return alignment;
}

enum vkring_status tensors_check_near_heads(const struct query_tensors *queries)
{
    enum vkring_status status;
    TRY(tensor_check_near_heads(&queries->query, "query"), fail);
    TRY(tensor_check_near_heads(&queries->output, "output"), fail);
    TRY(tensor_check_near_heads(&queries->output_residual, "output_residual"), fail);
    TRY(tensor_check_near_heads(&queries->lse, "lse"), fail);
    TRY(tensor_check_near_heads(&queries->lse_residual, "lse_residual"), fail);
    return VKRING_OK;
fail:
    return status;
}

struct tensor_shape tensors_query_shape(const struct problem *problem, uint64_t rows)
{
    return rows_shape(problem, "query", rows, problem->heads, problem->head_dim);
}

struct tensor_shape tensors_output_shape(const struct problem *problem, uint64_t rows)
{
    return rows_shape(problem, "output", rows, problem->heads, problem->value_dim);
}

/* Rows of integers are whole words. */
static struct tensor_shape keys_shape(const struct problem *problem, const char *name, uint64_t keys, uint64_t dim)
{
    struct tensor_shape shape = rows_shape(problem, name, keys, problem->kv_heads, dim);
    if (problem->int8_keys) {
        shape.element_bytes = sizeof(uint32_t);
        shape.dim = divide_up(dim, sizeof(uint32_t));
    }
    return shape;
}

struct tensor_shape key_part_shape(const struct problem *problem, enum key_part part, uint64_t keys)
{
    switch (part) {
    case KEY_PART_KEY:
        return keys_shape(problem, "key", keys, problem->head_dim);
    case KEY_PART_VALUE:
        return keys_shape(problem, "value", keys, problem->value_dim);
    case KEY_PART_BIAS:
        if (problem->bias.present && !problem->bias.per_query)
            return tensors_bias_shape(problem, "bias", 1, keys);
        break;
    case KEY_PART_IDS:
        if (problem->segment_ids)
            return vector_shape("key_segment_ids", problem->batch, 1, keys);
        break;
    case KEY_PART_KEY_SCALES:
    case KEY_PART_VALUE_SCALES:
        if (problem->int8_keys)
            return vector_shape(part == KEY_PART_KEY_SCALES ? "key_scales" : "value_scales", problem->batch, problem->kv_heads, keys);
        break;
    case KEY_PARTS:
        break;
    }
    return (struct tensor_shape){.name = "", .element_bytes = 4};
}

struct tensor_view *key_part_view(struct key_tensors *keys, enum key_part part)
{
    struct tensor_view *views[KEY_PARTS] = {&keys->key, &keys->value, &keys->bias, &keys->ids, &keys->key_scales, &keys->value_scales};
    return views[part];
}

struct tensor_view tensors_packed_part(const struct problem *problem, enum key_part part, const struct tensor_shape *shape,
                                       vkring_buffer *buffer, uint64_t offset_bytes)
{
    const uint64_t head = shape->dim * shape->element_bytes;
    struct tensor_view view = {
        .buffer = buffer,
        .offset_bytes = offset_bytes,
        .address = buffer->address + offset_bytes,
        .batch_stride = shape->rows * shape->heads * head,
        .row_stride = shape->heads * head,
        .head_stride = head,
        .packed = true,
    };
    if (part == KEY_PART_BIAS)
        repeat_bias(problem, &view);
    if (part == KEY_PART_IDS || part == KEY_PART_KEY_SCALES || part == KEY_PART_VALUE_SCALES)
        view.row_stride = shape->element_bytes;
    return view;
}
