/* SPDX-License-Identifier: MIT */
#include "reference.h"

#include "reference_row.h"

static void forward_row(const struct reference_problem *problem, const struct reference_row *row, const struct row_weights *weights,
                        const float *value, double *output)
{
    output += reference_query_element(problem, row, problem->value_dim);
    for (uint64_t d = 0; d < problem->value_dim; d++)
        output[d] = 0;
    for (uint64_t j = weights->first_key; j < weights->end_key; j++)
        reference_add_scaled(output, weights->probability[j] * weights->dropout_factor[j],
                             value + reference_key_element(problem, row, j, problem->value_dim), problem->value_dim);
}

bool reference_forward(const struct reference_problem *problem, const float *query, const float *key, const float *value,
                       uint64_t first_row, uint64_t rows, double *output, double *lse)
{
    struct row_weights weights;
    if (!row_weights_create(problem, &weights))
        return false;
    for (uint64_t b = 0; b < problem->batch; b++)
        for (uint64_t h = 0; h < problem->heads; h++)
            for (uint64_t i = first_row; i < first_row + rows; i++) {
                const struct reference_row row = {.batch = b, .head = h, .row = i};
                row_weigh(problem, &row, query, key, &weights);
                forward_row(problem, &row, &weights, value, output);
                if (lse)
                    lse[(b * problem->heads + h) * problem->q_len + i] = weights.lse;
            }
    row_weights_destroy(&weights);
    return true;
}

uint64_t reference_bias_count(const struct reference_problem *problem)
{
    const struct reference_bias *bias = &problem->bias;
    return (bias->per_batch ? problem->batch : 1) * (bias->per_head ? problem->heads : 1) * (bias->per_query ? problem->q_len : 1) *
           problem->kv_len;
}
