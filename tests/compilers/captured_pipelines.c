/* SPDX-License-Identifier: MIT */
#include "captured_pipelines.h"

#include <stdlib.h>
#include <string.h>

#include "../harness/loader_hook.h"

/* Of those that the library asks for. */
#define MOST_EXTENSIONS 8u

struct captured_pipelines captured_pipelines;

static PFN_vkGetDeviceProcAddr real_get_device_proc;
static PFN_vkEnumerateDeviceExtensionProperties enumerate_extensions;
static PFN_vkCreateDevice real_create_device;
static PFN_vkCreateComputePipelines real_create_pipelines;
static PFN_vkGetPipelineExecutablePropertiesKHR get_executables;
static PFN_vkGetPipelineExecutableStatisticsKHR get_statistics;

static bool has_extension(VkPhysicalDevice physical)
{
    uint32_t count = 0;
    bool has = false;
    enumerate_extensions(physical, NULL, &count, NULL);
    VkExtensionProperties *extensions = calloc(count ? count : 1, sizeof(*extensions));
    if (!extensions || enumerate_extensions(physical, NULL, &count, extensions) != VK_SUCCESS)
        count = 0;
    for (uint32_t i = 0; i < count; i++)
        has = has || strcmp(extensions[i].extensionName, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME) == 0;
    free(extensions);
    return has;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *callbacks, VkDevice *out_device)
{
    const char *extensions[MOST_EXTENSIONS + 1] = {VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME};
    const VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR feature = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pNext = (void *)(uintptr_t)info->pNext,
        .pipelineExecutableInfo = VK_TRUE,
    };
    VkDeviceCreateInfo extended = *info;
    captured_pipelines.available = info->enabledExtensionCount <= MOST_EXTENSIONS && has_extension(physical);
    if (captured_pipelines.available) {
        extended.pNext = &feature;
        for (uint32_t i = 0; i < info->enabledExtensionCount; i++)
            extensions[1 + i] = info->ppEnabledExtensionNames[i];
        extended.enabledExtensionCount = 1 + info->enabledExtensionCount;
        extended.ppEnabledExtensionNames = extensions;
    }
    return real_create_device(physical, &extended, callbacks, out_device);
}

static double value_of(const VkPipelineExecutableStatisticKHR *statistic)
{
    switch (statistic->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
        return (double)statistic->value.i64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
        return (double)statistic->value.u64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR:
        return statistic->value.f64;
    default:
        return statistic->value.b32 != 0;
    }
}

static void read_statistics(VkDevice device, VkPipeline pipeline, uint32_t index, struct captured_executable *out_executable)
{
    const VkPipelineExecutableInfoKHR info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipeline, .executableIndex = index};
    VkPipelineExecutableStatisticKHR statistics[CAPTURED_STATISTICS];
    uint32_t count = CAPTURED_STATISTICS;
    for (uint32_t i = 0; i < count; i++)
        statistics[i] = (VkPipelineExecutableStatisticKHR){.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR};
    get_statistics(device, &info, &count, statistics);
    out_executable->statistic_count = count;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(out_executable->statistics[i].name, statistics[i].name, sizeof(statistics[i].name));
        out_executable->statistics[i].value = value_of(&statistics[i]);
    }
}

static void read_executables(VkDevice device, VkPipeline pipeline)
{
    const VkPipelineInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = pipeline};
    VkPipelineExecutablePropertiesKHR executables[CAPTURED_EXECUTABLES];
    uint32_t count = CAPTURED_EXECUTABLES;
    for (uint32_t i = 0; i < count; i++)
        executables[i] = (VkPipelineExecutablePropertiesKHR){.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR};
    get_executables(device, &info, &count, executables);
    captured_pipelines.executable_count = count;
    for (uint32_t i = 0; i < count; i++) {
        captured_pipelines.executables[i].subgroup_size = executables[i].subgroupSize;
        read_statistics(device, pipeline, i, &captured_pipelines.executables[i]);
    }
}

/* One at a time, as the library does. */
static VKAPI_ATTR VkResult VKAPI_CALL create_pipelines(VkDevice device, VkPipelineCache cache, uint32_t count,
                                                       const VkComputePipelineCreateInfo *infos, const VkAllocationCallbacks *callbacks,
                                                       VkPipeline *out_pipelines)
{
    VkComputePipelineCreateInfo info = *infos;
    if (!captured_pipelines.available)
        return real_create_pipelines(device, cache, count, infos, callbacks, out_pipelines);
    info.flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR;
    const VkResult result = real_create_pipelines(device, VK_NULL_HANDLE, 1, &info, callbacks, out_pipelines);
    if (result == VK_SUCCESS) {
        read_executables(device, *out_pipelines);
        if (captured_pipelines.on_created)
            captured_pipelines.on_created(captured_pipelines.user);
    }
    return result;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_device_proc(VkDevice device, const char *name)
{
    PFN_vkVoidFunction found = real_get_device_proc(device, name);
    if (!found || strcmp(name, "vkCreateComputePipelines") != 0)
        return found;
    real_create_pipelines = (PFN_vkCreateComputePipelines)found;
    get_executables = (PFN_vkGetPipelineExecutablePropertiesKHR)real_get_device_proc(device, "vkGetPipelineExecutablePropertiesKHR");
    get_statistics = (PFN_vkGetPipelineExecutableStatisticsKHR)real_get_device_proc(device, "vkGetPipelineExecutableStatisticsKHR");
    return (PFN_vkVoidFunction)create_pipelines;
}

PFN_vkVoidFunction VKAPI_CALL hooked_get_instance_proc(VkInstance instance, const char *name)
{
    PFN_vkVoidFunction found = real_get_instance_proc(instance, name);
    if (found && strcmp(name, "vkGetDeviceProcAddr") == 0) {
        real_get_device_proc = (PFN_vkGetDeviceProcAddr)found;
        return (PFN_vkVoidFunction)get_device_proc;
    }
    if (found && strcmp(name, "vkCreateDevice") == 0) {
        real_create_device = (PFN_vkCreateDevice)found;
        enumerate_extensions =
            (PFN_vkEnumerateDeviceExtensionProperties)real_get_instance_proc(instance, "vkEnumerateDeviceExtensionProperties");
        return (PFN_vkVoidFunction)create_device;
    }
    return found;
}

double captured_sum(const struct captured_executable *executable, const char *const *names)
{
    double sum = -1;
    for (; *names; names++)
        for (uint32_t i = 0; i < executable->statistic_count; i++)
            if (strcmp(executable->statistics[i].name, *names) == 0)
                sum = (sum < 0 ? 0 : sum) + executable->statistics[i].value;
    return sum;
}
