/* SPDX-License-Identifier: MIT */
/** Storing rows in a rank's shards by shaders/cache_store.comp, and moving rows of tensors to where they can be gathered. */
#ifndef VKRING_CACHE_STORE_H
#define VKRING_CACHE_STORE_H

#include "../attention/rows.h"
#include "device_work.h"
#include "shard.h"

/** What is stored in what way, and how much at a time. */
struct store_size {
    enum vkring_type type;
    enum vkring_cache_storage storage;
    uint64_t kv_heads, head_dim, value_dim;
    uint64_t rows;        /* stored at a time */
    uint64_t packed_rows; /* of the own tensors packed at a time; 0: rows are stored from where they are */
};

struct store {
    struct store_size size;
    const struct vk_pipeline *aligned, *general;
    struct rows_kernel pack;
    vkring_buffer *table;  /* [rows], which row of the shards a row goes to */
    vkring_buffer *rows;   /* [rows], each a key and the value behind it; on the host */
    vkring_buffer *packed; /* [packed_rows] of the same, which leave this rank */
    uint64_t count;        /* of the rows in the table */
};

/** A key and the value behind it. */
uint64_t store_row_bytes(const struct store_size *size);

/** Adds what store_create will take. */
enum vkring_status store_measure(vkring_device *device, const struct store_size *size, struct vkring_cache_memory *memory);
/** Also compiles what rows of whole quads need, if they can be that, else what others do. */
enum vkring_status store_create(vkring_device *device, const struct store_size *size, struct store *out_store);
/** Accepts one that was not created. */
void store_destroy(struct store *store, vkring_device *device);

/** Rows of keys and of values, in tensors. */
struct store_rows {
    struct tensor_view key, value;
};

/** Those from row `first` on. */
struct store_rows store_rows_from(const struct store_rows *rows, uint64_t first);
/** Those of a packed buffer, such as `rows` and `packed`. */
struct store_rows store_packed_rows(const struct store *store, vkring_buffer *buffer);

/** Compiles what such rows need, if it was not yet. */
enum vkring_status store_prepare(struct store *store, vkring_device *device, const struct store_rows *rows);

/** Stores the rows that the table has, and empties it. */
enum vkring_status store_run(struct store *store, struct device_work *work, const struct store_rows *rows, const struct shard *key,
                             const struct shard *value);
/** Packs the first `count` rows; the host may then read them. */
enum vkring_status store_pack(struct store *store, struct device_work *work, const struct store_rows *rows, uint64_t count);

#endif
