/* SPDX-License-Identifier: MIT */
/**
 * Attention and its gradients in float64 on the CPU: the oracle that tests and bench compare with. Written for clarity; never part of the
 * library. What each option means is told with struct vkring_plan_params.
 */
#ifndef VKRING_REF_REFERENCE_H
#define VKRING_REF_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

/** [batch or 1][heads or 1][q_len or 1][kv_len], packed; -inf masks. */
struct reference_bias {
    const float *values; /* null: none */
    bool per_batch, per_head, per_query;
};

/** Zero, or null, is an option that is absent. */
struct reference_problem {
    uint64_t batch, q_len, kv_len, heads, kv_heads, head_dim, value_dim;
    bool causal;
    int64_t query_offset; /* p_i = i + query_offset */
    double scale;
    uint64_t causal_block; /* 0 for 1 */
    bool has_window;
    int64_t window_left, window_right; /* -1 for unlimited */
    const int32_t *query_segment_ids;  /* [batch][q_len] */
    const int32_t *key_segment_ids;    /* [batch][kv_len] */
    struct reference_bias bias;
    const float *alibi_slopes; /* [heads] */
    double softcap;
    const float *sinks; /* [heads] */
    double dropout;
    uint64_t seed; /* of dropout */
};

/** How many elements the bias has, in all. */
uint64_t reference_bias_count(const struct reference_problem *problem);

/**
 *   query  [batch][q_len][heads][head_dim]       output [batch][q_len][heads][value_dim]
 *   key    [batch][kv_len][kv_heads][head_dim]   lse    [batch][heads][q_len]
 *   value  [batch][kv_len][kv_heads][value_dim]
 *
 * All packed. Inputs are floats already rounded to the type under test. lse may be null. Returns false when out of memory.
 * Computes only rows first_row … first_row + rows - 1 of the queries into output and lse, which keep their whole shape.
 */
bool reference_forward(const struct reference_problem *problem, const float *query, const float *key, const float *value,
                       uint64_t first_row, uint64_t rows, double *output, double *lse);

/**
 * The RMS that each gradient would have if all terms it is summed from were independent: what is left of terms that cancel can't be
 * expected to be more exact than they are.
 */
struct reference_term_sizes {
    double query, key, value, bias, sinks;
};

/** Shapes as of the tensors they belong to, bias as packed; any may be null. */
struct reference_gradients {
    double *query, *key, *value;
    double *bias;  /* summed over what the bias repeats over; 0 where it is -inf */
    double *sinks; /* [heads] */
    struct reference_term_sizes *sizes;
    double *output, *lse; /* what reference_forward computes: it is at hand */
    /* What rows first_row + n · row_stride alone add to the gradients, and their output and lse; a stride of 0 is that of all rows. */
    uint64_t first_row, row_stride;
};

/** Gradients of sum(output · output_grad); the forward pass is computed again, in float64. Returns false when out of memory. */
bool reference_backward(const struct reference_problem *problem, const float *query, const float *key, const float *value,
                        const float *output_grad, const struct reference_gradients *gradients);

#endif
