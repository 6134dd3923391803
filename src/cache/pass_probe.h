/* SPDX-License-Identifier: MIT */
/** How fast ranks attend and how fast rows travel between them, for the choice of what travels. */
#ifndef VKRING_CACHE_PASS_PROBE_H
#define VKRING_CACHE_PASS_PROBE_H

#include "cache.h"

/** Query rows, and keys that they are attended to. */
struct probe_size {
    uint64_t rows, keys;
};

/** How many are so much work, with so much for a pair; most: at least 1 each. Pure arithmetic. */
struct probe_size probe_size_for(double flop, double pair_flop, const struct probe_size *most);

/** What a rank found. */
struct probe {
    double link_bytes_per_second, flops;
};

/** The slowest link and the slowest device of so many ranks, at least 1. */
struct probe probe_slowest(const struct probe *probes, uint32_t ranks);

/**
 * Times the link with messages of 256 KiB, and this rank's attention to its part of an empty cache: all ranks at the same time, and each
 * about 10 ms after as much work as a guess makes it. Of both the slowest rank's counts, and is logged. Collective, of several ranks. A
 * cache without room for a row or a query, or with segment ids or a bias, keeps the guess.
 */
enum vkring_status pass_probe(struct vkring_cache *cache);

#endif
