/* SPDX-License-Identifier: MIT */
/** The least and greatest segment id of blocks of rows, by which kernels skip what has nothing in common. */
#ifndef VKRING_ATTENTION_SEGMENTS_H
#define VKRING_ATTENTION_SEGMENTS_H

#include "../base/checked.h"
#include "../vk/commands.h"
#include "tensor.h"

/* As in segments.glsl. */
#define SEGMENT_FINE_RANGE 16u
#define SEGMENT_COARSE_RANGE 256u

static inline uint64_t segment_fine_ranges(uint64_t rows)
{
    return divide_up(rows, SEGMENT_FINE_RANGE);
}

/** Bytes of the ranges of batch entries of so many rows. */
uint64_t segment_ranges_bytes(uint64_t batch, uint64_t rows);
/** Those ranges in a buffer. */
struct tensor_view segment_ranges_view(vkring_buffer *buffer, uint64_t offset_bytes, uint64_t rows);

enum vkring_status segment_kernel_create(vkring_device *device, struct vk_pipeline *out_pipeline);

/** Records the writing of ranges of ids [batch][rows]; nothing for none. */
void segment_ranges_record(vkring_device *device, const struct vk_commands *commands, const struct vk_pipeline *pipeline,
                           const struct tensor_view *ids, uint64_t batch, uint64_t rows, const struct tensor_view *ranges);

#endif
