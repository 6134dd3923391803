/* SPDX-License-Identifier: MIT */
/** Going through the rows of tensors on the device: copying a strided one into a packed one, adding gradients. */
#ifndef VKRING_ATTENTION_ROWS_H
#define VKRING_ATTENTION_ROWS_H

#include "../vk/commands.h"
#include "../vk/pipeline_pool.h"
#include "tensor.h"

struct rows_kernel {
    const struct vk_pipeline *aligned, *general;
    uint64_t from_bytes, to_bytes; /* of an element */
};

/** Copies elements of 2 or 4 bytes. */
enum vkring_status pack_kernel_create(vkring_device *device, uint64_t element_bytes, struct rows_kernel *out_kernel);
/** Adds elements of f32, to ones of the type. */
enum vkring_status add_kernel_create(vkring_device *device, enum vkring_type type, struct rows_kernel *out_kernel);
/** Accepts one that was not created. */
void rows_kernel_destroy(vkring_device *device, struct rows_kernel *kernel);

/** Records a copy of a tensor of that shape. */
void pack_record(vkring_device *device, const struct vk_commands *commands, const struct rows_kernel *kernel,
                 const struct tensor_shape *shape, const struct tensor_view *from, const struct tensor_view *to);
/** Records to = a + onto. The two lie alike; one without an address is all zeros. */
void add_record(vkring_device *device, const struct vk_commands *commands, const struct rows_kernel *kernel,
                const struct tensor_shape *shape, const struct tensor_view *a, const struct tensor_view *onto,
                const struct tensor_view *to);

#endif
