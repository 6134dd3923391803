/* SPDX-License-Identifier: MIT */
/** An attention problem after its parameters were checked and its defaults filled in. */
#ifndef VKRING_ATTENTION_PROBLEM_H
#define VKRING_ATTENTION_PROBLEM_H

#include "../base/status.h"

#define MAX_DIM 256u

struct problem {
    enum vkring_type type;
    uint64_t batch, q_len, kv_len, heads, kv_heads, head_dim, value_dim;
    bool causal;
    int64_t query_offset;
    double scale;
};

/** VKRING_ERROR_INVALID_ARGUMENT names the parameter. The rows of ranks are not looked at. */
enum vkring_status problem_resolve(const struct vkring_plan_params *params, struct problem *out_problem);

/**
 * The causal limit between query row `query_row` and key row `key_row` of the sequence (i counted from the one, j from the other):
 * row i keeps key j if j <= i + diagonal. Clamped to [-rows, keys], which changes nothing for i < rows and j < keys.
 */
int32_t problem_diagonal(const struct problem *problem, uint64_t query_row, uint64_t rows, uint64_t key_row, uint64_t keys);

/** How many of the keys [key_row, + keys) query row `query_row` keeps: the first so many. */
uint64_t problem_kept_keys(const struct problem *problem, uint64_t query_row, uint64_t key_row, uint64_t keys);

/** How many (query, key) pairs of rows [query_row, + rows) and keys [key_row, + keys) are kept, for one head and batch entry. */
double problem_kept_pairs(const struct problem *problem, uint64_t query_row, uint64_t rows, uint64_t key_row, uint64_t keys);

#endif
