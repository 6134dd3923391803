/* SPDX-License-Identifier: MIT */
/** Attention in float64 on the CPU: the oracle that tests and bench compare with. Written for clarity; never part of the library. */
#ifndef VKRING_REF_REFERENCE_H
#define VKRING_REF_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

struct reference_problem {
    uint64_t batch, q_len, kv_len, heads, kv_heads, head_dim, value_dim;
    bool causal;
    int64_t query_offset; /* p_i = i + query_offset */
    double scale;
};

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

#endif
