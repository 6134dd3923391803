/* SPDX-License-Identifier: MIT */
/**
 * A copy of tensors in which the rows of each head follow each other. Where a row of all heads is as long as a page, what caches of CPUs
 * fetch ahead of one head's rows is of other heads, and rows that lie powers of two apart share few places of a cache.
 */
#ifndef VKRING_RING_BY_HEAD_H
#define VKRING_RING_BY_HEAD_H

#include "../attention/rows.h"
#include "../attention/tensors.h"

#define BY_HEAD_TENSORS 2u

struct by_head {
    vkring_buffer *buffer;   /* null: there is no copy */
    struct rows_kernel pack; /* of elements as rows have them */
};

/** What is copied together, one tensor after another. Elements are of one size. */
struct by_head_tensors {
    struct tensor_shape shape[BY_HEAD_TENSORS];
    struct tensor_view *view[BY_HEAD_TENSORS];
    uint32_t count;
};

/** Keys, and then values, of so many keys as there are. */
struct by_head_tensors by_head_of_keys(const struct problem *problem, struct key_tensors *keys);
/** Queries, and then gradients of outputs. */
struct by_head_tensors by_head_of_queries(const struct problem *problem, struct query_tensors *queries);

/** Of a copy. */
uint64_t by_head_bytes(const struct by_head_tensors *tensors);
/** Of tensors like these, or of fewer rows. Their views are not looked at. */
enum vkring_status by_head_create(vkring_device *device, const struct by_head_tensors *tensors, struct by_head *out_copy);
/** Accepts one that was not created. */
void by_head_destroy(vkring_device *device, struct by_head *copy);
/** Points the views at the copies. */
void by_head_place(const struct by_head *copy, const struct by_head_tensors *tensors);
/** Records the copying of what the views are of. */
void by_head_record(vkring_device *device, const struct vk_commands *commands, const struct by_head *copy,
                    const struct by_head_tensors *tensors);

#endif
