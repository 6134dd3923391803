/* SPDX-License-Identifier: MIT */
/** Buffers that a part of a cache needs: measured before, or taken. */
#ifndef VKRING_CACHE_MEMORY_WISH_H
#define VKRING_CACHE_MEMORY_WISH_H

#include <vkring/cache.h>

#include "../vk/memory.h"

struct memory_wish {
    enum vk_memory_kind kind;
    uint64_t bytes;
};

/** Adds what they would take. */
enum vkring_status memory_wish_measure(vkring_device *device, const struct memory_wish *wishes, int count,
                                       struct vkring_cache_memory *memory);
/** One buffer each; after a failure those before it are there. */
enum vkring_status memory_wish_take(vkring_device *device, const struct memory_wish *wishes, int count, vkring_buffer **const *out_buffers);

#endif
