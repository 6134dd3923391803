/* SPDX-License-Identifier: MIT */
/** Copying strided tensors into packed ones on the device: the owner's keys and values into their packet. */
#ifndef VKRING_ATTENTION_PACK_H
#define VKRING_ATTENTION_PACK_H

#include "../vk/commands.h"
#include "tensor.h"

struct pack_kernel {
    struct vk_pipeline aligned, general;
    uint64_t element_bytes;
};

/** For elements of 2 or 4 bytes. */
enum vkring_status pack_kernel_create(vkring_device *device, uint64_t element_bytes, struct pack_kernel *out_kernel);
/** Accepts one that was not created. */
void pack_kernel_destroy(vkring_device *device, struct pack_kernel *kernel);

/** Records copies of a tensor that is not empty to to_address, packed. */
void pack_record(vkring_device *device, const struct vk_commands *commands, const struct pack_kernel *kernel,
                 const struct tensor_view *from, const struct tensor_shape *shape, uint64_t to_address);

#endif
