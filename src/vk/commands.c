/* SPDX-License-Identifier: MIT */
#include "commands.h"

enum vkring_status vk_command_pool_create(vkring_device *device, enum vk_queue_kind queue, struct vk_command_pool *out_pool)
{
    const VkCommandPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
        .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
        .queueFamilyIndex = device->queues[queue].family,
    };
    return vk_status(device->fn.vkCreateCommandPool(device->handle, &info, NULL, &out_pool->handle), "vkCreateCommandPool");
}

void vk_command_pool_destroy(vkring_device *device, struct vk_command_pool *pool)
{
    if (pool->handle)
        device->fn.vkDestroyCommandPool(device->handle, pool->handle, NULL);
    pool->handle = VK_NULL_HANDLE;
}

enum vkring_status vk_commands_begin(vkring_device *device, const struct vk_command_pool *pool, struct vk_commands *commands)
{
    enum vkring_status status;
    const VkCommandBufferAllocateInfo allocate = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = pool->handle,
        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
        .commandBufferCount = 1,
    };
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    if (!commands->handle)
        TRY(vk_status(device->fn.vkAllocateCommandBuffers(device->handle, &allocate, &commands->handle), "vkAllocateCommandBuffers"), fail);
    TRY(vk_status(device->fn.vkBeginCommandBuffer(commands->handle, &begin), "vkBeginCommandBuffer"), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vk_commands_end(vkring_device *device, const struct vk_commands *commands)
{
    return vk_status(device->fn.vkEndCommandBuffer(commands->handle), "vkEndCommandBuffer");
}

void vk_commands_dispatch(vkring_device *device, const struct vk_commands *commands, const struct vk_pipeline *pipeline, const void *push,
                          const uint32_t workgroups[3])
{
    device->fn.vkCmdBindPipeline(commands->handle, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->handle);
    if (pipeline->push_bytes)
        device->fn.vkCmdPushConstants(commands->handle, pipeline->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, pipeline->push_bytes, push);
    device->fn.vkCmdDispatch(commands->handle, workgroups[0], workgroups[1], workgroups[2]);
}

void vk_commands_copy(vkring_device *device, const struct vk_commands *commands, const vkring_buffer *from, uint64_t from_offset_bytes,
                      const vkring_buffer *to, uint64_t to_offset_bytes, uint64_t size_bytes)
{
    const VkBufferCopy region = {
        .srcOffset = from->offset_bytes + from_offset_bytes,
        .dstOffset = to->offset_bytes + to_offset_bytes,
        .size = size_bytes,
    };
    if (size_bytes)
        device->fn.vkCmdCopyBuffer(commands->handle, from->handle, to->handle, 1, &region);
}

static void barrier(vkring_device *device, const struct vk_commands *commands, VkPipelineStageFlags2 to_stage, VkAccessFlags2 to_access)
{
    const VkMemoryBarrier2 memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
        .srcStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
        .srcAccessMask = VK_ACCESS_2_MEMORY_WRITE_BIT,
        .dstStageMask = to_stage,
        .dstAccessMask = to_access,
    };
    const VkDependencyInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
        .memoryBarrierCount = 1,
        .pMemoryBarriers = &memory,
    };
    device->fn.vkCmdPipelineBarrier2(commands->handle, &info);
}

void vk_commands_barrier(vkring_device *device, const struct vk_commands *commands)
{
    barrier(device, commands, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT);
}

void vk_commands_barrier_to_host(vkring_device *device, const struct vk_commands *commands)
{
    barrier(device, commands, VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT);
}

enum vkring_status vk_queries_create(vkring_device *device, uint32_t count, struct vk_queries *out_queries)
{
    enum vkring_status status;
    const VkQueryPoolCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
        .queryType = VK_QUERY_TYPE_TIMESTAMP,
        .queryCount = count,
    };
    *out_queries = (struct vk_queries){0};
    if (device->limits.timestamp_seconds <= 0)
        return VKRING_OK;
    TRY(vk_status(device->fn.vkCreateQueryPool(device->handle, &info, NULL, &out_queries->handle), "vkCreateQueryPool"), fail);
    out_queries->count = count;
    return VKRING_OK;
fail:
    return status;
}

void vk_queries_destroy(vkring_device *device, struct vk_queries *queries)
{
    if (queries->handle)
        device->fn.vkDestroyQueryPool(device->handle, queries->handle, NULL);
    *queries = (struct vk_queries){0};
}

void vk_commands_reset_queries(vkring_device *device, const struct vk_commands *commands, const struct vk_queries *queries, uint32_t first,
                               uint32_t count)
{
    if (queries->handle)
        device->fn.vkCmdResetQueryPool(commands->handle, queries->handle, first, count);
}

void vk_commands_timestamp(vkring_device *device, const struct vk_commands *commands, const struct vk_queries *queries, uint32_t index)
{
    if (queries->handle)
        device->fn.vkCmdWriteTimestamp2(commands->handle, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, queries->handle, index);
}

enum vkring_status vk_queries_elapsed(vkring_device *device, const struct vk_queries *queries, uint32_t first, uint32_t last,
                                      double *out_seconds)
{
    enum vkring_status status;
    const uint32_t bits = device->queues[VK_QUEUE_COMPUTE].timestamp_bits;
    const uint64_t mask = bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    const uint32_t indices[2] = {first, last};
    uint64_t ticks[2];
    *out_seconds = 0;
    if (!queries->handle)
        return VKRING_OK;
    for (int i = 0; i < 2; i++) {
        VkResult result = device->fn.vkGetQueryPoolResults(device->handle, queries->handle, indices[i], 1, sizeof(ticks[i]), &ticks[i],
                                                           sizeof(ticks[i]), VK_QUERY_RESULT_64_BIT);
        if (result == VK_NOT_READY) /* is a success to Vulkan, but leaves the ticks unwritten */
            return status_fail(VKRING_ERROR_DEVICE, "vkGetQueryPoolResults: a timestamp was not written");
        TRY(vk_status(result, "vkGetQueryPoolResults"), fail);
    }
    *out_seconds = (double)((ticks[1] - ticks[0]) & mask) * device->limits.timestamp_seconds;
    return VKRING_OK;
fail:
    return status;
}
