/* SPDX-License-Identifier: MIT */
#include "memory_wish.h"

enum vkring_status memory_wish_measure(vkring_device *device, const struct memory_wish *wishes, int count,
                                       struct vkring_cache_memory *memory)
{
    enum vkring_status status;
    for (int i = 0; i < count; i++) {
        uint64_t bytes;
        bool counts_as_host;
        TRY(vk_buffer_measure(device, wishes[i].kind, wishes[i].bytes, &bytes, &counts_as_host), fail);
        *(counts_as_host ? &memory->host_bytes : &memory->device_bytes) += bytes;
    }
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status memory_wish_take(vkring_device *device, const struct memory_wish *wishes, int count, vkring_buffer **const *out_buffers)
{
    enum vkring_status status;
    for (int i = 0; i < count; i++)
        TRY(vk_buffer_create(device, wishes[i].kind, wishes[i].bytes, out_buffers[i]), fail);
    return VKRING_OK;
fail:
    return status;
}
