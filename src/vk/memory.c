/* SPDX-License-Identifier: MIT */
#include "memory.h"

#include <stdlib.h>

#include "../base/checked.h"

#define USAGE                                                                                                                              \
    (VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |                   \
     VK_BUFFER_USAGE_TRANSFER_DST_BIT)

#define LOCAL VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
#define VISIBLE VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT
#define COHERENT VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
#define CACHED VK_MEMORY_PROPERTY_HOST_CACHED_BIT

/* Types that need a feature to be turned on, or protected queues. */
#define NEVER                                                                                                                              \
    (VK_MEMORY_PROPERTY_PROTECTED_BIT | VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT | VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD |             \
     VK_MEMORY_PROPERTY_DEVICE_UNCACHED_BIT_AMD)

/* Types of memory, best first: flags that must be there, and flags that must not. */
struct preference {
    VkMemoryPropertyFlags has, lacks;
};

enum { MAX_PREFERENCES = 4 };

static const struct preference *preferences_of(const vkring_device *device, enum vk_memory_kind kind)
{
    static const struct preference unified[MAX_PREFERENCES] = {{LOCAL | VISIBLE | CACHED | COHERENT, 0}, {LOCAL | VISIBLE | CACHED, 0}};
    static const struct preference local[MAX_PREFERENCES] = {{LOCAL, VISIBLE}, {LOCAL, 0}};
    static const struct preference host[MAX_PREFERENCES] = {
        {VISIBLE | CACHED | COHERENT, LOCAL}, {VISIBLE | CACHED | COHERENT, 0}, {VISIBLE | CACHED, 0}, {VISIBLE | COHERENT, 0}};
    static const struct preference arguments[MAX_PREFERENCES] = {{VISIBLE | COHERENT | LOCAL, 0}, {VISIBLE | COHERENT, 0}};
    switch (kind) {
    case VK_MEMORY_DEVICE:
        return device->limits.unified_memory ? unified : local;
    case VK_MEMORY_HOST:
        return device->limits.unified_memory ? unified : host;
    case VK_MEMORY_ARGUMENTS:
        break;
    }
    return arguments;
}

static bool counts_as_host(const vkring_device *device, enum vk_memory_kind kind)
{
    return kind == VK_MEMORY_HOST && !device->limits.unified_memory;
}

static VkBufferCreateInfo buffer_info(const vkring_device *device, uint64_t size_bytes, uint32_t families[2])
{
    families[0] = device->queues[VK_QUEUE_COMPUTE].family;
    families[1] = device->queues[VK_QUEUE_TRANSFER].family;
    const bool shared = families[0] != families[1];
    return (VkBufferCreateInfo){
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = size_bytes,
        .usage = USAGE,
        .sharingMode = shared ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
        .queueFamilyIndexCount = shared ? 2 : 0,
        .pQueueFamilyIndices = shared ? families : NULL,
    };
}

static enum vkring_status check_size(const vkring_device *device, uint64_t size_bytes)
{
    if (size_bytes <= device->limits.max_buffer_bytes)
        return VKRING_OK;
    return status_fail(VKRING_ERROR_OUT_OF_DEVICE_MEMORY, "a buffer of %llu bytes is more than the %llu that %s allows",
                       (unsigned long long)size_bytes, (unsigned long long)device->limits.max_buffer_bytes, device->info.name);
}

enum vkring_status vk_buffer_measure(vkring_device *device, enum vk_memory_kind kind, uint64_t size_bytes, uint64_t *out_bytes,
                                     bool *out_host)
{
    enum vkring_status status;
    VkMemoryRequirements2 requirements = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    uint32_t families[2];
    VkBufferCreateInfo info = buffer_info(device, size_bytes, families);
    VkDeviceBufferMemoryRequirements query = {.sType = VK_STRUCTURE_TYPE_DEVICE_BUFFER_MEMORY_REQUIREMENTS, .pCreateInfo = &info};
    TRY(check_size(device, size_bytes), fail);
    if (!device->handle)
        requirements.memoryRequirements.size = divide_up(size_bytes, VK_DESCRIBED_ALIGNMENT) * VK_DESCRIBED_ALIGNMENT;
    else if (size_bytes)
        device->fn.vkGetDeviceBufferMemoryRequirements(device->handle, &query, &requirements);
    *out_bytes = requirements.memoryRequirements.size;
    *out_host = counts_as_host(device, kind);
    return VKRING_OK;
fail:
    return status;
}

static void raise_peak(atomic_uint_fast64_t *peak, uint64_t bytes)
{
    uint64_t seen = atomic_load(peak);
    while (seen < bytes && !atomic_compare_exchange_weak(peak, &seen, bytes))
        ;
}

static void account(vkring_buffer *buffer)
{
    vkring_device *device = buffer->device;
    if (buffer->counts_as_host)
        raise_peak(&device->host_peak_bytes, atomic_fetch_add(&device->host_bytes, buffer->allocated_bytes) + buffer->allocated_bytes);
    else
        raise_peak(&device->device_peak_bytes, atomic_fetch_add(&device->device_bytes, buffer->allocated_bytes) + buffer->allocated_bytes);
}

static VkResult try_type(vkring_buffer *buffer, uint64_t bytes, uint32_t type)
{
    const VkMemoryAllocateFlagsInfo flags = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
    };
    const VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = &flags,
        .allocationSize = bytes,
        .memoryTypeIndex = type,
    };
    return buffer->device->fn.vkAllocateMemory(buffer->device->handle, &info, NULL, &buffer->memory);
}

/* The first type in untried that fits a preference and may hold so many bytes, or UINT32_MAX. */
static uint32_t find_type(const VkPhysicalDeviceMemoryProperties *memory, const struct preference *preference, uint64_t bytes,
                          uint32_t untried)
{
    for (uint32_t type = 0; type < memory->memoryTypeCount; type++) {
        const VkMemoryPropertyFlags flags = memory->memoryTypes[type].propertyFlags;
        if ((untried >> type & 1) && (flags & preference->has) == preference->has && !(flags & (preference->lacks | NEVER)) &&
            bytes <= memory->memoryHeaps[memory->memoryTypes[type].heapIndex].size)
            return type;
    }
    return UINT32_MAX;
}

/* Tries each fitting type once, best first, so that one full heap is not the end. */
static VkResult allocate_best(vkring_buffer *buffer, enum vk_memory_kind kind, uint32_t untried, VkMemoryPropertyFlags *out_flags)
{
    const vkring_device *device = buffer->device;
    const struct preference *preferences = preferences_of(device, kind);
    VkPhysicalDeviceMemoryProperties memory;
    device->instance.get_memory_properties(device->physical, &memory);
    for (int i = 0; i < MAX_PREFERENCES && preferences[i].has; i++)
        for (uint32_t type; (type = find_type(&memory, &preferences[i], buffer->allocated_bytes, untried)) != UINT32_MAX;) {
            VkResult result = try_type(buffer, buffer->allocated_bytes, type);
            *out_flags = memory.memoryTypes[type].propertyFlags;
            if (result != VK_ERROR_OUT_OF_DEVICE_MEMORY)
                return result;
            untried &= ~(1u << type);
        }
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

static enum vkring_status allocate(vkring_buffer *buffer, enum vk_memory_kind kind, VkMemoryPropertyFlags *out_flags)
{
    vkring_device *device = buffer->device;
    VkMemoryRequirements requirements;
    device->fn.vkGetBufferMemoryRequirements(device->handle, buffer->handle, &requirements);
    buffer->allocated_bytes = requirements.size;
    VkResult result = allocate_best(buffer, kind, requirements.memoryTypeBits, out_flags);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY)
        return status_fail(VKRING_ERROR_OUT_OF_DEVICE_MEMORY, "%s has no %llu bytes left; %llu are taken", device->info.name,
                           (unsigned long long)requirements.size, (unsigned long long)atomic_load(&device->device_bytes));
    return vk_status(result, "vkAllocateMemory");
}

static uint64_t address_of(const vkring_buffer *buffer)
{
    const VkBufferDeviceAddressInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = buffer->handle};
    return buffer->device->fn.vkGetBufferDeviceAddress(buffer->device->handle, &info) + buffer->offset_bytes;
}

static enum vkring_status map(vkring_buffer *buffer, enum vk_memory_kind kind, VkMemoryPropertyFlags flags)
{
    vkring_device *device = buffer->device;
    if (kind == VK_MEMORY_DEVICE && !device->limits.unified_memory)
        return VKRING_OK;
    buffer->cached = flags & CACHED;
    buffer->coherent = (flags & COHERENT) && (kind == VK_MEMORY_ARGUMENTS || device->limits.host_coherent);
    return vk_status(device->fn.vkMapMemory(device->handle, buffer->memory, 0, VK_WHOLE_SIZE, 0, &buffer->mapped), "vkMapMemory");
}

enum vkring_status vk_buffer_create(vkring_device *device, enum vk_memory_kind kind, uint64_t size_bytes, vkring_buffer **out_buffer)
{
    enum vkring_status status;
    VkMemoryPropertyFlags flags = 0;
    uint32_t families[2];
    vkring_buffer *buffer = calloc(1, sizeof(*buffer));
    if (!buffer)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a buffer");
    buffer->device = device;
    buffer->owned = true;
    buffer->size_bytes = size_bytes;
    buffer->counts_as_host = counts_as_host(device, kind);
    if (size_bytes) {
        TRY(check_size(device, size_bytes), fail);
        const VkBufferCreateInfo info = buffer_info(device, size_bytes, families);
        TRY(vk_status(device->fn.vkCreateBuffer(device->handle, &info, NULL, &buffer->handle), "vkCreateBuffer"), fail);
        TRY(allocate(buffer, kind, &flags), fail);
        account(buffer);
        TRY(vk_status(device->fn.vkBindBufferMemory(device->handle, buffer->handle, buffer->memory, 0), "vkBindBufferMemory"), fail);
        TRY(map(buffer, kind, flags), fail);
        buffer->address = address_of(buffer);
    }
    *out_buffer = buffer;
    return VKRING_OK;
fail:
    vkring_buffer_destroy(&buffer);
    return status;
}

enum vkring_status vkring_buffer_create(vkring_device *device, uint64_t size_bytes, vkring_buffer **out_buffer)
{
    return vk_buffer_create(device, VK_MEMORY_DEVICE, size_bytes, out_buffer);
}

enum vkring_status vkring_buffer_create_from_vulkan(vkring_device *device, VkBuffer handle, uint64_t offset_bytes, uint64_t size_bytes,
                                                    vkring_buffer **out_buffer)
{
    vkring_buffer *buffer;
    uint64_t end;
    VkMemoryRequirements requirements;
    if (!handle)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "handle is null");
    if (offset_bytes % 16)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "offset_bytes %llu is not a multiple of 16", (unsigned long long)offset_bytes);
    /* never less than the buffer's own size, which Vulkan does not tell */
    device->fn.vkGetBufferMemoryRequirements(device->handle, handle, &requirements);
    if (!checked_add(offset_bytes, size_bytes, &end) || end > requirements.size)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%llu bytes at %llu leave the application's buffer",
                           (unsigned long long)size_bytes, (unsigned long long)offset_bytes);
    buffer = calloc(1, sizeof(*buffer));
    if (!buffer)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a buffer");
    buffer->device = device;
    buffer->size_bytes = size_bytes;
    if (size_bytes) {
        buffer->handle = handle;
        buffer->offset_bytes = offset_bytes;
        buffer->address = address_of(buffer);
    }
    *out_buffer = buffer;
    return VKRING_OK;
}

enum vkring_status vkring_buffer_set_vulkan_sync(vkring_buffer *buffer, const struct vkring_vulkan_sync *sync)
{
    buffer->sync = *sync;
    return VKRING_OK;
}

void vkring_buffer_destroy(vkring_buffer **buffer_pointer)
{
    vkring_buffer *buffer = buffer_pointer ? *buffer_pointer : NULL;
    if (!buffer)
        return;
    *buffer_pointer = NULL;
    const bool stays = atomic_load(&buffer->device->busy);
    if (buffer->memory && !stays)
        atomic_fetch_sub(buffer->counts_as_host ? &buffer->device->host_bytes : &buffer->device->device_bytes, buffer->allocated_bytes);
    if (buffer->owned && !stays) {
        buffer->device->fn.vkDestroyBuffer(buffer->device->handle, buffer->handle, NULL);
        buffer->device->fn.vkFreeMemory(buffer->device->handle, buffer->memory, NULL);
    }
    free(buffer);
}

void vk_buffer_quarantine(vkring_buffer *buffer)
{
    if (!buffer)
        return;
    buffer->owned = false;
    buffer->allocated_bytes = 0;
    vk_device_quarantine(buffer->device);
}

uint64_t vkring_buffer_size(const vkring_buffer *buffer)
{
    return buffer->size_bytes;
}

/* Mapped ranges go to the driver in whole atoms. */
static VkMappedMemoryRange range_of(const vkring_buffer *buffer, uint64_t offset_bytes, uint64_t size_bytes)
{
    const uint64_t atom = max_u64(buffer->device->limits.non_coherent_atom_bytes, 1);
    const uint64_t first = offset_bytes / atom * atom;
    const uint64_t end = divide_up(offset_bytes + size_bytes, atom) * atom;
    return (VkMappedMemoryRange){
        .sType = VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE,
        .memory = buffer->memory,
        .offset = first,
        .size = end >= buffer->allocated_bytes ? VK_WHOLE_SIZE : end - first,
    };
}

enum vkring_status vk_buffer_flush(vkring_buffer *buffer, uint64_t offset_bytes, uint64_t size_bytes)
{
    if (!buffer->mapped || buffer->coherent || size_bytes == 0)
        return VKRING_OK;
    const VkMappedMemoryRange range = range_of(buffer, offset_bytes, size_bytes);
    return vk_status(buffer->device->fn.vkFlushMappedMemoryRanges(buffer->device->handle, 1, &range), "vkFlushMappedMemoryRanges");
}

enum vkring_status vk_buffer_invalidate(vkring_buffer *buffer, uint64_t offset_bytes, uint64_t size_bytes)
{
    if (!buffer->mapped || buffer->coherent || size_bytes == 0)
        return VKRING_OK;
    const VkMappedMemoryRange range = range_of(buffer, offset_bytes, size_bytes);
    return vk_status(buffer->device->fn.vkInvalidateMappedMemoryRanges(buffer->device->handle, 1, &range),
                     "vkInvalidateMappedMemoryRanges");
}
