/* SPDX-License-Identifier: MIT */
/** An attention problem after its parameters were checked and its defaults filled in. */
#ifndef VKRING_ATTENTION_PROBLEM_H
#define VKRING_ATTENTION_PROBLEM_H

#include "../base/status.h"

#define MAX_DIM 256u

/** Longest sequence whose distances kernels count, for alibi. */
#define MAX_ALIBI_LENGTH ((uint64_t)1 << 30)

struct problem {
    enum vkring_type type;
    uint64_t batch, q_len, kv_len, heads, kv_heads, head_dim, value_dim;
    bool causal;
    uint64_t causal_block;             /* at least 1, and no more than changes something */
    int64_t window_left, window_right; /* -1: unlimited */
    int64_t query_offset;
    double scale, softcap, dropout;
    uint64_t first_entry; /* of a greater batch whose entries dropout counts, the place of the first */
    bool segment_ids, alibi, sinks;
    bool int8_keys; /* of forward: see struct key_tensors */
    struct vkring_bias_params bias;
    bool backward;
};

/** VKRING_ERROR_INVALID_ARGUMENT names the parameter. The rows of ranks are not looked at. */
enum vkring_status problem_resolve(const struct vkring_plan_params *params, struct problem *out_problem);

/** Of how many elements rows are whole, and addresses and strides multiples: 1, 4 or 8. */
enum alignment { ALIGNED_ELEMENTS, ALIGNED_QUADS, ALIGNED_OCTETS, ALIGNMENTS };

/** The best that rows of query, key, value and output can have. */
static inline enum alignment problem_alignment(const struct problem *problem)
{
    const uint64_t dims = problem->head_dim | problem->value_dim;
    return dims % 8 == 0 ? ALIGNED_OCTETS : dims % 4 == 0 ? ALIGNED_QUADS : ALIGNED_ELEMENTS;
}

static inline bool problem_has_bias_of_heads(const struct problem *problem)
{
    return problem->bias.present && problem->bias.per_head;
}

/** Scores are more than their dot products times a number: lanes need registers for that. */
static inline bool problem_has_costly_scores(const struct problem *problem)
{
    return problem->segment_ids || problem->softcap > 0 || problem->alibi || problem->bias.present || problem->dropout > 0;
}

#endif
