/* SPDX-License-Identifier: MIT */
/** Which rows of the sequence each rank holds, and which packet meets which rank at which step. Pure arithmetic. */
#ifndef VKRING_RING_LAYOUT_H
#define VKRING_RING_LAYOUT_H

#include "../attention/mask.h"

/** Row first + stride · i of the sequence is row local + i of the rank's tensors, for i < rows. */
struct layout_span {
    uint64_t first, rows, local, stride;
};

/** A rank's rows lie in the sequence in so many spans at most. */
#define LAYOUT_SPANS VKRING_SPANS

/** The rows of one side on all ranks. */
struct layout_side {
    uint32_t count;            /* of spans that a rank has at most: 1 … LAYOUT_SPANS */
    struct layout_span *spans; /* [ranks][count], in the order of positions; those that are not used have no rows, and come last */
};

struct layout {
    uint32_t rank, ranks;
    enum vkring_layout kind; /* of queries; never auto */
    enum vkring_layout key_kind;
    struct layout_side queries, keys;
    uint64_t most_stride;   /* of any span of any rank */
    uint64_t most_key_rows; /* of any rank */
};

/** VKRING_ERROR_INVALID_ARGUMENT: an unknown layout, or the rows do not add up. */
enum vkring_status layout_make(uint32_t rank, uint32_t ranks, const struct vkring_plan_params *params, struct layout *out_layout);
/** Accepts one that was not made. */
void layout_free(struct layout *layout);

static inline const struct layout_span *layout_span_of(const struct layout_side *side, uint32_t rank, uint32_t span)
{
    return &side->spans[(size_t)rank * side->count + span];
}

struct vkring_rank_rows layout_rank_rows(const struct layout *layout, uint32_t rank);

uint64_t layout_query_rows(const struct layout *layout, uint32_t rank);
uint64_t layout_key_rows(const struct layout *layout, uint32_t rank);

/** Where row 0 of the rank's tensor would lie if rows before the span's lay as the span's do, modulo 2^64. */
static inline uint64_t layout_span_origin(const struct layout_span *span)
{
    return span->first - span->local * span->stride;
}

/** The pairs of rows of one span and keys of another. */
static inline struct mask_block layout_block(const struct layout_span *queries, const struct layout_span *keys)
{
    return (struct mask_block){queries->first, queries->rows, keys->first, keys->rows, queries->stride, keys->stride};
}

/** The rank whose packet a rank meets at a step: its own first, then those that come round, each from the rank before it. */
static inline uint32_t layout_origin_of(const struct layout *layout, uint32_t rank, uint32_t step)
{
    return (uint32_t)(((uint64_t)rank + layout->ranks - step) % layout->ranks);
}

static inline uint32_t layout_origin(const struct layout *layout, uint32_t step)
{
    return layout_origin_of(layout, layout->rank, step);
}

static inline uint32_t layout_next(const struct layout *layout)
{
    return (uint32_t)(((uint64_t)layout->rank + 1) % layout->ranks);
}

static inline uint32_t layout_previous(const struct layout *layout)
{
    return (uint32_t)(((uint64_t)layout->rank + layout->ranks - 1) % layout->ranks);
}

/** Whether rows or keys of a block do not follow each other. */
static inline bool layout_lies_apart(const struct mask_block *block)
{
    return block->query_stride > 1 || block->key_stride > 1;
}

#endif
