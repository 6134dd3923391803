/* SPDX-License-Identifier: MIT */
#include "pack.h"

#include "../base/checked.h"
#include "spirv.h"

#define WORKGROUP_SIZE 64u

/* As the push constants of pack.comp. */
struct pack_arguments {
    uint64_t from, to;
    uint64_t from_batch_stride, from_row_stride, from_head_stride;
    uint64_t to_batch_stride, to_row_stride;
    uint32_t units_per_head;
    uint32_t units_per_row;
};

static enum vkring_status create_pipeline(vkring_device *device, enum vkring_type type, bool aligned, struct vk_pipeline *out_pipeline)
{
    const uint32_t constants[] = {WORKGROUP_SIZE, aligned};
    const struct spirv_module module = spirv_pack(type);
    const struct vk_pipeline_params params = {
        .code = module.code,
        .code_bytes = module.bytes,
        .push_bytes = sizeof(struct pack_arguments),
        .constants = constants,
        .constant_count = 2,
    };
    return vk_pipeline_create(device, &params, out_pipeline);
}

enum vkring_status pack_kernel_create(vkring_device *device, enum vkring_type type, struct pack_kernel *out_kernel)
{
    enum vkring_status status;
    struct pack_kernel kernel = {.element_bytes = vkring_type_bytes(type)};
    TRY(create_pipeline(device, type, true, &kernel.aligned), fail);
    TRY(create_pipeline(device, type, false, &kernel.general), fail);
    *out_kernel = kernel;
    return VKRING_OK;
fail:
    pack_kernel_destroy(device, &kernel);
    return status;
}

void pack_kernel_destroy(vkring_device *device, struct pack_kernel *kernel)
{
    vk_pipeline_destroy(device, &kernel->aligned);
    vk_pipeline_destroy(device, &kernel->general);
}

void pack_record(vkring_device *device, const struct vk_commands *commands, const struct pack_kernel *kernel,
                 const struct tensor_view *from, const struct tensor_shape *shape, uint64_t to_address)
{
    const uint64_t quad = 4 * kernel->element_bytes;
    const bool aligned = shape->dim % 4 == 0 && tensor_aligned(from, quad) && to_address % quad == 0;
    const uint64_t row_bytes = shape->heads * shape->dim * kernel->element_bytes;
    const uint64_t units_per_head = aligned ? shape->dim / 4 : shape->dim;
    const uint32_t *most = device->limits.max_workgroup_count;

    for (uint64_t batch = 0; batch < shape->batch; batch += most[2]) {
        for (uint64_t row = 0; row < shape->rows; row += most[1]) {
            /* heads in pieces, so that a dispatch is no wider than the device allows */
            uint64_t most_heads = max_u64((uint64_t)most[0] * WORKGROUP_SIZE / units_per_head, 1);
            for (uint64_t head = 0; head < shape->heads; head += most_heads) {
                const uint64_t heads = min_u64(most_heads, shape->heads - head);
                const struct pack_arguments arguments = {
                    .from = tensor_address(from, batch, row, head),
                    .to = to_address + (batch * shape->rows + row) * row_bytes + head * shape->dim * kernel->element_bytes,
                    .from_batch_stride = from->batch_stride,
                    .from_row_stride = from->row_stride,
                    .from_head_stride = from->head_stride,
                    .to_batch_stride = shape->rows * row_bytes,
                    .to_row_stride = row_bytes,
                    .units_per_head = (uint32_t)units_per_head,
                    .units_per_row = (uint32_t)(units_per_head * heads),
                };
                const uint32_t workgroups[3] = {
                    (uint32_t)divide_up(arguments.units_per_row, WORKGROUP_SIZE),
                    (uint32_t)min_u64(most[1], shape->rows - row),
                    (uint32_t)min_u64(most[2], shape->batch - batch),
                };
                vk_commands_dispatch(device, commands, aligned ? &kernel->aligned : &kernel->general, &arguments, workgroups);
            }
        }
    }
}
