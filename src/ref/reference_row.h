/* SPDX-License-Identifier: MIT */
/** One row of the score matrix in float64, as both passes of the oracle need it. */
#ifndef VKRING_REF_REFERENCE_ROW_H
#define VKRING_REF_REFERENCE_ROW_H

#include "reference.h"

struct reference_row {
    uint64_t batch, head, row;
};

/** What the row makes of keys [first_key, end_key); others are not kept. The arrays are of kv_len, indexed by key. */
struct row_weights {
    uint64_t first_key, end_key;
    double *probability;    /* P_ij, 0 where not kept */
    double *dropout_factor; /* 0 where dropped, else 1 / (1 - dropout) */
    double *uncapped;       /* scale · dot(q_i, k_j) */
    double sink_probability;
    double lse;
};

bool row_weights_create(const struct reference_problem *problem, struct row_weights *out_weights);
void row_weights_destroy(struct row_weights *weights);

/** query, key: whole tensors. */
void row_weigh(const struct reference_problem *problem, const struct reference_row *row, const float *query, const float *key,
               struct row_weights *weights);

/** The row's output, into its place in the whole tensor. */
void row_forward(const struct reference_problem *problem, const struct reference_row *row, const struct row_weights *weights,
                 const float *value, double *output);

/** Where rows begin in packed tensors: of query heads in elements of a width, and key 0 of the head of keys and values that they read. */
uint64_t reference_query_element(const struct reference_problem *problem, const struct reference_row *row, uint64_t width);
uint64_t reference_lse_element(const struct reference_problem *problem, const struct reference_row *row);
uint64_t reference_key_element(const struct reference_problem *problem, const struct reference_row *row, uint64_t width);
/** The bias of key 0. */
uint64_t reference_bias_element(const struct reference_problem *problem, const struct reference_row *row);

/** From a key to the next, of one head. */
static inline uint64_t reference_key_stride(const struct reference_problem *problem, uint64_t width)
{
    return problem->kv_heads * width;
}

static inline double reference_dot(const float *a, const float *b, uint64_t count)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (uint64_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static inline void reference_add_scaled(double *to, double factor, const float *from, uint64_t count)
{
#pragma omp simd
    for (uint64_t i = 0; i < count; i++)
        to[i] += factor * (double)from[i];
}

#endif
