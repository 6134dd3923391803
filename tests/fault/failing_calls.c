/* SPDX-License-Identifier: MIT */
#include "failing_calls.h"

#include <stdlib.h>
#include <string.h>

#include "../harness/loader_hook.h"

struct failing_calls failing_calls;

static bool fails(enum failing_kind kind, const char *name)
{
    struct failing_calls *calls = &failing_calls;
    if (!calls->armed || calls->kind != kind)
        return false;
    const uint64_t at = calls->count++;
    if (at < calls->nth || (at > calls->nth && !calls->for_good))
        return false;
    if (calls->struck++ > 0)
        return true;
    calls->name = name;
    if (calls->on_first)
        calls->on_first(calls->user);
    return true;
}

/* The allocator ---------------------------------------------------------------------------------------------------- */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *block, size_t bytes);
char *__real_strdup(const char *text);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *block, size_t bytes);
char *__wrap_strdup(const char *text);
void __wrap_free(void *block);

static void *count_block(void *block)
{
    failing_calls.blocks += block != NULL;
    return block;
}

void *__wrap_malloc(size_t bytes)
{
    return fails(FAILING_MEMORY, "malloc") ? NULL : count_block(__real_malloc(bytes));
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails(FAILING_MEMORY, "calloc") ? NULL : count_block(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *block, size_t bytes)
{
    if (fails(FAILING_MEMORY, "realloc"))
        return NULL;
    return block ? __real_realloc(block, bytes) : count_block(__real_realloc(NULL, bytes));
}

char *__wrap_strdup(const char *text)
{
    return fails(FAILING_MEMORY, "strdup") ? NULL : count_block(__real_strdup(text));
}

void __wrap_free(void *block)
{
    failing_calls.blocks -= block != NULL;
    __real_free(block);
}

/* Vulkan ----------------------------------------------------------------------------------------------------------- */

/* Name, parameters, arguments, and how many objects there are more when it succeeded. */
#define RESULT_CALLS(X)                                                                                                                    \
    X(vkCreateInstance, (const VkInstanceCreateInfo *a, const VkAllocationCallbacks *b, VkInstance *c), (a, b, c), 1)                      \
    X(vkEnumeratePhysicalDevices, (VkInstance a, uint32_t * b, VkPhysicalDevice * c), (a, b, c), 0)                                        \
    X(vkEnumerateDeviceExtensionProperties, (VkPhysicalDevice a, const char *b, uint32_t *c, VkExtensionProperties *d), (a, b, c, d), 0)   \
    X(vkCreateDevice, (VkPhysicalDevice a, const VkDeviceCreateInfo *b, const VkAllocationCallbacks *c, VkDevice *d), (a, b, c, d), 1)     \
    X(vkAllocateCommandBuffers, (VkDevice a, const VkCommandBufferAllocateInfo *b, VkCommandBuffer *c), (a, b, c), 0)                      \
    X(vkAllocateMemory, (VkDevice a, const VkMemoryAllocateInfo *b, const VkAllocationCallbacks *c, VkDeviceMemory *d), (a, b, c, d), 1)   \
    X(vkBeginCommandBuffer, (VkCommandBuffer a, const VkCommandBufferBeginInfo *b), (a, b), 0)                                             \
    X(vkBindBufferMemory, (VkDevice a, VkBuffer b, VkDeviceMemory c, VkDeviceSize d), (a, b, c, d), 0)                                     \
    X(vkCreateBuffer, (VkDevice a, const VkBufferCreateInfo *b, const VkAllocationCallbacks *c, VkBuffer *d), (a, b, c, d), 1)             \
    X(vkCreateCommandPool, (VkDevice a, const VkCommandPoolCreateInfo *b, const VkAllocationCallbacks *c, VkCommandPool *d), (a, b, c, d), \
      1)                                                                                                                                   \
    X(vkCreateComputePipelines,                                                                                                            \
      (VkDevice a, VkPipelineCache b, uint32_t c, const VkComputePipelineCreateInfo *d, const VkAllocationCallbacks *e, VkPipeline *f),    \
      (a, b, c, d, e, f), 1)                                                                                                               \
    X(vkCreatePipelineCache, (VkDevice a, const VkPipelineCacheCreateInfo *b, const VkAllocationCallbacks *c, VkPipelineCache *d),         \
      (a, b, c, d), 1)                                                                                                                     \
    X(vkCreatePipelineLayout, (VkDevice a, const VkPipelineLayoutCreateInfo *b, const VkAllocationCallbacks *c, VkPipelineLayout *d),      \
      (a, b, c, d), 1)                                                                                                                     \
    X(vkCreateQueryPool, (VkDevice a, const VkQueryPoolCreateInfo *b, const VkAllocationCallbacks *c, VkQueryPool *d), (a, b, c, d), 1)    \
    X(vkCreateSemaphore, (VkDevice a, const VkSemaphoreCreateInfo *b, const VkAllocationCallbacks *c, VkSemaphore *d), (a, b, c, d), 1)    \
    X(vkCreateShaderModule, (VkDevice a, const VkShaderModuleCreateInfo *b, const VkAllocationCallbacks *c, VkShaderModule *d),            \
      (a, b, c, d), 1)                                                                                                                     \
    X(vkEndCommandBuffer, (VkCommandBuffer a), (a), 0)                                                                                     \
    X(vkFlushMappedMemoryRanges, (VkDevice a, uint32_t b, const VkMappedMemoryRange *c), (a, b, c), 0)                                     \
    X(vkInvalidateMappedMemoryRanges, (VkDevice a, uint32_t b, const VkMappedMemoryRange *c), (a, b, c), 0)                                \
    X(vkGetPipelineCacheData, (VkDevice a, VkPipelineCache b, size_t * c, void *d), (a, b, c, d), 0)                                       \
    X(vkGetQueryPoolResults, (VkDevice a, VkQueryPool b, uint32_t c, uint32_t d, size_t e, void *f, VkDeviceSize g, VkQueryResultFlags h), \
      (a, b, c, d, e, f, g, h), 0)                                                                                                         \
    X(vkGetSemaphoreCounterValue, (VkDevice a, VkSemaphore b, uint64_t * c), (a, b, c), 0)                                                 \
    X(vkMapMemory, (VkDevice a, VkDeviceMemory b, VkDeviceSize c, VkDeviceSize d, VkMemoryMapFlags e, void **f), (a, b, c, d, e, f), 0)    \
    X(vkQueueSubmit2, (VkQueue a, uint32_t b, const VkSubmitInfo2 *c, VkFence d), (a, b, c, d), 0)                                         \
    X(vkWaitSemaphores, (VkDevice a, const VkSemaphoreWaitInfo *b, uint64_t c), (a, b, c), 0)

/* Of one object of a device. */
#define DESTROY_CALLS(X)                                                                                                                   \
    X(vkDestroyBuffer, VkBuffer)                                                                                                           \
    X(vkDestroyCommandPool, VkCommandPool)                                                                                                 \
    X(vkDestroyPipeline, VkPipeline)                                                                                                       \
    X(vkDestroyPipelineCache, VkPipelineCache)                                                                                             \
    X(vkDestroyPipelineLayout, VkPipelineLayout)                                                                                           \
    X(vkDestroyQueryPool, VkQueryPool)                                                                                                     \
    X(vkDestroySemaphore, VkSemaphore)                                                                                                     \
    X(vkDestroyShaderModule, VkShaderModule)                                                                                               \
    X(vkFreeMemory, VkDeviceMemory)

/* Of one object that has none above it. */
#define DESTROY_ROOT_CALLS(X)                                                                                                              \
    X(vkDestroyDevice, VkDevice)                                                                                                           \
    X(vkDestroyInstance, VkInstance)

/* A device that is lost does nothing more. */
static void lose_device(void);

#define RESULT_WRAPPER(name, parameters, arguments, objects_more)                                                                          \
    static PFN_##name real_##name;                                                                                                         \
    static VKAPI_ATTR VkResult VKAPI_CALL failing_##name parameters                                                                        \
    {                                                                                                                                      \
        if (fails(FAILING_VULKAN, #name)) {                                                                                                \
            if (failing_calls.result == VK_ERROR_DEVICE_LOST)                                                                              \
                lose_device();                                                                                                             \
            return failing_calls.result;                                                                                                   \
        }                                                                                                                                  \
        VkResult result = real_##name arguments;                                                                                           \
        if (result == VK_SUCCESS)                                                                                                          \
            failing_calls.objects += objects_more;                                                                                         \
        return result;                                                                                                                     \
    }
RESULT_CALLS(RESULT_WRAPPER)

#define DESTROY_WRAPPER(name, type)                                                                                                        \
    static PFN_##name real_##name;                                                                                                         \
    static VKAPI_ATTR void VKAPI_CALL failing_##name(VkDevice device, type object, const VkAllocationCallbacks *calls)                     \
    {                                                                                                                                      \
        failing_calls.objects -= object != VK_NULL_HANDLE;                                                                                 \
        real_##name(device, object, calls);                                                                                                \
    }
DESTROY_CALLS(DESTROY_WRAPPER)

static void forget_device(void);

#define DESTROY_ROOT_WRAPPER(name, type)                                                                                                   \
    static PFN_##name real_##name;                                                                                                         \
    static VKAPI_ATTR void VKAPI_CALL failing_##name(type object, const VkAllocationCallbacks *calls)                                      \
    {                                                                                                                                      \
        failing_calls.objects -= object != VK_NULL_HANDLE;                                                                                 \
        forget_device();                                                                                                                   \
        real_##name(object, calls);                                                                                                        \
    }
DESTROY_ROOT_CALLS(DESTROY_ROOT_WRAPPER)

/* The wrapper of a function that was found, or the function itself. */
static PFN_vkVoidFunction wrap(const char *name, PFN_vkVoidFunction found)
{
#define MATCH(called, ...)                                                                                                                 \
    if (found && strcmp(name, #called) == 0) {                                                                                             \
        real_##called = (PFN_##called)found;                                                                                               \
        return (PFN_vkVoidFunction)failing_##called;                                                                                       \
    }
    RESULT_CALLS(MATCH)
    DESTROY_CALLS(MATCH)
    DESTROY_ROOT_CALLS(MATCH)
    return found;
}

static PFN_vkGetDeviceProcAddr real_get_device_proc;

static VkDevice last_device;

static void forget_device(void)
{
    last_device = VK_NULL_HANDLE;
}

static void lose_device(void)
{
    if (!last_device)
        return;
    PFN_vkDeviceWaitIdle wait = (PFN_vkDeviceWaitIdle)real_get_device_proc(last_device, "vkDeviceWaitIdle");
    wait(last_device);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL failing_get_device_proc(VkDevice device, const char *name)
{
    last_device = device;
    return wrap(name, real_get_device_proc(device, name));
}

PFN_vkVoidFunction VKAPI_CALL hooked_get_instance_proc(VkInstance instance, const char *name)
{
    PFN_vkVoidFunction found = real_get_instance_proc(instance, name);
    if (found && strcmp(name, "vkGetDeviceProcAddr") == 0) {
        real_get_device_proc = (PFN_vkGetDeviceProcAddr)found;
        return (PFN_vkVoidFunction)failing_get_device_proc;
    }
    return wrap(name, found);
}
