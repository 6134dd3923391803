/* SPDX-License-Identifier: MIT */
/** Rows that ranks append to a cache together, and to the model of what it should hold. */
#ifndef VKRING_TESTS_RING_CACHE_APPENDS_H
#define VKRING_TESTS_RING_CACHE_APPENDS_H

#include "../harness/cache_model.h"
#include "../harness/dice.h"
#include "world.h"

enum { MOST_BATCH = 4, MOST_RANKS = 8 };

/** New rows of each sequence, and how many of them each rank brings. */
struct split {
    uint64_t total[MOST_BATCH], rows[MOST_RANKS][MOST_BATCH], before[MOST_RANKS][MOST_BATCH];
};

/** Of two short sequences. */
static const struct vkring_cache_params small = {
    .attention = {.batch = 2, .q_len = 16, .kv_len = 48, .heads = 2, .head_dim = 8, .timeout_seconds = 60}};

/** Of one more rank. */
void add_rows(struct split *split, uint32_t rank, uint64_t sequence, uint64_t rows);
/** Rank after rank the same number of each sequence. */
struct split even_split(uint64_t batch, uint64_t rows);
struct split random_split(struct dice *dice, const struct cache_model *model);
/** Not for a rank that is to be refused. */
enum vkring_status append_split(vkring_cache *cache, struct cache_model *model, const struct split *split, uint64_t padding);
bool append_well(vkring_cache *cache, struct cache_model *model, const struct split *split, uint64_t padding);
/** Collective. */
bool open_cache(vkring_device *on, vkring_comm *with, const struct vkring_cache_params *params, vkring_cache **out_cache,
                struct cache_model *out_model);
void close_cache(vkring_cache **cache, struct cache_model *model);
bool is_refused(enum vkring_status status, enum vkring_status wanted, const char *word);

#endif
