/* SPDX-License-Identifier: MIT */
#include "segments.h"

#include "spirv.h"

#define WORKGROUP_SIZE 64u

/* As the push constants of segment_ranges.comp. */
struct range_arguments {
    uint64_t ids, ids_batch_stride;
    uint64_t ranges, ranges_batch_stride;
    uint32_t rows;
    uint32_t range_rows;
    uint32_t first_range;
    uint32_t count;
};

static uint64_t ranges_of(uint64_t rows)
{
    return segment_fine_ranges(rows) + divide_up(rows, SEGMENT_COARSE_RANGE);
}

uint64_t segment_ranges_bytes(uint64_t batch, uint64_t rows)
{
    return batch * ranges_of(rows) * 8;
}

struct tensor_view segment_ranges_view(vkring_buffer *buffer, uint64_t offset_bytes, uint64_t rows)
{
    return (struct tensor_view){
        .buffer = buffer,
        .offset_bytes = offset_bytes,
        .address = buffer->address + offset_bytes,
        .batch_stride = ranges_of(rows) * 8,
        .row_stride = 8,
        .packed = true,
    };
}

enum vkring_status segment_kernel_create(vkring_device *device, struct vk_pipeline *out_pipeline)
{
    const uint32_t constants[] = {WORKGROUP_SIZE};
    const struct spirv_module module = spirv_segment_ranges();
    const struct vk_pipeline_params params = {
        .code = module.code,
        .code_bytes = module.bytes,
        .push_bytes = sizeof(struct range_arguments),
        .constants = constants,
        .constant_count = 1,
    };
    return vk_pipeline_create(device, &params, out_pipeline);
}

/* Ranges of range_rows rows each, from the `first`-th of the table on. */
static void record(vkring_device *device, const struct vk_commands *commands, const struct vk_pipeline *pipeline,
                   struct range_arguments arguments, uint64_t first, uint64_t range_rows, uint64_t batch)
{
    const uint64_t ranges = divide_up(arguments.rows, range_rows);
    const uint64_t most = (uint64_t)device->limits.max_workgroup_count[0] * WORKGROUP_SIZE;
    arguments.range_rows = (uint32_t)range_rows;
    for (uint64_t at = 0; at < ranges; at += most) {
        const uint64_t count = min_u64(most, ranges - at);
        const uint32_t workgroups[3] = {(uint32_t)divide_up(count, WORKGROUP_SIZE), 1, (uint32_t)batch};
        struct range_arguments piece = arguments;
        piece.ranges += (first + at) * 8;
        piece.first_range = (uint32_t)at;
        piece.count = (uint32_t)count;
        vk_commands_dispatch(device, commands, pipeline, &piece, workgroups);
    }
}

void segment_ranges_record(vkring_device *device, const struct vk_commands *commands, const struct vk_pipeline *pipeline,
                           const struct tensor_view *ids, uint64_t batch, uint64_t rows, const struct tensor_view *ranges)
{
    const uint64_t most = device->limits.max_workgroup_count[2];
    if (rows == 0)
        return;
    for (uint64_t entry = 0; entry < batch; entry += most) {
        const struct range_arguments arguments = {
            .ids = ids->address + entry * ids->batch_stride,
            .ids_batch_stride = ids->batch_stride,
            .ranges = ranges->address + entry * ranges->batch_stride,
            .ranges_batch_stride = ranges->batch_stride,
            .rows = (uint32_t)rows,
        };
        const uint64_t entries = min_u64(most, batch - entry);
        record(device, commands, pipeline, arguments, 0, SEGMENT_FINE_RANGE, entries);
        record(device, commands, pipeline, arguments, segment_fine_ranges(rows), SEGMENT_COARSE_RANGE, entries);
    }
}
