/* SPDX-License-Identifier: MIT */
/**
 * A copy of the keys and values of a packet in which the rows of each head follow each other. Where a row of all heads is as long as a
 * page, what caches of CPUs fetch ahead of one head's rows is of other heads, and rows that lie powers of two apart share few places of a
 * cache.
 */
#ifndef VKRING_RING_KEYS_BY_HEAD_H
#define VKRING_RING_KEYS_BY_HEAD_H

#include "../attention/rows.h"
#include "../attention/tensors.h"

struct keys_by_head {
    vkring_buffer *buffer;   /* of all keys, and then all values; null: there is no copy */
    struct rows_kernel pack; /* of elements as rows have them */
};

/** Of a copy of so many keys. */
uint64_t keys_by_head_bytes(const struct problem *problem, uint64_t keys);
enum vkring_status keys_by_head_create(vkring_device *device, const struct problem *problem, uint64_t most_keys,
                                       struct keys_by_head *out_copy);
/** Accepts one that was not created. */
void keys_by_head_destroy(vkring_device *device, struct keys_by_head *copy);
/** Points the views of keys and values at the copy. */
void keys_by_head_place(const struct keys_by_head *copy, const struct problem *problem, struct key_tensors *keys);
/** Records the copying of keys and values. */
void keys_by_head_record(vkring_device *device, const struct vk_commands *commands, const struct keys_by_head *copy,
                         const struct problem *problem, const struct key_tensors *keys);

#endif
