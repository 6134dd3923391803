/* SPDX-License-Identifier: MIT */
#include "reference.h"

#include "reference_row.h"

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
                row_forward(problem, &row, &weights, value, output);
                if (lse)
                    lse[reference_lse_element(problem, &row)] = weights.lse;
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
