/* SPDX-License-Identifier: MIT */
#include "keys_by_head.h"

static uint64_t part_bytes(const struct problem *problem, enum key_part part, uint64_t keys)
{
    const struct tensor_shape shape = key_part_shape(problem, part, keys);
    return shape.batch * shape.heads * shape.rows * shape.dim * shape.element_bytes;
}

uint64_t keys_by_head_bytes(const struct problem *problem, uint64_t keys)
{
    return part_bytes(problem, KEY_PART_KEY, keys) + part_bytes(problem, KEY_PART_VALUE, keys);
}

enum vkring_status keys_by_head_create(vkring_device *device, const struct problem *problem, uint64_t most_keys,
                                       struct keys_by_head *out_copy)
{
    enum vkring_status status;
    struct keys_by_head copy = {0};
    TRY(pack_kernel_create(device, key_part_shape(problem, KEY_PART_KEY, most_keys).element_bytes, &copy.pack), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, keys_by_head_bytes(problem, most_keys), &copy.buffer), fail);
    *out_copy = copy;
    return VKRING_OK;
fail:
    keys_by_head_destroy(device, &copy);
    return status;
}

void keys_by_head_destroy(vkring_device *device, struct keys_by_head *copy)
{
    rows_kernel_destroy(device, &copy->pack);
    vkring_buffer_destroy(&copy->buffer);
}

static struct tensor_view view_of(const struct keys_by_head *copy, const struct problem *problem, enum key_part part, uint64_t keys)
{
    const struct tensor_shape shape = key_part_shape(problem, part, keys);
    const uint64_t row = shape.dim * shape.element_bytes;
    const uint64_t offset = part == KEY_PART_VALUE ? part_bytes(problem, KEY_PART_KEY, keys) : 0;
    return (struct tensor_view){
        .buffer = copy->buffer,
        .offset_bytes = offset,
        .address = copy->buffer->address + offset,
        .batch_stride = shape.heads * shape.rows * row,
        .row_stride = row,
        .head_stride = shape.rows * row,
    };
}

void keys_by_head_place(const struct keys_by_head *copy, const struct problem *problem, struct key_tensors *keys)
{
    keys->key = view_of(copy, problem, KEY_PART_KEY, keys->keys);
    keys->value = view_of(copy, problem, KEY_PART_VALUE, keys->keys);
}

void keys_by_head_record(vkring_device *device, const struct vk_commands *commands, const struct keys_by_head *copy,
                         const struct problem *problem, const struct key_tensors *keys)
{
    for (enum key_part part = KEY_PART_KEY; part <= KEY_PART_VALUE; part++) {
        const struct tensor_shape shape = key_part_shape(problem, part, keys->keys);
        const struct tensor_view to = view_of(copy, problem, part, keys->keys);
        pack_record(device, commands, &copy->pack, &shape, part == KEY_PART_KEY ? &keys->key : &keys->value, &to);
    }
}
