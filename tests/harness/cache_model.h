/* SPDX-License-Identifier: MIT */
/** What a cache should hold: all rows of all sequences in host memory, the same on every rank, and tensors of rows that a rank brings. */
#ifndef VKRING_TESTS_CACHE_MODEL_H
#define VKRING_TESTS_CACHE_MODEL_H

#include <cache/cache.h>

enum cache_side { CACHE_KEYS, CACHE_VALUES, CACHE_SIDES };

struct cache_model {
    struct vkring_cache_params params;
    uint64_t dims[CACHE_SIDES]; /* elements of a row: kv_heads · dim */
    uint64_t *lengths;          /* [batch] */
    float *rows[CACHE_SIDES];   /* by cache_model_row; numbers of the cache's type */
    int32_t *ids;               /* by cache_model_ids, where there are segments */
    uint64_t seed;
};

bool cache_model_create(const struct vkring_cache_params *params, uint64_t seed, struct cache_model *out_model);
void cache_model_destroy(struct cache_model *model);
/** [kv_heads][dim] */
float *cache_model_row(const struct cache_model *model, enum cache_side side, uint64_t sequence, uint64_t position);

/** From a position on. */
int32_t *cache_model_ids(const struct cache_model *model, uint64_t sequence, uint64_t position);

/** Writes random numbers to the next rows [batch] of each sequence, which then are appended by cache_model_keep. */
void cache_model_draw(struct cache_model *model, const uint64_t *rows);
void cache_model_keep(struct cache_model *model, const uint64_t *rows);

/** What a rank appends: of each sequence `rows` rows from the `before`-th new one on; strides have so many elements more than packed ones.
 */
bool cache_model_place(const struct cache_model *model, vkring_device *device, const uint64_t *before, const uint64_t *rows,
                       uint64_t padding, struct vkring_cache_append_io *out_io);
/** The buffers of it. */
void cache_model_clear(struct vkring_cache_append_io *io);

/** Whether this rank stores what it should. Says on standard error what differs. */
bool cache_model_matches(const struct cache_model *model, const vkring_cache *cache);

#endif
