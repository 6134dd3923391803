/* SPDX-License-Identifier: MIT */
/** What a cache holds on a rank. */
#ifndef VKRING_CACHE_CACHE_H
#define VKRING_CACHE_CACHE_H

#include "deal.h"
#include "exchange.h"
#include "gathered.h"
#include "partial.h"
#include "positions.h"
#include "shard.h"
#include "store.h"

struct vkring_cache {
    vkring_device *device;
    vkring_comm *comm; /* null: one rank */
    uint32_t rank, ranks;
    uint64_t id;            /* the same on all ranks, and another for each cache of a communicator */
    struct problem problem; /* q_len: the most rows of a sequence in a call; kv_len: of a sequence; query_offset 0 */
    enum vkring_cache_storage storage;
    enum vkring_cache_pass pass;
    double timeout_seconds, dispatch_seconds;
    uint64_t slots;    /* of a sequence on this rank */
    uint64_t *lengths; /* [batch], over all ranks */
    struct shard key, value;
    vkring_buffer *ids; /* [batch][slots], of segments; else empty */
    struct exchange exchange;
    struct deal deal;
    struct store store;
    struct device_work work;
    struct gathered gathered; /* with several ranks */
    struct partial partial;
    uint64_t piece_rows; /* of a rank, that are attended at a time */
    struct vkring_cache_memory memory;
    uint64_t sent_before; /* by the communicator, before the call at hand */
    uint64_t append_sent_bytes, attend_sent_bytes;
    /* of keys that travel */
    vkring_buffer *own_bias;             /* [heads or 1][slots], of a sequence, where a bias is not per_query */
    struct rows_kernel pack_bias;        /* to there */
    char *kernels;                       /* as the parameter; null too */
    uint64_t *rows_of_rank;              /* [ranks], of the sequence at hand */
    double flops, link_bytes_per_second; /* of the slowest rank, where which way rows pass is not given */
    bool lost;
};

/** What this rank stores, as kernels read it; positions and how many keys are the caller's to fill in. */
struct key_tensors cache_keys(const struct vkring_cache *cache);

#endif
