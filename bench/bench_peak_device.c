/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <string.h>

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include "../tools/now.h"
#include "bench_peak.h"
#include "peak.spv.h"

#define WORKGROUPS 2048u
#define WORKGROUP_LANES 256u
/* as in peak.comp: chains of a lane, and links of each in a round */
#define CHAINS 8u
#define LINKS 32u
#define MOST_DEVICES 64u
#define MOST_FAMILIES 32u
#define RUN_SECONDS_MOST 60u

#define INSTANCE_FUNCTIONS(X)                                                                                                              \
    X(vkDestroyInstance)                                                                                                                   \
    X(vkEnumeratePhysicalDevices)                                                                                                          \
    X(vkGetPhysicalDeviceProperties)                                                                                                       \
    X(vkGetPhysicalDeviceProperties2)                                                                                                      \
    X(vkGetPhysicalDeviceMemoryProperties)                                                                                                 \
    X(vkGetPhysicalDeviceQueueFamilyProperties)                                                                                            \
    X(vkCreateDevice)                                                                                                                      \
    X(vkGetDeviceProcAddr)

#define DEVICE_FUNCTIONS(X)                                                                                                                \
    X(vkAllocateCommandBuffers)                                                                                                            \
    X(vkAllocateMemory)                                                                                                                    \
    X(vkBeginCommandBuffer)                                                                                                                \
    X(vkBindBufferMemory)                                                                                                                  \
    X(vkCmdBindPipeline)                                                                                                                   \
    X(vkCmdDispatch)                                                                                                                       \
    X(vkCmdPushConstants)                                                                                                                  \
    X(vkCreateBuffer)                                                                                                                      \
    X(vkCreateCommandPool)                                                                                                                 \
    X(vkCreateComputePipelines)                                                                                                            \
    X(vkCreateFence)                                                                                                                       \
    X(vkCreatePipelineLayout)                                                                                                              \
    X(vkCreateShaderModule)                                                                                                                \
    X(vkDestroyBuffer)                                                                                                                     \
    X(vkDestroyCommandPool)                                                                                                                \
    X(vkDestroyDevice)                                                                                                                     \
    X(vkDestroyFence)                                                                                                                      \
    X(vkDestroyPipeline)                                                                                                                   \
    X(vkDestroyPipelineLayout)                                                                                                             \
    X(vkDestroyShaderModule)                                                                                                               \
    X(vkDeviceWaitIdle)                                                                                                                    \
    X(vkEndCommandBuffer)                                                                                                                  \
    X(vkFreeMemory)                                                                                                                        \
    X(vkGetBufferDeviceAddress)                                                                                                            \
    X(vkGetBufferMemoryRequirements)                                                                                                       \
    X(vkGetDeviceQueue)                                                                                                                    \
    X(vkQueueSubmit)                                                                                                                       \
    X(vkResetFences)                                                                                                                       \
    X(vkWaitForFences)

#define DECLARE(name) PFN_##name name;

struct probe {
    const struct bench_peak_kernel *kernel;
    PFN_vkGetInstanceProcAddr get_proc;
    INSTANCE_FUNCTIONS(DECLARE)
    DEVICE_FUNCTIONS(DECLARE)
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice device;
    uint32_t family;
    uint32_t subgroup_size;
    bool asks_for_subgroups; /* of that size, as the driver may vary it */
    VkQueue queue;
    VkShaderModule module;
    VkPipelineLayout layout;
    VkPipeline pipeline;
    VkBuffer buffer;
    VkDeviceMemory memory;
    VkDeviceAddress sums;
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkFence fence;
};

struct push {
    VkDeviceAddress sums;
    uint32_t rounds;
    float factor, addend, impossible;
};

static bool good(VkResult result, const char *call, struct failure *failure)
{
    return result == VK_SUCCESS || fail_run(failure, "peak: %s: VkResult %d", call, (int)result);
}

static bool open_instance(struct probe *probe, struct failure *failure)
{
    const VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_3};
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, "vkGetInstanceProcAddr") : NULL;
    if (!symbol)
        return fail_run(failure, "peak: no Vulkan loader (libvulkan.so.1)");
    memcpy(&probe->get_proc, &symbol, sizeof(symbol));
    PFN_vkCreateInstance create = (PFN_vkCreateInstance)probe->get_proc(NULL, "vkCreateInstance");
    if (!good(create(&info, NULL, &probe->instance), "vkCreateInstance", failure))
        return false;
#define LOAD(name) probe->name = (PFN_##name)probe->get_proc(probe->instance, #name);
    INSTANCE_FUNCTIONS(LOAD)
#undef LOAD
    return true;
}

static bool find_device(struct probe *probe, const struct vkring_device_info *info, struct failure *failure)
{
    VkPhysicalDevice devices[MOST_DEVICES];
    VkPhysicalDeviceProperties properties;
    uint32_t count = MOST_DEVICES;
    const VkResult result = probe->vkEnumeratePhysicalDevices(probe->instance, &count, devices);
    if (result != VK_INCOMPLETE && !good(result, "vkEnumeratePhysicalDevices", failure))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        probe->vkGetPhysicalDeviceProperties(devices[i], &properties);
        probe->physical = devices[i];
        if (properties.vendorID == info->vendor_id && properties.deviceID == info->device_id &&
            strcmp(properties.deviceName, info->name) == 0)
            return true;
    }
    return fail_run(failure, "peak: %s is gone", info->name);
}

static bool find_family(struct probe *probe, struct failure *failure)
{
    VkQueueFamilyProperties families[MOST_FAMILIES];
    uint32_t count = MOST_FAMILIES;
    probe->vkGetPhysicalDeviceQueueFamilyProperties(probe->physical, &count, families);
    for (probe->family = 0; probe->family < count; probe->family++)
        if (families[probe->family].queueCount && (families[probe->family].queueFlags & VK_QUEUE_COMPUTE_BIT))
            return true;
    return fail_run(failure, "peak: the device has no queue with compute");
}

/* The smallest, as kernels of attention have. */
static void find_subgroups(struct probe *probe)
{
    VkPhysicalDeviceVulkan13Properties v13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
    VkPhysicalDeviceVulkan11Properties v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &v13};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &v11};
    probe->vkGetPhysicalDeviceProperties2(probe->physical, &properties);
    probe->asks_for_subgroups = probe->kernel->subgroups && v13.minSubgroupSize != v13.maxSubgroupSize &&
                                (v13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT);
    probe->subgroup_size = probe->asks_for_subgroups ? v13.minSubgroupSize : v11.subgroupSize;
}

#ifdef VK_KHR_cooperative_matrix
static const char *const extensions[] = {VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME};
#else
static const char *const extensions[] = {""};
#endif

static bool open_device(struct probe *probe, struct failure *failure)
{
    const float priority = 1;
    const bool on_matrices = probe->kernel->subgroups > 0;
#ifdef VK_KHR_cooperative_matrix
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
        .cooperativeMatrix = VK_TRUE,
    };
    void *matrix_features = on_matrices ? &matrix : NULL;
#else
    void *matrix_features = NULL;
#endif
    VkPhysicalDeviceVulkan13Features v13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
        .pNext = matrix_features,
        .subgroupSizeControl = probe->asks_for_subgroups,
        .computeFullSubgroups = probe->asks_for_subgroups,
    };
    const VkPhysicalDeviceVulkan12Features features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = &v13,
        .bufferDeviceAddress = VK_TRUE,
        .shaderFloat16 = on_matrices,
        .vulkanMemoryModel = on_matrices,
    };
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = probe->family,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &features,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = on_matrices ? 1 : 0,
        .ppEnabledExtensionNames = extensions,
    };
    if (!good(probe->vkCreateDevice(probe->physical, &info, NULL, &probe->device), "vkCreateDevice", failure))
        return false;
#define LOAD(name) probe->name = (PFN_##name)probe->vkGetDeviceProcAddr(probe->device, #name);
    DEVICE_FUNCTIONS(LOAD)
#undef LOAD
    probe->vkGetDeviceQueue(probe->device, probe->family, 0, &probe->queue);
    return true;
}

static VkResult create_pipeline(struct probe *probe)
{
    const struct bench_peak_kernel *kernel = probe->kernel;
    const uint32_t constants[] = {kernel->subgroups * probe->subgroup_size, kernel->shape.m, kernel->shape.n, kernel->shape.k};
    enum { CONSTANTS = sizeof(constants) / sizeof(constants[0]) };
    VkSpecializationMapEntry entries[CONSTANTS];
    for (uint32_t id = 0; id < CONSTANTS; id++)
        entries[id] = (VkSpecializationMapEntry){id, (uint32_t)sizeof(uint32_t) * id, sizeof(uint32_t)};
    const VkSpecializationInfo specialization = {CONSTANTS, entries, sizeof(constants), constants};
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = probe->subgroup_size,
    };
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage =
            {
                .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                .pNext = probe->asks_for_subgroups ? &size : NULL,
                .flags = probe->asks_for_subgroups ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                .module = probe->module,
                .pName = "main",
                .pSpecializationInfo = kernel->subgroups ? &specialization : NULL,
            },
        .layout = probe->layout,
    };
    return probe->vkCreateComputePipelines(probe->device, VK_NULL_HANDLE, 1, &info, NULL, &probe->pipeline);
}

static bool make_pipeline(struct probe *probe, struct failure *failure)
{
    const VkShaderModuleCreateInfo module = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = probe->kernel->code_bytes,
        .pCode = probe->kernel->code,
    };
    const VkPushConstantRange range = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = sizeof(struct push)};
    const VkPipelineLayoutCreateInfo layout = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &range,
    };
    return good(probe->vkCreateShaderModule(probe->device, &module, NULL, &probe->module), "vkCreateShaderModule", failure) &&
           good(probe->vkCreatePipelineLayout(probe->device, &layout, NULL, &probe->layout), "vkCreatePipelineLayout", failure) &&
           good(create_pipeline(probe), "vkCreateComputePipelines", failure);
}

/* The kernel never writes there, so that any memory will do. */
static bool place_sums(struct probe *probe, struct failure *failure)
{
    VkMemoryRequirements needs;
    const VkMemoryAllocateFlagsInfo flags = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
        .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT,
    };
    VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .pNext = &flags};
    probe->vkGetBufferMemoryRequirements(probe->device, probe->buffer, &needs);
    info.allocationSize = needs.size;
    while (info.memoryTypeIndex < 31 && !(needs.memoryTypeBits >> info.memoryTypeIndex & 1))
        info.memoryTypeIndex++;
    return good(probe->vkAllocateMemory(probe->device, &info, NULL, &probe->memory), "vkAllocateMemory", failure) &&
           good(probe->vkBindBufferMemory(probe->device, probe->buffer, probe->memory, 0), "vkBindBufferMemory", failure);
}

static bool make_sums(struct probe *probe, struct failure *failure)
{
    const VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = WORKGROUP_LANES * sizeof(float),
        .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT,
    };
    if (!good(probe->vkCreateBuffer(probe->device, &info, NULL, &probe->buffer), "vkCreateBuffer", failure) || !place_sums(probe, failure))
        return false;
    const VkBufferDeviceAddressInfo address = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, .buffer = probe->buffer};
    probe->sums = probe->vkGetBufferDeviceAddress(probe->device, &address);
    return true;
}

static bool make_commands(struct probe *probe, struct failure *failure)
{
    const VkCommandPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = probe->family,
    };
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    if (!good(probe->vkCreateCommandPool(probe->device, &pool, NULL, &probe->pool), "vkCreateCommandPool", failure) ||
        !good(probe->vkCreateFence(probe->device, &fence, NULL, &probe->fence), "vkCreateFence", failure))
        return false;
    const VkCommandBufferAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = probe->pool,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    return good(probe->vkAllocateCommandBuffers(probe->device, &info, &probe->commands), "vkAllocateCommandBuffers", failure);
}

static bool record(struct probe *probe, uint32_t rounds, struct failure *failure)
{
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    /* a chain of peak.comp tends to 2, the sum of the eight to 16; sums of matrices grow from 1 */
    const struct push push = {.sums = probe->sums, .rounds = rounds, .factor = 0.5f, .addend = 1, .impossible = -1};
    if (!good(probe->vkBeginCommandBuffer(probe->commands, &begin), "vkBeginCommandBuffer", failure))
        return false;
    probe->vkCmdBindPipeline(probe->commands, VK_PIPELINE_BIND_POINT_COMPUTE, probe->pipeline);
    probe->vkCmdPushConstants(probe->commands, probe->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(push), &push);
    probe->vkCmdDispatch(probe->commands, probe->kernel->workgroups, 1, 1);
    return good(probe->vkEndCommandBuffer(probe->commands), "vkEndCommandBuffer", failure);
}

static double run_kernel(void *argument, uint32_t rounds, struct failure *failure)
{
    struct probe *probe = argument;
    const VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &probe->commands};
    if (!record(probe, rounds, failure))
        return -1;
    const double begin = now_seconds();
    const bool done = good(probe->vkQueueSubmit(probe->queue, 1, &submit, probe->fence), "vkQueueSubmit", failure) &&
                      good(probe->vkWaitForFences(probe->device, 1, &probe->fence, VK_TRUE, RUN_SECONDS_MOST * UINT64_C(1000000000)),
                           "vkWaitForFences", failure);
    const double seconds = now_seconds() - begin;
    return done && good(probe->vkResetFences(probe->device, 1, &probe->fence), "vkResetFences", failure) ? seconds : -1;
}

static void close_probe(struct probe *probe)
{
    if (probe->device) {
        probe->vkDeviceWaitIdle(probe->device);
        probe->vkDestroyFence(probe->device, probe->fence, NULL);
        probe->vkDestroyCommandPool(probe->device, probe->pool, NULL);
        probe->vkDestroyBuffer(probe->device, probe->buffer, NULL);
        probe->vkFreeMemory(probe->device, probe->memory, NULL);
        probe->vkDestroyPipeline(probe->device, probe->pipeline, NULL);
        probe->vkDestroyPipelineLayout(probe->device, probe->layout, NULL);
        probe->vkDestroyShaderModule(probe->device, probe->module, NULL);
        probe->vkDestroyDevice(probe->device, NULL);
    }
    if (probe->instance)
        probe->vkDestroyInstance(probe->instance, NULL);
}

bool bench_peak_kernel_measure(const struct vkring_device_info *info, const struct bench_peak_kernel *kernel, double *out_gflops,
                               struct failure *failure)
{
    struct probe probe = {.kernel = kernel};
    bool done = open_instance(&probe, failure) && find_device(&probe, info, failure) && find_family(&probe, failure);
    if (done)
        find_subgroups(&probe);
    done = done && open_device(&probe, failure) && make_pipeline(&probe, failure) && make_sums(&probe, failure) &&
           make_commands(&probe, failure) && bench_peak_time(run_kernel, &probe, kernel->flop_of_round, out_gflops, failure);
    close_probe(&probe);
    return done;
}

bool bench_peak_device(const struct vkring_device_info *info, double *out_gflops, struct failure *failure)
{
    const struct bench_peak_kernel kernel = {
        .code = peak_code,
        .code_bytes = sizeof(peak_code),
        .workgroups = WORKGROUPS,
        .flop_of_round = 2.0 * WORKGROUPS * WORKGROUP_LANES * CHAINS * LINKS,
    };
    return bench_peak_kernel_measure(info, &kernel, out_gflops, failure);
}
