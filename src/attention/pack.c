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

static enum vkring_status create_pipeline(vkring_device *device, uint64_t element_bytes, bool aligned, struct vk_pipeline *out_pipeline)
{
    const uint32_t constants[] = {WORKGROUP_SIZE, aligned};
    const struct spirv_module module = spirv_pack(element_bytes);
    const struct vk_pipeline_params params = {
        .code = module.code,
        .code_bytes = module.bytes,
        .push_bytes = sizeof(struct pack_arguments),
        .constants = constants,
        .constant_count = 2,
    };
    return vk_pipeline_create(device, &params, out_pipeline);
}

enum vkring_status pack_kernel_create(vkring_device *device, uint64_t element_bytes, struct pack_kernel *out_kernel)
{
    enum vkring_status status;
    struct pack_kernel kernel = {.element_bytes = element_bytes};
    TRY(create_pipeline(device, element_bytes, true, &kernel.aligned), fail);
    TRY(create_pipeline(device, element_bytes, false, &kernel.general), fail);
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

/* Rows of all heads, at most as wide as a dispatch may be. */
static void record_heads(vkring_device *device, const struct vk_commands *commands, const struct pack_kernel *kernel, bool aligned,
                         const struct pack_arguments *arguments, const struct tensor_shape *shape)
{
    const uint32_t *most = device->limits.max_workgroup_count;
    for (uint64_t batch = 0; batch < shape->batch; batch += most[2]) {
        for (uint64_t row = 0; row < shape->rows; row += most[1]) {
            struct pack_arguments piece = *arguments;
            const uint32_t workgroups[3] = {
                (uint32_t)divide_up(arguments->units_per_row, WORKGROUP_SIZE),
                (uint32_t)min_u64(most[1], shape->rows - row),
                (uint32_t)min_u64(most[2], shape->batch - batch),
            };
            piece.from += batch * piece.from_batch_stride + row * piece.from_row_stride;
            piece.to += batch * piece.to_batch_stride + row * piece.to_row_stride;
            vk_commands_dispatch(device, commands, aligned ? &kernel->aligned : &kernel->general, &piece, workgroups);
        }
    }
}

void pack_record(vkring_device *device, const struct vk_commands *commands, const struct pack_kernel *kernel,
                 const struct tensor_view *from, const struct tensor_shape *shape, uint64_t to_address)
{
    const uint64_t bytes = kernel->element_bytes;
    const bool aligned = shape->dim % 4 == 0 && tensor_aligned(from, 4 * bytes) && to_address % (4 * bytes) == 0;
    const uint64_t unit = aligned ? 4 : 1;
    const uint64_t most_units = (uint64_t)device->limits.max_workgroup_count[0] * WORKGROUP_SIZE;
    const uint64_t row_bytes = shape->heads * shape->dim * bytes;
    const uint64_t dim = min_u64(shape->dim, most_units * unit);
    const uint64_t heads = dim < shape->dim ? 1 : max_u64(most_units * unit / dim, 1);

    for (uint64_t head = 0; head < shape->heads; head += heads) {
        for (uint64_t first = 0; first < shape->dim; first += dim) {
            const struct pack_arguments arguments = {
                .from = from->address + head * from->head_stride + first * bytes,
                .to = to_address + (head * shape->dim + first) * bytes,
                .from_batch_stride = from->batch_stride,
                .from_row_stride = from->row_stride,
                .from_head_stride = from->head_stride,
                .to_batch_stride = shape->rows * row_bytes,
                .to_row_stride = row_bytes,
                .units_per_head = (uint32_t)(min_u64(dim, shape->dim - first) / unit),
                .units_per_row = (uint32_t)(min_u64(dim, shape->dim - first) / unit * min_u64(heads, shape->heads - head)),
            };
            record_heads(device, commands, kernel, aligned, &arguments, shape);
        }
    }
}
