/* SPDX-License-Identifier: MIT */
#include "rows.h"

#include "../base/checked.h"
#include "spirv.h"

#define WORKGROUP_SIZE 64u

/* As the push constants of rows_push.glsl. */
struct rows_push {
    uint64_t from, onto, to;
    uint64_t from_row_stride, from_head_stride;
    uint64_t to_row_stride, to_head_stride;
    uint32_t units;
};

static enum vkring_status create_pipeline(vkring_device *device, const struct spirv_module *module, bool aligned,
                                          const struct vk_pipeline **out_pipeline)
{
    const uint32_t constants[] = {WORKGROUP_SIZE, aligned};
    const struct vk_pipeline_params params = {
        .code = module->code,
        .code_bytes = module->bytes,
        .push_bytes = sizeof(struct rows_push),
        .constants = constants,
        .constant_count = 2,
    };
    return pipeline_pool_acquire(device, &params, out_pipeline);
}

static enum vkring_status create(vkring_device *device, struct spirv_module module, uint64_t from_bytes, uint64_t to_bytes,
                                 struct rows_kernel *out_kernel)
{
    enum vkring_status status;
    struct rows_kernel kernel = {.from_bytes = from_bytes, .to_bytes = to_bytes};
    TRY(create_pipeline(device, &module, true, &kernel.aligned), fail);
    TRY(create_pipeline(device, &module, false, &kernel.general), fail);
    *out_kernel = kernel;
    return VKRING_OK;
fail:
    rows_kernel_destroy(device, &kernel);
    return status;
}

enum vkring_status pack_kernel_create(vkring_device *device, uint64_t element_bytes, struct rows_kernel *out_kernel)
{
    return create(device, spirv_pack(element_bytes), element_bytes, element_bytes, out_kernel);
}

enum vkring_status add_kernel_create(vkring_device *device, enum vkring_type type, struct rows_kernel *out_kernel)
{
    return create(device, spirv_add(type), sizeof(float), vkring_type_bytes(type), out_kernel);
}

void rows_kernel_destroy(vkring_device *device, struct rows_kernel *kernel)
{
    pipeline_pool_release(device, &kernel->aligned);
    pipeline_pool_release(device, &kernel->general);
}

/* What lies at an element of a row, for address 0 nothing. */
static uint64_t advance(uint64_t address, uint64_t bytes)
{
    return address ? address + bytes : 0;
}

static void push_advance(struct rows_push *push, uint64_t from_bytes, uint64_t to_bytes)
{
    push->from = advance(push->from, from_bytes);
    push->onto = advance(push->onto, from_bytes);
    push->to += to_bytes;
}

/* One batch entry, cut into dispatches that the device takes. */
static void record_entry(vkring_device *device, const struct vk_commands *commands, const struct rows_kernel *kernel, bool aligned,
                         const struct tensor_shape *shape, const struct rows_push *entry)
{
    const uint32_t *most = device->limits.max_workgroup_count;
    const uint64_t unit = aligned ? 4 : 1, most_units = (uint64_t)most[0] * WORKGROUP_SIZE;
    for (uint64_t head = 0; head < shape->heads; head += most[2]) {
        for (uint64_t row = 0; row < shape->rows; row += most[1]) {
            for (uint64_t first = 0; first < shape->dim / unit; first += most_units) {
                struct rows_push push = *entry;
                push.units = (uint32_t)min_u64(most_units, shape->dim / unit - first);
                push_advance(&push, head * push.from_head_stride + row * push.from_row_stride + first * unit * kernel->from_bytes,
                             head * push.to_head_stride + row * push.to_row_stride + first * unit * kernel->to_bytes);
                const uint32_t workgroups[3] = {
                    (uint32_t)divide_up(push.units, WORKGROUP_SIZE),
                    (uint32_t)min_u64(most[1], shape->rows - row),
                    (uint32_t)min_u64(most[2], shape->heads - head),
                };
                vk_commands_dispatch(device, commands, aligned ? kernel->aligned : kernel->general, &push, workgroups);
            }
        }
    }
}

/* Of a and onto, the one that says how both lie. */
static void record(vkring_device *device, const struct vk_commands *commands, const struct rows_kernel *kernel, struct tensor_shape shape,
                   const struct tensor_view *a, const struct tensor_view *onto, const struct tensor_view *to)
{
    const struct tensor_view *from = a->address ? a : onto;
    if (tensor_is_empty(&shape))
        return;
    /* heads that follow each other on both sides are one */
    if ((!from->address || from->head_stride == shape.dim * kernel->from_bytes) && to->head_stride == shape.dim * kernel->to_bytes) {
        shape.dim *= shape.heads;
        shape.heads = 1;
    }
    const bool aligned = shape.dim % 4 == 0 && tensor_aligned(a, 4 * kernel->from_bytes) && tensor_aligned(onto, 4 * kernel->from_bytes) &&
                         tensor_aligned(to, 4 * kernel->to_bytes);
    for (uint64_t batch = 0; batch < shape.batch; batch++) {
        const struct rows_push push = {
            .from = advance(a->address, batch * from->batch_stride),
            .onto = advance(onto->address, batch * from->batch_stride),
            .to = to->address + batch * to->batch_stride,
            .from_row_stride = from->row_stride,
            .from_head_stride = from->head_stride,
            .to_row_stride = to->row_stride,
            .to_head_stride = to->head_stride,
        };
        record_entry(device, commands, kernel, aligned, &shape, &push);
    }
}

void pack_record(vkring_device *device, const struct vk_commands *commands, const struct rows_kernel *kernel,
                 const struct tensor_shape *shape, const struct tensor_view *from, const struct tensor_view *to)
{
    record(device, commands, kernel, *shape, from, &(struct tensor_view){0}, to);
}

void add_record(vkring_device *device, const struct vk_commands *commands, const struct rows_kernel *kernel,
                const struct tensor_shape *shape, const struct tensor_view *a, const struct tensor_view *onto, const struct tensor_view *to)
{
    record(device, commands, kernel, *shape, a, onto, to);
}
