/* SPDX-License-Identifier: MIT */
/** Storing rows in a rank's shards by shaders/cache_store.comp, and moving rows of tensors to where they can be gathered. */
#ifndef VKRING_CACHE_STORE_H
#define VKRING_CACHE_STORE_H

#include "../attention/rows.h"
#include "device_work.h"
#include "row_parts.h"
#include "shard.h"

/** What is stored in what way, and how much at a time. */
struct store_size {
    enum vkring_type type;
    enum vkring_cache_storage storage;
    uint64_t kv_heads, head_dim, value_dim;
    bool segment_ids;
    uint64_t rows;        /* stored at a time */
    uint64_t packed_rows; /* of the own tensors packed at a time; 0: rows are stored from where they are */
};

struct store {
    struct store_size size;
    const struct vk_pipeline *aligned, *general, *words; /* words: of ids */
    struct rows_kernel pack, pack_ids;
    vkring_buffer *table;  /* [rows], which row of the shards a row goes to; then the same of ids */
    vkring_buffer *rows;   /* a block of `rows` rows on the host, as of store_row_parts */
    vkring_buffer *packed; /* one of packed_rows, from where they are dealt */
    uint64_t count;        /* of the rows in the table */
};

/** A key and the value behind it. */
uint64_t store_row_bytes(const struct store_size *size);
/** These, and a segment id. */
enum { STORE_PART_ROW, STORE_PART_ID };
struct row_parts store_row_parts(const struct store_size *size);

/** Adds what store_create will take. */
enum vkring_status store_measure(vkring_device *device, const struct store_size *size, struct vkring_cache_memory *memory);
/** Also compiles what rows of whole quads need, if they can be that, else what others do. */
enum vkring_status store_create(vkring_device *device, const struct store_size *size, struct store *out_store);
/** Accepts one that was not created. */
void store_destroy(struct store *store, vkring_device *device);

/** Rows of keys and of values, and ids, in tensors. */
struct store_rows {
    struct tensor_view key, value, ids;
};

/** Those from row `first` on. */
struct store_rows store_rows_from(const struct store_rows *rows, uint64_t first);
/** Those of a block of so many rows, such as `rows` and `packed` have. */
struct store_rows store_packed_rows(const struct store *store, vkring_buffer *buffer, uint64_t rows);

/** Compiles what such rows need, if it was not yet. */
enum vkring_status store_prepare(struct store *store, vkring_device *device, const struct store_rows *rows);

/** The next row of the table goes to that row of the shards, and its id to that one. */
void store_enter(struct store *store, uint64_t shard_row, uint64_t id_row);
/** Stores the rows that the table has, and empties it. ids: [batch][slots], where there are any. */
enum vkring_status store_run(struct store *store, struct device_work *work, const struct store_rows *rows, const struct shard *key,
                             const struct shard *value, const vkring_buffer *ids);
/** Packs the first `count` rows into a block of so many, which the host may then read. */
enum vkring_status store_pack(struct store *store, struct device_work *work, const struct store_rows *rows, uint64_t count);

#endif
