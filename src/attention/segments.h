/* SPDX-License-Identifier: MIT */
/** Tables of segment ids, by which kernels skip what has nothing in common: see segment_tables.glsl. */
#ifndef VKRING_ATTENTION_SEGMENTS_H
#define VKRING_ATTENTION_SEGMENTS_H

#include "../base/checked.h"
#include "../vk/commands.h"
#include "../vk/pipeline_pool.h"
#include "tensor.h"

/* As in segments.glsl. */
#define SEGMENT_FINE_RANGE 16u
#define SEGMENT_COARSE_RANGE 256u

static inline uint64_t segment_fine_ranges(uint64_t rows)
{
    return divide_up(rows, SEGMENT_FINE_RANGE);
}

struct segment_kernels {
    const struct vk_pipeline *ranges, *bounds;
};

enum vkring_status segment_kernels_create(vkring_device *device, struct segment_kernels *out_kernels);
/** Accepts ones that were not created. */
void segment_kernels_destroy(vkring_device *device, struct segment_kernels *kernels);

/** One side: ids [batch][rows], and their table. */
struct segment_side {
    struct tensor_view ids, table;
    uint64_t rows;
};

/** Bytes of the tables of batch entries of so many rows. */
uint64_t segment_table_bytes(uint64_t batch, uint64_t rows);
/** That table at the start of a buffer. */
struct tensor_view segment_table_view(const vkring_buffer *buffer, uint64_t rows);

/** Records the writing of a side's ranges. */
void segment_ranges_record(vkring_device *device, const struct vk_commands *commands, const struct segment_kernels *kernels, uint64_t batch,
                           const struct segment_side *side);
/** Records the writing of a side's bounds, once the ranges of both are written. */
void segment_bounds_record(vkring_device *device, const struct vk_commands *commands, const struct segment_kernels *kernels, uint64_t batch,
                           const struct segment_side *own, const struct segment_side *other);

#endif
