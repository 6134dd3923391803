/* SPDX-License-Identifier: MIT */
#include "segments.h"

#include "spirv.h"

#define WORKGROUP_SIZE 64u
#define ENTRY_BYTES 8u

/* As the push constants of segment_ranges.comp. */
struct range_arguments {
    uint64_t ids, ids_batch_stride;
    uint64_t ranges, ranges_batch_stride;
    uint32_t rows;
    uint32_t range_rows;
    uint32_t first_range;
    uint32_t count;
};

/* As the push constants of segment_bounds.comp. */
struct bound_arguments {
    uint64_t own, own_batch_stride;
    uint64_t bounds;
    uint64_t other, other_batch_stride;
    uint32_t own_ranges;
    uint32_t other_ranges;
};

static uint64_t coarse_ranges(uint64_t rows)
{
    return divide_up(rows, SEGMENT_COARSE_RANGE);
}

static uint64_t table_entries(uint64_t rows)
{
    return 2 * segment_fine_ranges(rows) + coarse_ranges(rows);
}

uint64_t segment_table_bytes(uint64_t batch, uint64_t rows)
{
    return batch * table_entries(rows) * ENTRY_BYTES;
}

struct tensor_view segment_table_view(const vkring_buffer *buffer, uint64_t rows)
{
    return (struct tensor_view){
        .address = buffer->address,
        .batch_stride = table_entries(rows) * ENTRY_BYTES,
        .row_stride = ENTRY_BYTES,
    };
}

static enum vkring_status create(vkring_device *device, struct spirv_module module, uint32_t push_bytes,
                                 const struct vk_pipeline **out_pipeline)
{
    const uint32_t constants[] = {WORKGROUP_SIZE};
    const struct vk_pipeline_params params = {
        .code = module.code,
        .code_bytes = module.bytes,
        .push_bytes = push_bytes,
        .constants = constants,
        .constant_count = 1,
    };
    return pipeline_pool_acquire(device, &params, out_pipeline);
}

enum vkring_status segment_kernels_create(vkring_device *device, struct segment_kernels *out_kernels)
{
    enum vkring_status status;
    struct segment_kernels kernels = {0};
    TRY(create(device, spirv_segment_ranges(), sizeof(struct range_arguments), &kernels.ranges), fail);
    TRY(create(device, spirv_segment_bounds(), sizeof(struct bound_arguments), &kernels.bounds), fail);
    *out_kernels = kernels;
    return VKRING_OK;
fail:
    segment_kernels_destroy(device, &kernels);
    return status;
}

void segment_kernels_destroy(vkring_device *device, struct segment_kernels *kernels)
{
    pipeline_pool_release(device, &kernels->ranges);
    pipeline_pool_release(device, &kernels->bounds);
}

/* Invocations of one dispatch along x. */
static uint64_t most_invocations(const vkring_device *device)
{
    return (uint64_t)device->limits.max_workgroup_count[0] * WORKGROUP_SIZE;
}

/* Ranges of range_rows rows each, from the `first`-th entry of the table on. */
static void record_ranges(vkring_device *device, const struct vk_commands *commands, const struct vk_pipeline *pipeline,
                          struct range_arguments arguments, uint64_t first, uint64_t range_rows, uint64_t batch)
{
    const uint64_t ranges = divide_up(arguments.rows, range_rows), most = most_invocations(device);
    arguments.range_rows = (uint32_t)range_rows;
    for (uint64_t at = 0; at < ranges; at += most) {
        const uint64_t count = min_u64(most, ranges - at);
        const uint32_t workgroups[3] = {(uint32_t)divide_up(count, WORKGROUP_SIZE), 1, (uint32_t)batch};
        struct range_arguments piece = arguments;
        piece.ranges += (first + at) * ENTRY_BYTES;
        piece.first_range = (uint32_t)at;
        piece.count = (uint32_t)count;
        vk_commands_dispatch(device, commands, pipeline, &piece, workgroups);
    }
}

void segment_ranges_record(vkring_device *device, const struct vk_commands *commands, const struct segment_kernels *kernels, uint64_t batch,
                           const struct segment_side *side)
{
    const uint64_t most = device->limits.max_workgroup_count[2];
    for (uint64_t entry = 0; side->rows > 0 && entry < batch; entry += most) {
        const struct range_arguments arguments = {
            .ids = side->ids.address + entry * side->ids.batch_stride,
            .ids_batch_stride = side->ids.batch_stride,
            .ranges = side->table.address + entry * side->table.batch_stride,
            .ranges_batch_stride = side->table.batch_stride,
            .rows = (uint32_t)side->rows,
        };
        const uint64_t entries = min_u64(most, batch - entry);
        record_ranges(device, commands, kernels->ranges, arguments, 0, SEGMENT_FINE_RANGE, entries);
        record_ranges(device, commands, kernels->ranges, arguments, segment_fine_ranges(side->rows), SEGMENT_COARSE_RANGE, entries);
    }
}

void segment_bounds_record(vkring_device *device, const struct vk_commands *commands, const struct segment_kernels *kernels, uint64_t batch,
                           const struct segment_side *own, const struct segment_side *other)
{
    const uint64_t most_entries = device->limits.max_workgroup_count[2], most = most_invocations(device);
    const uint64_t ranges = segment_fine_ranges(own->rows);
    for (uint64_t entry = 0; entry < batch; entry += most_entries) {
        for (uint64_t at = 0; at < ranges; at += most) {
            const uint64_t count = min_u64(most, ranges - at), table = own->table.address + entry * own->table.batch_stride;
            const struct bound_arguments arguments = {
                .own = table + at * ENTRY_BYTES,
                .own_batch_stride = own->table.batch_stride,
                .bounds = table + (ranges + coarse_ranges(own->rows) + at) * ENTRY_BYTES,
                .other = other->table.address + entry * other->table.batch_stride,
                .other_batch_stride = other->table.batch_stride,
                .own_ranges = (uint32_t)count,
                .other_ranges = (uint32_t)segment_fine_ranges(other->rows),
            };
            const uint32_t workgroups[3] = {(uint32_t)divide_up(count, WORKGROUP_SIZE), 1, (uint32_t)min_u64(most_entries, batch - entry)};
            vk_commands_dispatch(device, commands, kernels->bounds, &arguments, workgroups);
        }
    }
}
