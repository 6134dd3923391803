/* SPDX-License-Identifier: MIT */
/** What a rank stores of the keys, or of the values, of all sequences: rows of a head together, as whoever attends reads them. */
#ifndef VKRING_CACHE_SHARD_H
#define VKRING_CACHE_SHARD_H

#include <vkring/cache.h>

#include "../attention/problem.h"
#include "../vk/memory.h"

struct shard {
    uint64_t row_bytes;      /* that a head of a row takes */
    uint64_t head_bytes;     /* slots · row_bytes */
    uint64_t sequence_bytes; /* kv_heads · head_bytes */
    uint64_t slots;
    vkring_buffer *elements; /* [batch][kv_heads][slots][row_bytes] */
    vkring_buffer *scales;   /* VKRING_CACHE_INT8: [batch][kv_heads][slots], f32; else empty */
};

/** Rows of integers are whole words: bytes beyond dim are zeros. */
uint64_t shard_row_bytes(enum vkring_type type, enum vkring_cache_storage storage, uint64_t dim);

/** What shard_create will take of device memory. */
enum vkring_status shard_measure(vkring_device *device, const struct problem *problem, enum vkring_cache_storage storage, uint64_t slots,
                                 uint64_t dim, uint64_t *out_bytes);
enum vkring_status shard_create(vkring_device *device, const struct problem *problem, enum vkring_cache_storage storage, uint64_t slots,
                                uint64_t dim, struct shard *out_shard);
/** Accepts one that was not created. */
void shard_destroy(struct shard *shard);

#endif
