/* SPDX-License-Identifier: MIT */
#include "shadow_memory.h"

#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vk/memory.h>

/* NaN in every type. */
#define POISON 0xff

struct shadow {
    VkDeviceMemory memory;
    unsigned char *of_device, *of_host;
    uint64_t bytes;
    struct shadow *next;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct VolkDeviceTable driver;
static struct shadow *shadows;

/* Where the link to it is, or to none. */
static struct shadow **find(VkDeviceMemory memory)
{
    struct shadow **link = &shadows;
    while (*link && (*link)->memory != memory)
        link = &(*link)->next;
    return link;
}

/* vkring maps all of a memory, and has the address written into the buffer whose memory it is. */
static VkResult map(VkDevice device, VkDeviceMemory memory, VkDeviceSize offset, VkDeviceSize size, VkMemoryMapFlags flags, void **data)
{
    const vkring_buffer *buffer = (const vkring_buffer *)((const char *)data - offsetof(vkring_buffer, mapped));
    const VkResult result = driver.vkMapMemory(device, memory, offset, size, flags, data);
    if (result != VK_SUCCESS || buffer->coherent)
        return result;
    struct shadow *shadow = malloc(sizeof(*shadow));
    unsigned char *of_host = malloc(buffer->allocated_bytes);
    if (!shadow || !of_host) {
        free(shadow);
        free(of_host);
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    memset(of_host, POISON, buffer->allocated_bytes);
    pthread_mutex_lock(&mutex);
    *shadow = (struct shadow){memory, *data, of_host, buffer->allocated_bytes, shadows};
    shadows = shadow;
    pthread_mutex_unlock(&mutex);
    *data = of_host;
    return VK_SUCCESS;
}

static void move(uint32_t count, const VkMappedMemoryRange *ranges, bool to_device)
{
    pthread_mutex_lock(&mutex);
    for (uint32_t i = 0; i < count; i++) {
        const struct shadow *shadow = *find(ranges[i].memory);
        const uint64_t first = ranges[i].offset;
        if (!shadow)
            continue;
        const uint64_t bytes = ranges[i].size == VK_WHOLE_SIZE ? shadow->bytes - first : ranges[i].size;
        if (to_device)
            memcpy(shadow->of_device + first, shadow->of_host + first, bytes);
        else
            memcpy(shadow->of_host + first, shadow->of_device + first, bytes);
    }
    pthread_mutex_unlock(&mutex);
}

static VkResult flush(VkDevice device, uint32_t count, const VkMappedMemoryRange *ranges)
{
    move(count, ranges, true);
    return driver.vkFlushMappedMemoryRanges(device, count, ranges);
}

static VkResult invalidate(VkDevice device, uint32_t count, const VkMappedMemoryRange *ranges)
{
    const VkResult result = driver.vkInvalidateMappedMemoryRanges(device, count, ranges);
    move(count, ranges, false);
    return result;
}

static void free_memory(VkDevice device, VkDeviceMemory memory, const VkAllocationCallbacks *callbacks)
{
    pthread_mutex_lock(&mutex);
    struct shadow **link = find(memory), *shadow = memory ? *link : NULL;
    if (shadow) {
        *link = shadow->next;
        free(shadow->of_host);
        free(shadow);
    }
    pthread_mutex_unlock(&mutex);
    driver.vkFreeMemory(device, memory, callbacks);
}

void shadow_memory_install(vkring_device *device)
{
    if (driver.vkMapMemory && driver.vkMapMemory != device->fn.vkMapMemory) {
        fprintf(stderr, "memory of another driver\n");
        exit(EXIT_FAILURE);
    }
    driver = device->fn;
    device->fn.vkMapMemory = map;
    device->fn.vkFlushMappedMemoryRanges = flush;
    device->fn.vkInvalidateMappedMemoryRanges = invalidate;
    device->fn.vkFreeMemory = free_memory;
}
