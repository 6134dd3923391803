/* SPDX-License-Identifier: MIT */
/** Tensors after they were found inside their buffers. */
#ifndef VKRING_ATTENTION_TENSOR_H
#define VKRING_ATTENTION_TENSOR_H

#include "../vk/memory.h"

/** A tensor [batch][rows][heads][dim] found in its buffer. Strides in bytes. */
struct tensor_view {
    vkring_buffer *buffer; /* null: no elements, or not wanted */
    uint64_t offset_bytes; /* into the buffer */
    uint64_t address;
    uint64_t batch_stride, row_stride, head_stride;
    bool packed;
};

struct tensor_shape {
    const char *name; /* for errors */
    uint64_t element_bytes;
    uint64_t batch, rows, heads, dim;
};

bool tensor_is_empty(const struct tensor_shape *shape);

/** Packed strides replace those that are 0. */
enum vkring_status tensor_resolve(const struct vkring_tensor *tensor, const struct tensor_shape *shape, struct tensor_view *out_view);
/** [batch][heads][rows] with contiguous rows of 4 bytes, in a shape of one row and dimension `rows`; row_stride becomes 4. No two elements
 * share a place. */
enum vkring_status tensor_resolve_vector(const struct vkring_tensor *tensor, const struct tensor_shape *shape,
                                         struct tensor_view *out_view);
/** No two elements share a place; for tensors that are written. */
enum vkring_status tensor_check_distinct(const struct tensor_view *view, const struct tensor_shape *shape);

/** VKRING_ERROR_INVALID_ARGUMENT: its buffer is of another device. */
enum vkring_status tensor_check_device(const struct tensor_view *view, const char *name, const vkring_device *device);

/** VKRING_ERROR_UNSUPPORTED: heads lie so far apart that kernels don't find several from one address. */
enum vkring_status tensor_check_near_heads(const struct tensor_view *view, const char *name);

/** Address and strides are multiples of bytes; so it is where there is no tensor. */
bool tensor_aligned(const struct tensor_view *view, uint64_t bytes);
/** Where an element row begins. */
uint64_t tensor_address(const struct tensor_view *view, uint64_t batch, uint64_t row, uint64_t head);

#endif
