/* SPDX-License-Identifier: MIT */
#include "tensor.h"

#include "../base/checked.h"

/* Kernels index the quads of a few neighbouring rows, or heads of them, with 32 bits. */
#define MAX_ROW_STRIDE_BYTES ((uint64_t)1 << 27)

bool tensor_is_empty(const struct tensor_shape *shape)
{
    return shape->batch == 0 || shape->rows == 0 || shape->heads == 0 || shape->dim == 0;
}

/* Bytes from the first element to the end of the last. */
static bool extent(const struct tensor_view *view, const struct tensor_shape *shape, uint64_t *out_bytes)
{
    uint64_t batch, row, head, sum;
    if (!checked_multiply(shape->batch - 1, view->batch_stride, &batch) || !checked_multiply(shape->rows - 1, view->row_stride, &row) ||
        !checked_multiply(shape->heads - 1, view->head_stride, &head))
        return false;
    if (!checked_add(batch, row, &sum) || !checked_add(sum, head, &sum))
        return false;
    return checked_add(sum, shape->dim * shape->element_bytes, out_bytes);
}

static enum vkring_status check_inside(const struct tensor_view *view, const struct tensor_shape *shape)
{
    uint64_t bytes, end;
    if (view->offset_bytes % shape->element_bytes != 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: offset_bytes %llu is not a multiple of the element's %llu bytes",
                           shape->name, (unsigned long long)view->offset_bytes, (unsigned long long)shape->element_bytes);
    if (!extent(view, shape, &bytes) || !checked_add(view->offset_bytes, bytes, &end))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: strides reach past 2^64 bytes", shape->name);
    if (end > view->buffer->size_bytes)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s needs %llu bytes of a buffer of %llu", shape->name, (unsigned long long)end,
                           (unsigned long long)view->buffer->size_bytes);
    if (view->row_stride > MAX_ROW_STRIDE_BYTES)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "%s: rows lie more than 128 MiB apart", shape->name);
    return VKRING_OK;
}

static bool stride_bytes(uint64_t elements, uint64_t packed_elements, uint64_t element_bytes, uint64_t *out_bytes)
{
    return checked_multiply(elements ? elements : packed_elements, element_bytes, out_bytes);
}

enum vkring_status tensor_resolve(const struct vkring_tensor *tensor, const struct tensor_shape *shape, struct tensor_view *out_view)
{
    enum vkring_status status;
    struct tensor_view view = {.buffer = tensor->buffer, .offset_bytes = tensor->offset_bytes};
    const uint64_t row = shape->heads * shape->dim;
    const uint64_t bytes = shape->element_bytes;

    if (tensor_is_empty(shape)) {
        *out_view = (struct tensor_view){0};
        return VKRING_OK;
    }
    if (!view.buffer)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: buffer is null", shape->name);
    if (!stride_bytes(tensor->sequence_stride, row, bytes, &view.row_stride) ||
        !stride_bytes(tensor->head_stride, shape->dim, bytes, &view.head_stride) ||
        !stride_bytes(tensor->batch_stride, shape->rows * row, bytes, &view.batch_stride))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: a stride is past 2^64 bytes", shape->name);
    TRY(check_inside(&view, shape), fail);
    view.address = view.buffer->address + view.offset_bytes;
    view.packed = view.row_stride == row * bytes && (shape->heads == 1 || view.head_stride == shape->dim * bytes) &&
                  (shape->batch == 1 || view.batch_stride == shape->rows * row * bytes);
    *out_view = view;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status tensor_resolve_vector(const struct vkring_tensor *tensor, const struct tensor_shape *shape, struct tensor_view *out_view)
{
    struct vkring_tensor seen = *tensor;
    struct tensor_view view;
    enum vkring_status status;
    seen.sequence_stride = 0;
    if (!seen.batch_stride && !checked_multiply(tensor->head_stride, shape->heads, &seen.batch_stride))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: a stride is past 2^64 elements", shape->name);
    TRY(tensor_resolve(&seen, shape, &view), fail);
    TRY(tensor_check_distinct(&view, shape), fail);
    view.row_stride = shape->element_bytes;
    *out_view = view;
    return VKRING_OK;
fail:
    return status;
}

struct axis {
    uint64_t stride, count;
};

/* Sorted by stride, each axis must step over all that lies inside it. */
enum vkring_status tensor_check_distinct(const struct tensor_view *view, const struct tensor_shape *shape)
{
    struct axis axes[] = {{view->batch_stride, shape->batch}, {view->row_stride, shape->rows}, {view->head_stride, shape->heads}};
    uint64_t inner = shape->dim * shape->element_bytes;
    if (!view->buffer)
        return VKRING_OK;
    for (int i = 0; i < 3; i++)
        for (int j = i + 1; j < 3; j++)
            if (axes[j].stride < axes[i].stride) {
                struct axis swapped = axes[i];
                axes[i] = axes[j];
                axes[j] = swapped;
            }
    for (int i = 0; i < 3; i++) {
        if (axes[i].count <= 1)
            continue;
        if (axes[i].stride < inner)
            return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: strides put elements on top of each other", shape->name);
        inner += (axes[i].count - 1) * axes[i].stride;
    }
    return VKRING_OK;
}

enum vkring_status tensor_check_device(const struct tensor_view *view, const char *name, const vkring_device *device)
{
    if (!view->buffer || view->buffer->device == device)
        return VKRING_OK;
    return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: the buffer is of another device", name);
}

enum vkring_status tensor_check_near_heads(const struct tensor_view *view, const char *name)
{
    if (view->head_stride <= MAX_ROW_STRIDE_BYTES)
        return VKRING_OK;
    return status_fail(VKRING_ERROR_UNSUPPORTED, "%s: heads lie more than 128 MiB apart", name);
}

bool tensor_aligned(const struct tensor_view *view, uint64_t bytes)
{
    return (view->address | view->batch_stride | view->row_stride | view->head_stride) % bytes == 0;
}

uint64_t tensor_address(const struct tensor_view *view, uint64_t batch, uint64_t row, uint64_t head)
{
    return view->address + batch * view->batch_stride + row * view->row_stride + head * view->head_stride;
}
