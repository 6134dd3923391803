/* SPDX-License-Identifier: MIT */
/**
 * Attention of query rows to the keys that this rank has of their sequences: what they get of it is whole on one rank, and a part to be
 * merged on several.
 */
#ifndef VKRING_CACHE_PARTIAL_H
#define VKRING_CACHE_PARTIAL_H

#include "../attention/kernel.h"
#include "../attention/segments.h"
#include "device_work.h"
#include "memory_wish.h"

/** Dispatches that are submitted together. */
#define PARTIAL_DISPATCHES 256u
/** Boxes whose splits wait for their merge at a time. */
#define PARTIAL_MERGES 16u
/**
 * Kernels for one row of a sequence do for so many: they read keys once for each tile of rows, from the caches. But for those that give all
 * lanes to a row.
 */
#define PARTIAL_FEW_ROWS 8u
/** Kinds of kernels: for one row of a sequence, few, and many. */
#define PARTIAL_KINDS 3u
/** Of tables of segment ids for spans of any lengths: the most that one takes, of one row. */
#define PARTIAL_TABLE_BYTES_PER_ROW segment_table_bytes(1, 1)

/** Kernels for spans of rows. */
struct partial_kernels {
    struct kernel_choice choice;
    struct attention_kernel forward, merge; /* merge: of splits, where there can be any */
    uint64_t most_rows;                     /* of a span */
};

/** A box of which all splits are under way. */
struct partial_merge {
    const struct attention_kernel *kernel;
    struct attention_dispatch dispatch;
    struct query_tensors queries;
    struct key_tensors keys;
};

struct partial_size {
    const struct problem *problem; /* of the cache */
    const char *kernels;           /* as of vkring_plan_params */
    bool int8_keys;                /* see struct key_tensors */
    uint32_t rank, ranks;
    uint64_t slots;     /* that this rank has of a sequence */
    uint64_t call_rows; /* of all spans of a call */
    uint64_t most_rows; /* of a span */
    double dispatch_seconds;
};

struct partial {
    vkring_device *device;
    struct problem problem; /* of one batch entry, with the sinks if they are this rank's to add */
    uint32_t rank, ranks;
    bool int8_keys;
    double dispatch_seconds;
    uint64_t most_rows;
    struct partial_kernels kinds[PARTIAL_KINDS]; /* for more and more rows */
    uint32_t kind_count;
    vkring_buffer *state, *arguments;
    /* with segment ids: their tables, of the rows of each span and of the keys of each sequence */
    struct segment_kernels segments;
    vkring_buffer *query_tables, *key_tables;
    uint64_t slots;
    /* of the call at hand */
    struct device_work *work;
    const struct query_tensors *queries;
    const struct key_tensors *keys;
    enum alignment alignment;
    uint64_t spans; /* that are to come, about */
    uint64_t arguments_used, state_used, merges_waiting;
    double flop;
    struct partial_merge merges[PARTIAL_MERGES];
};

/** Adds what partial_create will take. */
enum vkring_status partial_measure(vkring_device *device, const struct partial_size *size, struct vkring_cache_memory *memory);
/** Chooses kernels and compiles what packed tensors need. */
enum vkring_status partial_create(vkring_device *device, const struct partial_size *size, struct partial *out_partial);
/** Accepts one that was not created. */
void partial_destroy(struct partial *partial);

/** Compiles what such tensors need, if it was not yet. */
enum vkring_status partial_prepare(struct partial *partial, const struct query_tensors *queries, const struct key_tensors *keys);

/** Query rows of one sequence that follow one another: from row `row` of the tensors on, the first at a position. */
struct partial_span {
    uint64_t sequence;
    uint64_t position;
    uint64_t row, rows; /* at most most_rows */
    uint64_t keys;      /* that this rank has of the sequence: positions rank, rank + ranks, … */
};

/**
 * Begins a call of so many spans, about. Tensors are borrowed until partial_finish: queries of one batch entry with the rows of all
 * spans, whose query_row does not count, but a bias there is [batch], of all positions, and steps over rows by 0 if it is of all; keys
 * [batch], whose positions and number do not. Prepared.
 */
void partial_start(struct partial *partial, struct device_work *work, const struct query_tensors *queries, const struct key_tensors *keys,
                   uint64_t spans);
/**
 * With segment ids, before any span is added, all of the first, then all of the second and a barrier behind each: what ids the keys of a
 * sequence have and what ids the rows of a span; where in the keys of the sequence those are.
 */
void partial_range_keys(struct partial *partial, uint64_t sequence, uint64_t keys);
enum vkring_status partial_range_queries(struct partial *partial, const struct partial_span *span);
enum vkring_status partial_bound_queries(struct partial *partial, const struct partial_span *span);
/**
 * Records the span, and submits when there is much and waits for it: VKRING_ERROR_TIMEOUT and so on. A piece of work that was begun before
 * is gone on with. Results of a row that keeps no key here: zeros, and a log-sum of -inf or, if they are this rank's, the sink.
 */
enum vkring_status partial_add(struct partial *partial, const struct partial_span *span);
/** Ends the call: all is recorded, what is not submitted in a piece of work that is begun. */
void partial_finish(struct partial *partial);

#endif
