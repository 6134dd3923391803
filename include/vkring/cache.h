/* SPDX-License-Identifier: MIT */
/**
 * A cache of keys and values for inference, sharded over the ranks of a communicator: a sequence that only all of them together can hold is
 * extended and attended to, some rows at a time.
 *
 *     vkring_device -> vkring_buffer ...
 *                   -> vkring_cache (device, communicator, problem) -> vkring_cache_append, vkring_cache_attend, ...
 *
 * The row at position p of a sequence lies on rank p mod ranks, in its slot p / ranks (rounded down): however sequences grow and wherever a
 * window of theirs lies, ranks hold the same number of rows of it, but for one.
 *
 * Semaphores set by vkring_buffer_set_vulkan_sync are waited for and signalled by append and attend as by runs of a plan.
 *
 * Tensors of a call hold, packed, rows of several sequences: those of sequence 0, then those of sequence 1, …; `rows` [batch] says how many
 * of each this rank brings. Of a sequence come first the rows of rank 0, then those of rank 1, …; any rank may bring none.
 */
#ifndef VKRING_CACHE_H
#define VKRING_CACHE_H

#include "vkring.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vkring_cache_storage {
    VKRING_CACHE_AS_TYPE = 0, /**< elements as they come */
    /**
     * Integers from -127 to 127 with one f32 scale for each row of each key/value head, its largest magnitude over 127: half of what 16 bits
     * take, and an error of at most 1/254 of that magnitude for each element.
     */
    VKRING_CACHE_INT8 = 1,
};

/** Which way rows meet that lie on different ranks. */
enum vkring_cache_pass {
    /**
     * Whichever should take less time, for the link between ranks and their devices as they were timed when the cache was made, in some
     * 20 ms: keys for many new rows, or for many beside the cached ones (Yang et al. 2024, arXiv 2411.01783). The log (VKRING_LOG_INFO)
     * says what was found; with segment ids or a bias devices are guessed at. All ranks choose alike, by the slowest of them, but another
     * run may choose otherwise: where the same bits are wanted every time, say which.
     */
    VKRING_CACHE_PASS_AUTO = 0,
    /** Queries go to all ranks, each attends to its part of the cache, and partial results merge on their way back, in log2(ranks) steps. */
    VKRING_CACHE_PASS_QUERIES = 1,
    /**
     * Keys and values go around the ring, as in vkring_forward: by a plan for each sequence, made in the call, with the memory that it takes.
     * With VKRING_CACHE_INT8 they travel as they are stored, with their scales.
     */
    VKRING_CACHE_PASS_KEYS = 2,
};

struct vkring_cache_params {
    /**
     * What is attended, as of a plan: type, batch (how many sequences), heads, kv_heads, head_dim, value_dim, scale, mask and modifiers;
     * q_len: the most rows of one sequence in a call, over all ranks; kv_len: the most rows that a sequence can have, over all ranks.
     * Queries are the last rows of their sequence, so that there is no query_offset. timeout_seconds, dispatch_seconds and kernels as there.
     * A bias may be per_query, which is then of its row alone: per_batch does not count.
     * VKRING_ERROR_UNSUPPORTED: a batch above 2^24, rows of keys or of values above 128 MiB, a bias with kv_len of 2^24 or more, or, of
     * several ranks that don't only pass keys, one per_query with so many elements in the rows of all its heads.
     * VKRING_ERROR_INVALID_ARGUMENT: backward, has_query_offset, rows of ranks, a layout of queries or keys.
     */
    struct vkring_plan_params attention;
    enum vkring_cache_storage storage;
    enum vkring_cache_pass pass;
};

/** Keys and values of a batch of sequences. One call at a time. */
typedef struct vkring_cache vkring_cache;

/** What a cache takes on this rank. */
struct vkring_cache_memory {
    uint64_t storage_bytes; /**< of device memory: keys, values, their scales and segment ids */
    uint64_t device_bytes;  /**< of device memory, with what calls work in */
    uint64_t host_bytes;    /**< pinned, and what rows are gathered in */
};

/** What vkring_cache_create would take. Not collective; takes nothing. comm null: one rank. */
VKRING_API enum vkring_status vkring_cache_measure(vkring_device *device, vkring_comm *comm, const struct vkring_cache_params *params,
                                                   struct vkring_cache_memory *out_memory);

/**
 * An empty cache. Collective over comm (null: one rank), which is borrowed, as the device is, until the cache is destroyed. Errors as of
 * vkring_plan_create.
 */
VKRING_API enum vkring_status vkring_cache_create(vkring_device *device, vkring_comm *comm, const struct vkring_cache_params *params,
                                                  vkring_cache **out_cache);
/** Accepts a pointer to null; writes null. Not collective, and never waits for a peer. */
VKRING_API void vkring_cache_destroy(vkring_cache **cache);

struct vkring_cache_info {
    uint32_t rank;
    uint32_t ranks;
    struct vkring_cache_memory memory;
    const uint64_t *lengths; /**< [batch], of each sequence over all ranks; the cache's, until its next call */
    uint64_t own_rows;       /**< of all sequences, on this rank */
    bool lost;               /**< a call broke off: the cache can only be destroyed */
    /**
     * What this rank sent to others in all calls that ended well: of an append the rows that are stored elsewhere, and some bytes for each
     * rank and sequence with which ranks agree on the call.
     */
    uint64_t append_sent_bytes;
    uint64_t attend_sent_bytes;
};

VKRING_API void vkring_cache_get_info(const vkring_cache *cache, struct vkring_cache_info *out_info);

/** Rows to be added: packed, or strided by sequence_stride and head_stride; batch_stride is not used. */
struct vkring_cache_append_io {
    const uint64_t *rows;             /**< [batch], how many of each sequence this rank brings */
    struct vkring_tensor key;         /**< [sum of rows][kv_heads][head_dim] */
    struct vkring_tensor value;       /**< [sum of rows][kv_heads][value_dim] */
    struct vkring_tensor segment_ids; /**< [sum of rows], int32_t, packed; read only if the cache has them */
};

/**
 * Adds rows at the end of sequences: each goes to the rank that stores it, and to no other. Collective. Buffers are borrowed until it
 * returns.
 *
 * VKRING_ERROR_CACHE_FULL on every rank: a sequence would pass kv_len; the message names it. _INVALID_ARGUMENT on every rank: a sequence
 * gets more than q_len rows; or on one: a tensor leaves its buffer or is on another device, and the other ranks get _PEER. _MISMATCH: ranks
 * don't agree on the lengths before, or make different calls. After these the cache is as it was. _TIMEOUT, _PEER, _COMM, _DEVICE,
 * _DEVICE_LOST otherwise: the last error names the rank, and the cache is lost.
 */
VKRING_API enum vkring_status vkring_cache_append(vkring_cache *cache, const struct vkring_cache_append_io *io);

/**
 * Forgets all rows from lengths[b] on of each sequence b. Every rank makes the same call, which sends nothing: one that did not is found by
 * the next append or attend. VKRING_ERROR_INVALID_ARGUMENT: longer than it is; nothing changed.
 */
VKRING_API enum vkring_status vkring_cache_truncate(vkring_cache *cache, const uint64_t *lengths);

/** Forgets all rows: vkring_cache_truncate to 0. */
VKRING_API enum vkring_status vkring_cache_reset(vkring_cache *cache);

struct vkring_cache_attend_io {
    const uint64_t *rows;        /**< [batch], how many queries of each sequence this rank brings */
    struct vkring_tensor query;  /**< [sum of rows][heads][head_dim]; strides as of struct vkring_cache_append_io */
    struct vkring_tensor output; /**< [sum of rows][heads][value_dim] */
    struct vkring_tensor lse;    /**< [heads][sum of rows], f32, packed; buffer null if not wanted */
    /* read only if the cache has them */
    struct vkring_tensor segment_ids;  /**< [sum of rows], int32_t, packed: a query keeps keys that were appended with the same */
    /**
     * By positions, up to kv_len as of the cache; those that a sequence does not have yet do not count. Strides as of vkring_forward.
     * per_query: [heads or 1][sum of rows][kv_len], of this rank's queries; else [batch or 1][heads or 1][kv_len], the same on every rank.
     */
    struct vkring_tensor bias;
    struct vkring_tensor alibi_slopes; /**< [heads], f32 */
    struct vkring_tensor sinks;        /**< [heads], f32 */
    uint64_t seed;                     /**< of dropout; the same on every rank */
};

/**
 * Attends queries to the cache. Those of a sequence, over all ranks, stand at its last positions: rows are appended first, then attended,
 * each (with causal) to those up to itself. Where queries go to all ranks, those of a sequence are attended together, whoever brought them,
 * and read keys as one rank's would. Output and lse as of vkring_forward, on the rank that brought the query.
 *
 * Collective. Buffers are borrowed until it returns; output and lse alias nothing. Same bits every run with the same ranks, devices, lengths
 * and rows, and the same pass. Errors as of vkring_cache_append; with more queries than a sequence has rows VKRING_ERROR_INVALID_ARGUMENT on every rank.
 */
VKRING_API enum vkring_status vkring_cache_attend(vkring_cache *cache, const struct vkring_cache_attend_io *io);

#ifdef __cplusplus
}
#endif

#endif
