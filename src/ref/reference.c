/* SPDX-License-Identifier: MIT */
#include "reference.h"

#include <math.h>
#include <stdlib.h>

static double dot(const float *a, const float *b, uint64_t count)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (uint64_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static void add_scaled(double *to, double factor, const float *from, uint64_t count)
{
#pragma omp simd
    for (uint64_t i = 0; i < count; i++)
        to[i] += factor * (double)from[i];
}

/* How many keys a row keeps: always the first ones. No sum of positions, which could overflow. */
static uint64_t kept_keys(const struct reference_problem *problem, uint64_t row)
{
    if (!problem->causal)
        return problem->kv_len;
    if (problem->query_offset >= 0) {
        uint64_t offset = (uint64_t)problem->query_offset;
        return offset >= problem->kv_len || row >= problem->kv_len - offset ? problem->kv_len : row + offset + 1;
    }
    uint64_t before = 0 - (uint64_t)problem->query_offset;
    if (row < before)
        return 0;
    return row - before >= problem->kv_len ? problem->kv_len : row - before + 1;
}

struct row {
    const float *query;
    const float *key; /* of key 0 in the row's batch entry and head */
    const float *value;
    uint64_t key_stride, value_stride;
    uint64_t kept;
};

/* Two passes: the maximum and all weights first, then the sum of values. scores has room for the kept keys. Returns lse. */
static double attend_row(const struct reference_problem *problem, const struct row *row, double *scores, double *output)
{
    double maximum = -INFINITY;
    double sum = 0;
    for (uint64_t d = 0; d < problem->value_dim; d++)
        output[d] = 0;
    for (uint64_t j = 0; j < row->kept; j++) {
        scores[j] = problem->scale * dot(row->query, row->key + j * row->key_stride, problem->head_dim);
        maximum = fmax(maximum, scores[j]);
    }
    for (uint64_t j = 0; j < row->kept; j++)
        sum += exp(scores[j] - maximum);
    for (uint64_t j = 0; j < row->kept; j++)
        add_scaled(output, exp(scores[j] - maximum) / sum, row->value + j * row->value_stride, problem->value_dim);
    return row->kept ? maximum + log(sum) : -INFINITY;
}

bool reference_forward(const struct reference_problem *problem, const float *query, const float *key, const float *value,
                       uint64_t first_row, uint64_t rows, double *output, double *lse)
{
    const struct reference_problem *p = problem;
    double *scores = malloc((p->kv_len ? p->kv_len : 1) * sizeof(*scores));
    if (!scores)
        return false;
    for (uint64_t b = 0; b < p->batch; b++) {
        for (uint64_t h = 0; h < p->heads; h++) {
            uint64_t kv_head = h / (p->heads / p->kv_heads);
            for (uint64_t i = first_row; i < first_row + rows; i++) {
                uint64_t query_row = (b * p->q_len + i) * p->heads + h;
                uint64_t key_row = b * p->kv_len * p->kv_heads + kv_head;
                struct row row = {
                    .query = query + query_row * p->head_dim,
                    .key = key + key_row * p->head_dim,
                    .value = value + key_row * p->value_dim,
                    .key_stride = p->kv_heads * p->head_dim,
                    .value_stride = p->kv_heads * p->value_dim,
                    .kept = kept_keys(p, i),
                };
                double row_lse = attend_row(p, &row, scores, output + query_row * p->value_dim);
                if (lse)
                    lse[(b * p->heads + h) * p->q_len + i] = row_lse;
            }
        }
    }
    free(scores);
    return true;
}
