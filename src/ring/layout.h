/* SPDX-License-Identifier: MIT */
/** Which rows of the sequence each rank holds, and which packet meets which rank at which step. Pure arithmetic. */
#ifndef VKRING_RING_LAYOUT_H
#define VKRING_RING_LAYOUT_H

#include "../base/status.h"

/** Contiguous: rank r holds [first[r], first[r + 1]). */
struct layout {
    uint32_t rank, ranks;
    uint64_t *first_query_row; /* ranks + 1 entries; first_key_row likewise */
    uint64_t *first_key_row;
};

/** Null arrays are equal cuts. VKRING_ERROR_INVALID_ARGUMENT: the rows do not add up. */
enum vkring_status layout_make(uint32_t rank, uint32_t ranks, uint64_t q_len, uint64_t kv_len, const uint64_t *query_rows_of_rank,
                               const uint64_t *key_rows_of_rank, struct layout *out_layout);
/** Accepts one that was not made. */
void layout_free(struct layout *layout);

uint64_t layout_query_rows(const struct layout *layout, uint32_t rank);
uint64_t layout_key_rows(const struct layout *layout, uint32_t rank);
/** Of any rank. */
uint64_t layout_most_key_rows(const struct layout *layout);

/** The rank whose packet is attended to at a step: its own first, then those that come round, each from the rank before it. */
static inline uint32_t layout_origin(const struct layout *layout, uint32_t step)
{
    return (uint32_t)(((uint64_t)layout->rank + layout->ranks - step) % layout->ranks);
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
