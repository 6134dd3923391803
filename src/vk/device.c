/* SPDX-License-Identifier: MIT */
#include "device.h"

#include <stdlib.h>
#include <string.h>

#include "cache_file.h"
#include "functions.h"
#include "pipeline_pool.h"
#include "select.h"

static const char *result_name(VkResult result)
{
    switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return "out of host memory";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return "out of device memory";
    case VK_ERROR_INITIALIZATION_FAILED:
        return "initialization failed";
    case VK_ERROR_DEVICE_LOST:
        return "device lost";
    case VK_ERROR_MEMORY_MAP_FAILED:
        return "memory map failed";
    case VK_ERROR_FEATURE_NOT_PRESENT:
        return "feature not present";
    case VK_ERROR_TOO_MANY_OBJECTS:
        return "too many objects";
    default:
        return "failed";
    }
}

enum vkring_status vk_status(VkResult result, const char *call)
{
    enum vkring_status status = VKRING_ERROR_DEVICE;
    if (result >= VK_SUCCESS)
        return VKRING_OK;
    if (result == VK_ERROR_OUT_OF_HOST_MEMORY)
        status = VKRING_ERROR_OUT_OF_HOST_MEMORY;
    else if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_TOO_MANY_OBJECTS)
        status = VKRING_ERROR_OUT_OF_DEVICE_MEMORY;
    else if (result == VK_ERROR_DEVICE_LOST)
        status = VKRING_ERROR_DEVICE_LOST;
    return status_fail(status, "%s: %s (%d)", call, result_name(result), (int)result);
}

/* Into volk's table, but from this instance's vkGetDeviceProcAddr: volk's own loading goes through globals. */
static enum vkring_status load_functions(vkring_device *device)
{
#define LOAD(function)                                                                                                                     \
    device->fn.function = (PFN_##function)device->instance.get_device_proc(device->handle, #function);                                     \
    if (!device->fn.function)                                                                                                              \
        return status_fail(VKRING_ERROR_UNSUPPORTED, "%s has no function %s", device->info.name, #function);
    VK_DEVICE_FUNCTIONS(LOAD)
#undef LOAD
    return VKRING_OK;
}

static void take_candidate(vkring_device *device, const struct vk_candidate *candidate, const struct vk_limit_overrides *overrides)
{
    device->physical = candidate->physical;
    device->info = candidate->info;
    memcpy(device->uuid, candidate->uuid, sizeof(device->uuid));
    device->limits = candidate->limits;
    if (overrides) {
        vk_limits_override(&device->limits, overrides);
        if (overrides->kind)
            device->info.kind = overrides->kind;
    }
    device->queues[VK_QUEUE_COMPUTE].family = candidate->compute_family;
    device->queues[VK_QUEUE_COMPUTE].timestamp_bits = candidate->timestamp_bits;
    device->queues[VK_QUEUE_TRANSFER].family = device->limits.transfer_queue ? candidate->transfer_family : candidate->compute_family;
    vk_candidate_describe_limits(&device->limits, &device->info);
}

static enum vkring_status choose(const struct vk_instance *instance, uint32_t index, struct vk_candidate *out_candidate)
{
    struct vk_candidate *candidates;
    uint32_t count;
    enum vkring_status status = vk_candidates_list(instance, &candidates, &count);
    if (status != VKRING_OK)
        return status;
    if (count == 0)
        status = status_fail(VKRING_ERROR_NO_DEVICE, "no Vulkan device on this machine: install a driver, or check VK_DRIVER_FILES");
    else if (index >= count)
        status = status_fail(VKRING_ERROR_NO_DEVICE, "no device %u: the last is %u", index, count - 1);
    else if (!candidates[index].info.supported)
        status = status_fail(VKRING_ERROR_UNSUPPORTED, "%s can't be used: %s", candidates[index].info.name, candidates[index].info.reason);
    else
        *out_candidate = candidates[index];
    free(candidates);
    return status;
}

static enum vkring_status create_handle(vkring_device *device)
{
    static const float priority = 1.0f;
    const uint32_t compute = device->queues[VK_QUEUE_COMPUTE].family, transfer = device->queues[VK_QUEUE_TRANSFER].family;
    const VkDeviceQueueCreateInfo queues[] = {
        {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueFamilyIndex = compute, .queueCount = 1, .pQueuePriorities = &priority},
        {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueFamilyIndex = transfer, .queueCount = 1, .pQueuePriorities = &priority},
    };
    struct vk_features features;
    vk_features_wanted(&device->instance, device->physical, &features);
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &features.head,
        .queueCreateInfoCount = transfer == compute ? 1 : 2,
        .pQueueCreateInfos = queues,
        .enabledExtensionCount = features.extension_count,
        .ppEnabledExtensionNames = features.extensions,
    };
    return vk_status(device->instance.create_device(device->physical, &info, NULL, &device->handle), "vkCreateDevice");
}

static enum vkring_status allocate(vkring_log_callback log, void *user, vkring_device **out_device)
{
    vkring_device *device = calloc(1, sizeof(*device));
    if (!device)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a device");
    device->log = (struct log){log, user};
    pthread_mutex_init(&device->queue_mutex, NULL);
    pthread_mutex_init(&device->pipelines.mutex, NULL);
    *out_device = device;
    return VKRING_OK;
}

enum vkring_status vk_device_open(const struct vkring_device_params *params, const struct vk_limit_overrides *overrides,
                                  vkring_device **out_device)
{
    static const struct vkring_device_params defaults = {0};
    enum vkring_status status;
    vkring_device *device = NULL;
    struct vk_candidate candidate = {0};
    params = params ? params : &defaults;
    if (params->validation && !params->log)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "validation needs a log");
    TRY(allocate(params->log, params->log_user, &device), fail);
    TRY(vk_instance_create(params->validation, &device->log, &device->instance), fail);
    TRY(choose(&device->instance, params->index, &candidate), fail);
    take_candidate(device, &candidate, overrides);
    TRY(create_handle(device), fail);
    device->owned = true;
    TRY(load_functions(device), fail);
    for (int kind = 0; kind < VK_QUEUE_KINDS; kind++)
        device->fn.vkGetDeviceQueue(device->handle, device->queues[kind].family, 0, &device->queues[kind].handle);
    TRY(vk_pipeline_cache_open(device, params->cache_folder), fail);
    TRY(cache_file_path(device, params->cache_folder, "kernels", &device->kernels_path), fail);
    log_line(&device->log, VKRING_LOG_INFO, "device: %s, %s", device->info.name, device->info.driver);
    *out_device = device;
    return VKRING_OK;
fail:
    vkring_device_destroy(&device);
    return status;
}

static enum vkring_status check_queue(const struct vk_candidate *candidate, const char *name, struct vkring_vulkan_queue queue,
                                      VkQueueFlags flags)
{
    if (queue.family >= candidate->family_count)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s.family is %u, but the device has %u", name, queue.family,
                           candidate->family_count);
    if (queue.index >= candidate->families[queue.family].queueCount)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s.index is %u, but the family has %u queues", name, queue.index,
                           candidate->families[queue.family].queueCount);
    if (!(candidate->families[queue.family].queueFlags & flags))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s.family %u cannot do that", name, queue.family);
    return VKRING_OK;
}

/* What the application turned on counts, not what the device has. */
static enum vkring_status take_application(vkring_device *device, const struct vkring_vulkan_params *params,
                                           const struct vk_limit_overrides *overrides)
{
    enum vkring_status status;
    struct vk_candidate candidate = {0};
    vk_candidate_read(&device->instance, params->physical_device, &candidate);
    if (!candidate.info.supported)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "%s can't be used: %s", candidate.info.name, candidate.info.reason);
    TRY(check_queue(&candidate, "compute", params->compute, VK_QUEUE_COMPUTE_BIT), fail);
    if (params->transfer)
        TRY(check_queue(&candidate, "transfer", *params->transfer, VK_QUEUE_TRANSFER_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_GRAPHICS_BIT),
            fail);
    candidate.compute_family = params->compute.family;
    candidate.timestamp_bits = candidate.families[params->compute.family].timestampValidBits;
    candidate.limits.timestamp_seconds = candidate.timestamp_bits ? candidate.tick_seconds : 0;
    candidate.transfer_family = params->transfer ? params->transfer->family : NO_FAMILY;
    candidate.limits.transfer_queue = params->transfer != NULL;
    candidate.limits.storage_16bit = candidate.limits.storage_16bit && params->storage_16bit;
    if (!params->cooperative_matrix || !candidate.limits.storage_16bit ||
        (!params->subgroup_size_control && candidate.limits.min_subgroup_size != candidate.limits.max_subgroup_size))
        candidate.limits.matrix_shape_count = 0;
    candidate.limits.matrix_operations = candidate.limits.matrix_operations && params->cooperative_matrix_operations;
    if (!params->cooperative_matrix_bfloat16)
        candidate.limits.bfloat16_shape = (struct vkring_matrix_shape){0};
    if (!params->subgroup_size_control) {
        candidate.limits.subgroup_size_control = false;
        candidate.limits.lane_registers =
            candidate.limits.lane_registers * candidate.limits.min_subgroup_size / candidate.limits.subgroup_size;
        candidate.limits.min_subgroup_size = candidate.limits.max_subgroup_size = candidate.limits.subgroup_size;
    }
    take_candidate(device, &candidate, overrides);
    device->lock_queues = params->lock_queues;
    device->unlock_queues = params->unlock_queues;
    device->lock_user = params->lock_user;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vk_device_open_from_vulkan(const struct vkring_vulkan_params *params, const struct vk_limit_overrides *overrides,
                                              vkring_device **out_device)
{
    enum vkring_status status;
    vkring_device *device = NULL;
    if (!params || !params->instance || !params->physical_device || !params->device)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "instance, physical_device or device is null");
    if (!params->lock_queues != !params->unlock_queues)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "lock_queues and unlock_queues come together");
    TRY(allocate(params->log, params->log_user, &device), fail);
    TRY(vk_instance_borrow(params->instance, params->get_instance_proc_addr, &device->instance), fail);
    TRY(take_application(device, params, overrides), fail);
    device->handle = params->device;
    TRY(load_functions(device), fail);
    device->fn.vkGetDeviceQueue(device->handle, params->compute.family, params->compute.index, &device->queues[VK_QUEUE_COMPUTE].handle);
    device->queues[VK_QUEUE_TRANSFER].handle = device->queues[VK_QUEUE_COMPUTE].handle;
    if (device->limits.transfer_queue)
        device->fn.vkGetDeviceQueue(device->handle, params->transfer->family, params->transfer->index,
                                    &device->queues[VK_QUEUE_TRANSFER].handle);
    TRY(vk_pipeline_cache_open(device, params->cache_folder), fail);
    TRY(cache_file_path(device, params->cache_folder, "kernels", &device->kernels_path), fail);
    *out_device = device;
    return VKRING_OK;
fail:
    vkring_device_destroy(&device);
    return status;
}

void vk_device_quarantine(vkring_device *device)
{
    atomic_store(&device->quarantined, true);
}

void vk_device_leave_busy(vkring_device *device)
{
    atomic_store(&device->busy, true);
    vk_device_quarantine(device);
}

void vkring_device_destroy(vkring_device **device_pointer)
{
    vkring_device *device = device_pointer ? *device_pointer : NULL;
    if (!device)
        return;
    *device_pointer = NULL;
    vk_pipeline_cache_close(device);
    free(device->kernels_path);
    device->kernels_path = NULL;
    if (atomic_load(&device->quarantined)) {
        log_line(&device->log, VKRING_LOG_WARNING, "%s is not freed: after a failed run its memory may still be in use", device->info.name);
        return;
    }
    pipeline_pool_trim(device);
    if (device->owned && device->fn.vkDestroyDevice)
        device->fn.vkDestroyDevice(device->handle, NULL);
    vk_instance_destroy(&device->instance);
    pthread_mutex_destroy(&device->pipelines.mutex);
    pthread_mutex_destroy(&device->queue_mutex);
    free(device);
}

void vkring_device_get_info(const vkring_device *device, struct vkring_device_info *out_info)
{
    *out_info = device->info;
}

void vkring_device_get_memory_use(const vkring_device *device, struct vkring_memory_use *out_use)
{
    out_use->device_bytes = atomic_load(&device->device_bytes);
    out_use->device_peak_bytes = atomic_load(&device->device_peak_bytes);
    out_use->host_bytes = atomic_load(&device->host_bytes);
    out_use->host_peak_bytes = atomic_load(&device->host_peak_bytes);
}

void vkring_device_reset_memory_peak(vkring_device *device)
{
    atomic_store(&device->device_peak_bytes, atomic_load(&device->device_bytes));
    atomic_store(&device->host_peak_bytes, atomic_load(&device->host_bytes));
}
