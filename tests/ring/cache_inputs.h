/* SPDX-License-Identifier: MIT */
/** What calls to a cache are given, the same on all ranks, and what the oracle makes of it. */
#ifndef VKRING_TESTS_CACHE_INPUTS_H
#define VKRING_TESTS_CACHE_INPUTS_H

#include "../harness/cache_model.h"
#include "../harness/dice.h"
#include "world.h"

enum { MOST_BATCH = 4, MOST_RANKS = 8, MOST_HEADS = 2048 };

/** One of the tests: a cache, and how it is used. */
struct attend_case {
    const char *name;
    vkring_device **on;
    enum tensor_order order;
    bool no_lse;
    int steps; /* 0 for 8 */
    bool cut;  /* rows are more than go at a time, on several ranks */
    struct vkring_cache_params params;
};

/* How many queries each rank brings of each sequence. */
struct share {
    uint64_t total[MOST_BATCH], rows[MOST_RANKS][MOST_BATCH], before[MOST_RANKS][MOST_BATCH];
};

/* Whole inputs of a call, the same on all ranks, and what the oracle makes of them. */
struct inputs {
    float *queries[MOST_BATCH];                    /* [total][heads][head_dim] */
    int32_t *ids[MOST_BATCH];                      /* [total], of segments */
    double *outputs[MOST_BATCH], *lse[MOST_BATCH]; /* [total][heads][value_dim], [heads][total] */
};

/* What this rank got, and what it should have got, of all calls one after another. */
struct answers {
    uint64_t outputs, lses, room;
    float *output, *lse;
    double *wanted_output, *wanted_lse;
};

struct fixture {
    const struct attend_case *c;
    vkring_cache *cache;
    struct cache_model model;
    struct dice dice;
    float slopes[MOST_HEADS], sinks[MOST_HEADS];
    vkring_buffer *slopes_buffer, *sinks_buffer;
    struct answers answers;
};

/** Pieces of the prefill, or with decode one row of each sequence on one rank. */
struct share random_share(struct dice *dice, const struct cache_model *model, bool decode);
/** Of all sequences, what this rank brings. */
uint64_t own_rows(const struct fixture *f, const struct share *share);
uint64_t value_dim(const struct vkring_plan_params *p);

void draw_queries(const struct fixture *f, uint64_t sequence, uint64_t rows, float **out_queries);
/** Those of the rows that were appended with them, but for some: of another segment, or of one that no key is in. */
void draw_ids(const struct fixture *f, uint64_t sequence, uint64_t rows, int32_t **out_ids);
/** What this rank gives of a bias: beyond its sequences there is nothing that should be read. */
bool place_bias(const struct fixture *f, const struct share *share, struct vkring_tensor *out_tensor);
/** Outputs and log-sums of the last rows of a sequence, from the queries and ids that were drawn. */
bool refer(const struct fixture *f, uint64_t sequence, uint64_t rows, uint64_t seed, struct inputs *inputs);
void free_inputs(struct inputs *inputs);

#endif
