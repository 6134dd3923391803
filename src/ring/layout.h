/* SPDX-License-Identifier: MIT */
/** Which rows of the sequence each rank holds, and which packet meets which rank at which step. Pure arithmetic. */
#ifndef VKRING_RING_LAYOUT_H
#define VKRING_RING_LAYOUT_H

#include "../base/status.h"

/** Rows [first, first + rows) of the sequence, which are rows [local, local + rows) of the rank's tensors. */
struct layout_span {
    uint64_t first, rows, local;
};

/** A rank's rows lie in the sequence in so many runs at most. */
#define LAYOUT_SPANS VKRING_SPANS

/** The rows of one side on all ranks. */
struct layout_side {
    struct layout_span *spans; /* [ranks][LAYOUT_SPANS], in the order of positions; those that are not used have no rows */
};

struct layout {
    uint32_t rank, ranks;
    enum vkring_layout kind; /* never auto */
    struct layout_side queries, keys;
};

/** VKRING_ERROR_INVALID_ARGUMENT: an unknown layout, or the rows do not add up. */
enum vkring_status layout_make(uint32_t rank, uint32_t ranks, const struct vkring_plan_params *params, struct layout *out_layout);
/** Accepts one that was not made. */
void layout_free(struct layout *layout);

static inline const struct layout_span *layout_span_of(const struct layout_side *side, uint32_t rank, uint32_t span)
{
    return &side->spans[(size_t)rank * LAYOUT_SPANS + span];
}

struct vkring_rank_rows layout_rank_rows(const struct layout *layout, uint32_t rank);

uint64_t layout_query_rows(const struct layout *layout, uint32_t rank);
uint64_t layout_key_rows(const struct layout *layout, uint32_t rank);
/** Of any rank. */
uint64_t layout_most_key_rows(const struct layout *layout);

/**
 * Where the sequence would begin if rows before the span's lay as the span's do: row i of the rank's tensor is row origin + i of the
 * sequence. Spans come after all that lie before them in the tensor, so it is never negative.
 */
static inline uint64_t layout_span_origin(const struct layout_span *span)
{
    return span->first - span->local;
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

#endif
