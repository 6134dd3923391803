/* SPDX-License-Identifier: MIT */
/** Where the rows of a sequence lie: position p on rank p mod ranks, in its slot p / ranks. Pure arithmetic. */
#ifndef VKRING_CACHE_POSITIONS_H
#define VKRING_CACHE_POSITIONS_H

#include "../base/checked.h"

/** How many of the first `length` positions lie on a rank: in its slots from 0 on. */
static inline uint64_t positions_of_rank(uint64_t length, uint32_t rank, uint32_t ranks)
{
    return length > rank ? divide_up(length - rank, ranks) : 0;
}

/** The first position from `from` on that lies on the rank. */
static inline uint64_t positions_next(uint64_t from, uint32_t rank, uint32_t ranks)
{
    return positions_of_rank(from, rank, ranks) * ranks + rank;
}

#endif
