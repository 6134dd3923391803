/* SPDX-License-Identifier: MIT */
#include "by_head.h"

struct by_head_tensors by_head_of_keys(const struct problem *problem, struct key_tensors *keys)
{
    return (struct by_head_tensors){
        .shape = {key_part_shape(problem, KEY_PART_KEY, keys->keys), key_part_shape(problem, KEY_PART_VALUE, keys->keys)},
        .view = {&keys->key, &keys->value},
        .count = 2,
    };
}

struct by_head_tensors by_head_of_queries(const struct problem *problem, struct query_tensors *queries)
{
    return (struct by_head_tensors){
        .shape = {tensors_query_shape(problem, queries->rows), tensors_output_shape(problem, queries->rows)},
        .view = {&queries->query, &queries->output_grad},
        .count = 2,
    };
}

static uint64_t bytes_before(const struct by_head_tensors *tensors, uint32_t index)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < index; i++) {
        const struct tensor_shape *shape = &tensors->shape[i];
        bytes += shape->batch * shape->heads * shape->rows * shape->dim * shape->element_bytes;
    }
    return bytes;
}

uint64_t by_head_bytes(const struct by_head_tensors *tensors)
{
    return bytes_before(tensors, tensors->count);
}

enum vkring_status by_head_create(vkring_device *device, const struct by_head_tensors *tensors, struct by_head *out_copy)
{
    enum vkring_status status;
    struct by_head copy = {0};
    TRY(pack_kernel_create(device, tensors->shape[0].element_bytes, &copy.pack), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, by_head_bytes(tensors), &copy.buffer), fail);
    *out_copy = copy;
    return VKRING_OK;
fail:
    by_head_destroy(device, &copy);
    return status;
}

void by_head_destroy(vkring_device *device, struct by_head *copy)
{
    rows_kernel_destroy(device, &copy->pack);
    vkring_buffer_destroy(&copy->buffer);
}

static struct tensor_view view_of(const struct by_head *copy, const struct by_head_tensors *tensors, uint32_t index)
{
    const struct tensor_shape *shape = &tensors->shape[index];
    const uint64_t row = shape->dim * shape->element_bytes, offset = bytes_before(tensors, index);
    return (struct tensor_view){
        .buffer = copy->buffer,
        .offset_bytes = offset,
        .address = copy->buffer->address + offset,
        .batch_stride = shape->heads * shape->rows * row,
        .row_stride = row,
        .head_stride = shape->rows * row,
    };
}

void by_head_place(const struct by_head *copy, const struct by_head_tensors *tensors)
{
    for (uint32_t i = 0; i < tensors->count; i++)
        *tensors->view[i] = view_of(copy, tensors, i);
}

void by_head_record(vkring_device *device, const struct vk_commands *commands, const struct by_head *copy,
                    const struct by_head_tensors *tensors)
{
    for (uint32_t i = 0; i < tensors->count; i++) {
        const struct tensor_view to = view_of(copy, tensors, i);
        pack_record(device, commands, &copy->pack, &tensors->shape[i], tensors->view[i], &to);
    }
}
