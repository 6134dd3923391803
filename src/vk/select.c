/* SPDX-License-Identifier: MIT */
#include "select.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/checked.h"
#include "device.h"

static void link_features(struct vk_features *features)
{
    memset(features, 0, sizeof(*features));
    features->head.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    features->head.pNext = &features->v11;
    features->v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
    features->v11.pNext = &features->v12;
    features->v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    features->v12.pNext = &features->v13;
    features->v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
}

void vk_features_wanted(const struct vk_instance *instance, VkPhysicalDevice physical, struct vk_features *out_features)
{
    struct vk_features has;
    const struct vk_matrix_extensions extensions = vk_matrix_extensions_find(instance, physical);
    link_features(&has);
    if (extensions.matrices)
        has.v13.pNext = vk_matrix_features_link(extensions, &has.matrix);
    instance->get_features(physical, &has.head);
    link_features(out_features);
    out_features->head.features.shaderInt16 = has.head.features.shaderInt16;
    out_features->head.features.shaderInt64 = has.head.features.shaderInt64;
    out_features->v11.storageBuffer16BitAccess = has.v11.storageBuffer16BitAccess;
    out_features->v11.uniformAndStorageBuffer16BitAccess = has.v11.uniformAndStorageBuffer16BitAccess;
    out_features->v12.bufferDeviceAddress = has.v12.bufferDeviceAddress;
    out_features->v12.timelineSemaphore = has.v12.timelineSemaphore;
    out_features->v12.scalarBlockLayout = has.v12.scalarBlockLayout;
    out_features->v13.synchronization2 = has.v13.synchronization2;
    out_features->v13.maintenance4 = has.v13.maintenance4;
    out_features->v13.subgroupSizeControl = has.v13.subgroupSizeControl;
    out_features->v13.computeFullSubgroups = has.v13.computeFullSubgroups;
    if (extensions.matrices && vk_matrix_features_enabled(&has.matrix) && has.v12.vulkanMemoryModel && has.v12.shaderFloat16) {
        out_features->v12.vulkanMemoryModel = VK_TRUE;
        out_features->v12.shaderFloat16 = VK_TRUE;
        out_features->v13.pNext = vk_matrix_features_want(&has.matrix, &out_features->matrix);
        out_features->extensions[out_features->extension_count++] = VK_MATRIX_EXTENSION;
        if (vk_matrix_operations_enabled(&out_features->matrix))
            out_features->extensions[out_features->extension_count++] = VK_MATRIX_OPERATIONS_EXTENSION;
        if (vk_matrix_bfloat16_enabled(&out_features->matrix))
            out_features->extensions[out_features->extension_count++] = VK_BFLOAT16_EXTENSION;
    }
}

static void find_families(const struct vk_instance *instance, struct vk_candidate *candidate)
{
    const VkQueueFamilyProperties *families = candidate->families;
    candidate->family_count = VK_MOST_FAMILIES;
    candidate->compute_family = NO_FAMILY;
    candidate->transfer_family = NO_FAMILY;
    instance->get_queue_families(candidate->physical, &candidate->family_count, candidate->families);
    for (uint32_t i = 0; i < candidate->family_count; i++) {
        const VkQueueFlags flags = families[i].queueFlags;
        if (families[i].queueCount == 0)
            continue;
        if (candidate->compute_family == NO_FAMILY && (flags & VK_QUEUE_COMPUTE_BIT)) {
            candidate->compute_family = i;
            candidate->timestamp_bits = families[i].timestampValidBits;
        }
        if (candidate->transfer_family == NO_FAMILY && (flags & VK_QUEUE_TRANSFER_BIT) &&
            !(flags & (VK_QUEUE_COMPUTE_BIT | VK_QUEUE_GRAPHICS_BIT)))
            candidate->transfer_family = i;
    }
}

static enum vkring_device_kind kind_of(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return VKRING_DEVICE_DISCRETE;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return VKRING_DEVICE_INTEGRATED;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return VKRING_DEVICE_VIRTUAL;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return VKRING_DEVICE_CPU;
    default:
        return VKRING_DEVICE_OTHER;
    }
}

static void find_reason(struct vk_candidate *candidate, const struct vk_features *features)
{
    const struct {
        bool has;
        const char *reason;
    } needs[] = {
        {features->v12.bufferDeviceAddress, "no bufferDeviceAddress"},
        {features->v12.timelineSemaphore, "no timelineSemaphore"},
        {features->v12.scalarBlockLayout, "no scalarBlockLayout"},
        {features->v13.synchronization2, "no synchronization2"},
        {features->v13.maintenance4, "no maintenance4"},
        {candidate->compute_family != NO_FAMILY, "no compute queue"},
    };
    for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
        if (!needs[i].has) {
            snprintf(candidate->info.reason, sizeof(candidate->info.reason), "%s", needs[i].reason);
            return;
        }
    candidate->info.supported = true;
}

static uint64_t local_memory(const VkPhysicalDeviceMemoryProperties *memory)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < memory->memoryHeapCount; i++)
        if (memory->memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
            bytes += memory->memoryHeaps[i].size;
    return bytes;
}

static bool has_memory_type(const VkPhysicalDeviceMemoryProperties *memory, VkMemoryPropertyFlags flags)
{
    for (uint32_t i = 0; i < memory->memoryTypeCount; i++)
        if ((memory->memoryTypes[i].propertyFlags & flags) == flags)
            return true;
    return false;
}

/*
 * Vulkan doesn't tell. AMD before RDNA has 256 for subgroups of 64, of which so many that three or four share a processor; RDNA and NVIDIA
 * have about 256 that several subgroups of 32 can have; Intel has 4 or 8 KiB for each thread, a subgroup of at least 8 or 16.
 */
static uint32_t lane_registers(const struct vk_candidate *candidate)
{
    const bool narrow = candidate->limits.min_subgroup_size <= 32;
    return narrow && (candidate->info.vendor_id == VK_VENDOR_AMD || candidate->info.vendor_id == VK_VENDOR_NVIDIA) ? 256 : 128;
}

static void read_limits(const VkPhysicalDeviceProperties *basic, const VkPhysicalDeviceVulkan11Properties *v11,
                        const VkPhysicalDeviceVulkan13Properties *v13, const VkPhysicalDeviceMemoryProperties *memory,
                        const struct vk_features *features, struct vk_candidate *candidate)
{
    struct vk_limits *limits = &candidate->limits;
    const bool shares_memory = candidate->info.kind == VKRING_DEVICE_CPU || candidate->info.kind == VKRING_DEVICE_INTEGRATED;
    const VkMemoryPropertyFlags cached = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    memcpy(limits->max_workgroup_count, basic->limits.maxComputeWorkGroupCount, sizeof(limits->max_workgroup_count));
    limits->max_workgroup_invocations = basic->limits.maxComputeWorkGroupInvocations;
    limits->shared_memory_bytes = basic->limits.maxComputeSharedMemorySize;
    limits->subgroup_size = v11->subgroupSize;
    limits->subgroup_size_control = features->v13.subgroupSizeControl && features->v13.computeFullSubgroups &&
                                    (v13->requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT);
    limits->min_subgroup_size = limits->subgroup_size_control ? v13->minSubgroupSize : v11->subgroupSize;
    limits->max_subgroup_size = limits->subgroup_size_control ? v13->maxSubgroupSize : v11->subgroupSize;
    limits->subgroup_shuffle = (v11->subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) &&
                               (v11->subgroupSupportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT);
    limits->integers_64bit = features->head.features.shaderInt64;
    limits->storage_16bit = features->v11.storageBuffer16BitAccess && features->head.features.shaderInt16;
    limits->unified_memory = shares_memory && has_memory_type(memory, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | cached);
    limits->host_coherent = has_memory_type(memory, cached | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) || !has_memory_type(memory, cached);
    limits->transfer_queue = candidate->transfer_family != NO_FAMILY;
    limits->non_coherent_atom_bytes = basic->limits.nonCoherentAtomSize;
    /* maxMemoryAllocationSize is not a limit to keep: NVIDIA reports 4 GiB and allocates more. Where it is one, the driver says so. */
    limits->max_buffer_bytes = v13->maxBufferSize;
    candidate->tick_seconds = (double)basic->limits.timestampPeriod * 1e-9;
    limits->timestamp_seconds = candidate->timestamp_bits ? candidate->tick_seconds : 0;
    limits->lane_registers = lane_registers(candidate);
}

/* Matrices are spread over a subgroup: its size must be known when a pipeline is made. */
static bool has_known_subgroups(const VkPhysicalDeviceVulkan11Properties *v11, const VkPhysicalDeviceVulkan13Properties *v13,
                                const struct vk_limits *limits)
{
    return (limits->subgroup_size_control || v13->minSubgroupSize == v13->maxSubgroupSize) &&
           (v11->subgroupSupportedOperations & VK_SUBGROUP_FEATURE_VOTE_BIT);
}

/* As that of Mesa 26.1 does in subgroups of 16, with LP_NATIVE_VECTOR_WIDTH=512. */
static bool compiler_crashes_on_matrices(const struct vkring_device_info *info, const struct vk_limits *limits)
{
    return strstr(info->driver, "llvmpipe") && limits->subgroup_size > 8;
}

void vk_candidate_describe_limits(const struct vk_limits *limits, struct vkring_device_info *info)
{
    info->subgroup_size = limits->subgroup_size;
    info->min_subgroup_size = limits->min_subgroup_size;
    info->lane_registers = limits->lane_registers;
    info->shared_memory_bytes = limits->shared_memory_bytes;
    info->f16 = limits->storage_16bit;
    info->matrix_shape_count = limits->matrix_shape_count;
    memcpy(info->matrix_shapes, limits->matrix_shapes, sizeof(info->matrix_shapes));
    info->unified_memory = limits->unified_memory;
    info->transfer_queue = limits->transfer_queue;
}

void vk_candidate_read(const struct vk_instance *instance, VkPhysicalDevice physical, struct vk_candidate *out_candidate)
{
    struct vk_candidate candidate = {.physical = physical};
    struct vkring_device_info *info = &candidate.info;
    struct vk_features features;
    VkPhysicalDeviceMemoryProperties memory;
    VkPhysicalDeviceVulkan13Properties v13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
    VkPhysicalDeviceVulkan12Properties v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES, .pNext = &v13};
    VkPhysicalDeviceVulkan11Properties v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &v12};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    const VkPhysicalDeviceProperties *basic = &properties.properties;

    instance->get_properties(physical, &properties);
    snprintf(info->name, sizeof(info->name), "%s", basic->deviceName);
    info->kind = kind_of(basic->deviceType);
    info->vendor_id = basic->vendorID;
    info->device_id = basic->deviceID;
    info->vulkan_version[0] = VK_API_VERSION_MAJOR(basic->apiVersion);
    info->vulkan_version[1] = VK_API_VERSION_MINOR(basic->apiVersion);
    info->vulkan_version[2] = VK_API_VERSION_PATCH(basic->apiVersion);
    instance->get_memory_properties(physical, &memory);
    info->memory_bytes = local_memory(&memory);
    if (basic->apiVersion < VK_API_VERSION_1_3) {
        snprintf(info->reason, sizeof(info->reason), "Vulkan %u.%u, not 1.3", info->vulkan_version[0], info->vulkan_version[1]);
        *out_candidate = candidate;
        return;
    }
    properties.pNext = &v11;
    instance->get_properties(physical, &properties);
    snprintf(info->driver, sizeof(info->driver), "%s %s", v12.driverName, v12.driverInfo);
    memcpy(candidate.uuid, v11.deviceUUID, sizeof(candidate.uuid));
    vk_features_wanted(instance, physical, &features);
    find_families(instance, &candidate);
    read_limits(basic, &v11, &v13, &memory, &features, &candidate);
    if (features.extension_count && has_known_subgroups(&v11, &v13, &candidate.limits) &&
        !compiler_crashes_on_matrices(info, &candidate.limits)) {
        vk_matrix_shapes_read(instance, physical, &candidate.limits);
        candidate.limits.matrix_operations = vk_matrix_operations_enabled(&features.matrix);
        if (!vk_matrix_bfloat16_enabled(&features.matrix))
            candidate.limits.bfloat16_shape = (struct vkring_matrix_shape){0};
    }
    vk_candidate_describe_limits(&candidate.limits, info);
    find_reason(&candidate, &features);
    *out_candidate = candidate;
}

static int rank_of_kind(enum vkring_device_kind kind)
{
    switch (kind) {
    case VKRING_DEVICE_DISCRETE:
        return 0;
    case VKRING_DEVICE_INTEGRATED:
        return 1;
    case VKRING_DEVICE_VIRTUAL:
        return 2;
    case VKRING_DEVICE_OTHER:
        return 3;
    case VKRING_DEVICE_CPU:
        return 4;
    }
    return 5;
}

static bool is_better(const struct vk_candidate *a, const struct vk_candidate *b)
{
    if (a->info.supported != b->info.supported)
        return a->info.supported;
    return rank_of_kind(a->info.kind) < rank_of_kind(b->info.kind);
}

/* Insertion sort: stable, so equals stay in the loader's order. */
static void sort(struct vk_candidate *candidates, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        const struct vk_candidate moved = candidates[i];
        uint32_t at = i;
        for (; at > 0 && is_better(&moved, &candidates[at - 1]); at--)
            candidates[at] = candidates[at - 1];
        candidates[at] = moved;
    }
}

enum vkring_status vk_candidates_list(const struct vk_instance *instance, struct vk_candidate **out_candidates, uint32_t *out_count)
{
    enum vkring_status status;
    VkPhysicalDevice devices[64];
    uint32_t count = 64;
    VkResult result = instance->enumerate_devices(instance->handle, &count, devices);
    if (result == VK_ERROR_INITIALIZATION_FAILED || result == VK_ERROR_INCOMPATIBLE_DRIVER)
        count = 0; /* how loaders say that there is no driver */
    else if (result != VK_INCOMPLETE)
        TRY(vk_status(result, "vkEnumeratePhysicalDevices"), fail);
    struct vk_candidate *candidates = calloc(count ? count : 1, sizeof(*candidates));
    if (!candidates)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for %u devices", count);
    for (uint32_t i = 0; i < count; i++)
        vk_candidate_read(instance, devices[i], &candidates[i]);
    sort(candidates, count);
    *out_candidates = candidates;
    *out_count = count;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_devices_list(struct vkring_device_info *infos, uint32_t capacity, uint32_t *out_count)
{
    struct vk_instance instance;
    struct vk_candidate *candidates = NULL;
    struct log log = {0};
    uint32_t count = 0;
    enum vkring_status status;
    if (!out_count || (!infos && capacity))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "infos or out_count is null");
    status = vk_instance_create(false, &log, &instance);
    if (status != VKRING_OK)
        return status;
    status = vk_candidates_list(&instance, &candidates, &count);
    if (status == VKRING_OK) {
        for (uint32_t i = 0; i < count && i < capacity; i++)
            infos[i] = candidates[i].info;
        *out_count = count;
    }
    free(candidates);
    vk_instance_destroy(&instance);
    return status;
}
