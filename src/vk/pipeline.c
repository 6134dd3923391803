/* SPDX-License-Identifier: MIT */
#include "pipeline.h"

static enum vkring_status create_layout(vkring_device *device, uint32_t push_bytes, VkPipelineLayout *out_layout)
{
    const VkPushConstantRange range = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = push_bytes};
    const VkPipelineLayoutCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .pushConstantRangeCount = push_bytes ? 1 : 0,
        .pPushConstantRanges = &range,
    };
    return vk_status(device->fn.vkCreatePipelineLayout(device->handle, &info, NULL, out_layout), "vkCreatePipelineLayout");
}

static enum vkring_status create_module(vkring_device *device, const struct vk_pipeline_params *params, VkShaderModule *out_module)
{
    const VkShaderModuleCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = params->code_bytes,
        .pCode = params->code,
    };
    return vk_status(device->fn.vkCreateShaderModule(device->handle, &info, NULL, out_module), "vkCreateShaderModule");
}

static VkResult create_handle(vkring_device *device, const struct vk_pipeline_params *params, VkPipelineLayout layout,
                              VkShaderModule module, VkPipeline *out_pipeline)
{
    VkSpecializationMapEntry entries[VK_PIPELINE_MOST_CONSTANTS];
    for (uint32_t i = 0; i < params->constant_count; i++)
        entries[i] = (VkSpecializationMapEntry){.constantID = i, .offset = i * (uint32_t)sizeof(uint32_t), .size = sizeof(uint32_t)};
    const VkSpecializationInfo specialization = {
        .mapEntryCount = params->constant_count,
        .pMapEntries = entries,
        .dataSize = params->constant_count * sizeof(uint32_t),
        .pData = params->constants,
    };
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = params->subgroup_size,
    };
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage =
            {
                .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                .pNext = params->subgroup_size ? &subgroup : NULL,
                .flags = params->subgroup_size ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                .module = module,
                .pName = "main",
                .pSpecializationInfo = &specialization,
            },
        .layout = layout,
    };
    return device->fn.vkCreateComputePipelines(device->handle, device->pipeline_cache, 1, &info, NULL, out_pipeline);
}

enum vkring_status vk_pipeline_create(vkring_device *device, const struct vk_pipeline_params *params, struct vk_pipeline *out_pipeline)
{
    enum vkring_status status;
    struct vk_pipeline pipeline = {.push_bytes = params->push_bytes};
    VkShaderModule module = VK_NULL_HANDLE;
    if (params->constant_count > VK_PIPELINE_MOST_CONSTANTS)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%u specialization constants are more than %u", params->constant_count,
                           VK_PIPELINE_MOST_CONSTANTS);
    TRY(create_layout(device, params->push_bytes, &pipeline.layout), fail);
    TRY(create_module(device, params, &module), fail);
    TRY(vk_status(create_handle(device, params, pipeline.layout, module, &pipeline.handle), "vkCreateComputePipelines"), fail);
    device->fn.vkDestroyShaderModule(device->handle, module, NULL);
    *out_pipeline = pipeline;
    return VKRING_OK;
fail:
    if (module)
        device->fn.vkDestroyShaderModule(device->handle, module, NULL);
    vk_pipeline_destroy(device, &pipeline);
    return status;
}

void vk_pipeline_destroy(vkring_device *device, struct vk_pipeline *pipeline)
{
    if (pipeline->handle)
        device->fn.vkDestroyPipeline(device->handle, pipeline->handle, NULL);
    if (pipeline->layout)
        device->fn.vkDestroyPipelineLayout(device->handle, pipeline->layout, NULL);
    *pipeline = (struct vk_pipeline){0};
}
