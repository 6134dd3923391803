/* SPDX-License-Identifier: MIT */
/** Buffers: each its own allocation of the memory type that suits its use, with a device address and, where visible, mapped for good. */
#ifndef VKRING_VK_MEMORY_H
#define VKRING_VK_MEMORY_H

#include "device.h"

#define VK_DESCRIBED_ALIGNMENT 64u

enum vk_memory_kind {
    VK_MEMORY_DEVICE,  /* fastest for kernels; also mapped where memory is unified */
    VK_MEMORY_HOST,    /* host-visible and cached: read and written by both sides */
    VK_MEMORY_ARGUMENTS, /* host-visible and coherent, device-local if there is such a type: written by the host, read by kernels */
};

struct vkring_buffer {
    vkring_device *device;
    VkBuffer handle;
    VkDeviceMemory memory; /* null for an empty buffer and for one of the application */
    bool owned;            /* handle and memory are ours to free */
    uint64_t allocated_bytes; /* as accounted for */
    uint64_t offset_bytes; /* into handle */
    uint64_t size_bytes;
    uint64_t address;      /* of the first byte; 0 for an empty buffer */
    void *mapped;          /* the first byte, or null */
    bool cached, coherent; /* of the mapping */
    bool counts_as_host;
    struct vkring_vulkan_sync sync; /* used up by the next run */
};

/** As vkring_buffer_create, of a kind. An empty buffer has no handle and address 0. Handles have usages storage, transfer both ways and device address. */
enum vkring_status vk_buffer_create(vkring_device *device, enum vk_memory_kind kind, uint64_t size_bytes, vkring_buffer **out_buffer);

/** How many bytes vk_buffer_create(kind, size_bytes) will account for (with the driver's size and alignment), and whether as host memory. Of a device that
 * is only described, without a handle, the size is rounded up to a multiple of VK_DESCRIBED_ALIGNMENT. */
enum vkring_status vk_buffer_measure(vkring_device *device, enum vk_memory_kind kind, uint64_t size_bytes, uint64_t *out_bytes, bool *out_host);

/** After host writes and before the device reads; nothing to do where coherent. The range is widened to whole atoms. */
enum vkring_status vk_buffer_flush(vkring_buffer *buffer, uint64_t offset_bytes, uint64_t size_bytes);
/** After device writes and before the host reads. */
enum vkring_status vk_buffer_invalidate(vkring_buffer *buffer, uint64_t offset_bytes, uint64_t size_bytes);

/**
 * Leaves the buffer's memory in place, and accounted for, when the buffer is destroyed: something that cannot be called back, such as a
 * message that was given up, may still touch it. So is its device left. Accepts null.
 */
void vk_buffer_quarantine(vkring_buffer *buffer);

#endif
