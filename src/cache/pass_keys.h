/* SPDX-License-Identifier: MIT */
/** New rows of many queries against a cache: its keys and values go around the ring, by a plan for each sequence. */
#ifndef VKRING_CACHE_PASS_KEYS_H
#define VKRING_CACHE_PASS_KEYS_H

#include "cache.h"

/**
 * After cache_agree: whether keys should travel and not queries, for the rows of the call; all ranks decide alike. By what both take on the
 * link while the other hides behind compute (Context Parallelism for Scalable Million-Token Inference, Yang et al. 2024, arXiv 2411.01783,
 * equation 3, which implies 1; keys by the bytes that are stored): keys where new rows are many, or many beside the cached ones.
 */
bool pass_keys_pays(const struct vkring_cache *cache);
/** Attends the queries of the call, whose tensors were looked at. Collective. queries: this rank's. A failure leaves outputs
 * undefined; the cache is whole if the communicator is. */
enum vkring_status pass_keys_attend(struct vkring_cache *cache, const struct vkring_cache_attend_io *io,
                                    const struct query_tensors *queries);

#endif
