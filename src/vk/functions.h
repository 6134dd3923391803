/* SPDX-License-Identifier: MIT */
/** The device functions that vkring calls. */
#ifndef VKRING_VK_FUNCTIONS_H
#define VKRING_VK_FUNCTIONS_H

#define VK_DEVICE_FUNCTIONS(X)             \
    X(vkAllocateCommandBuffers)            \
    X(vkAllocateMemory)                    \
    X(vkBeginCommandBuffer)                \
    X(vkBindBufferMemory)                  \
    X(vkCmdBindPipeline)                   \
    X(vkCmdCopyBuffer)                     \
    X(vkCmdDispatch)                       \
    X(vkCmdPipelineBarrier2)               \
    X(vkCmdPushConstants)                  \
    X(vkCmdResetQueryPool)                 \
    X(vkCmdWriteTimestamp2)                \
    X(vkCreateBuffer)                      \
    X(vkCreateCommandPool)                 \
    X(vkCreateComputePipelines)            \
    X(vkCreatePipelineCache)               \
    X(vkCreatePipelineLayout)              \
    X(vkCreateQueryPool)                   \
    X(vkCreateSemaphore)                   \
    X(vkCreateShaderModule)                \
    X(vkDestroyBuffer)                     \
    X(vkDestroyCommandPool)                \
    X(vkDestroyDevice)                     \
    X(vkDestroyPipeline)                   \
    X(vkDestroyPipelineCache)              \
    X(vkDestroyPipelineLayout)             \
    X(vkDestroyQueryPool)                  \
    X(vkDestroySemaphore)                  \
    X(vkDestroyShaderModule)               \
    X(vkEndCommandBuffer)                  \
    X(vkFlushMappedMemoryRanges)           \
    X(vkFreeMemory)                        \
    X(vkGetBufferDeviceAddress)            \
    X(vkGetBufferMemoryRequirements)       \
    X(vkGetDeviceBufferMemoryRequirements) \
    X(vkGetDeviceQueue)                    \
    X(vkGetPipelineCacheData)              \
    X(vkGetQueryPoolResults)               \
    X(vkGetSemaphoreCounterValue)          \
    X(vkInvalidateMappedMemoryRanges)      \
    X(vkMapMemory)                         \
    X(vkQueueSubmit2)                      \
    X(vkWaitSemaphores)

#endif
