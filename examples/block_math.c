/* SPDX-License-Identifier: MIT */
#include "block_math.h"

#include <math.h>

static const double least_mean_square = 1e-5;

static double inverse_rms(const float *row, uint64_t dim)
{
    double sum = 0;
    for (uint64_t i = 0; i < dim; i++)
        sum += (double)row[i] * (double)row[i];
    return 1 / sqrt(sum / (double)dim + least_mean_square);
}

void rows_normalise(const float *from, const float *gain, uint64_t rows, uint64_t dim, float *to)
{
    for (uint64_t r = 0; r < rows; r++, from += dim, to += dim) {
        const double factor = inverse_rms(from, dim);
        for (uint64_t i = 0; i < dim; i++)
            to[i] = (float)((double)from[i] * factor * (double)gain[i]);
    }
}

void rows_normalise_backward(const float *from, const float *gain, const float *to_grad, uint64_t rows, uint64_t dim, float *from_grad,
                             float *gain_grad)
{
    for (uint64_t r = 0; r < rows; r++, from += dim, to_grad += dim, from_grad += dim) {
        const double factor = inverse_rms(from, dim);
        double along = 0;
        for (uint64_t i = 0; i < dim; i++)
            along += (double)to_grad[i] * (double)gain[i] * (double)from[i];
        along *= factor * factor / (double)dim;
        for (uint64_t i = 0; i < dim; i++) {
            from_grad[i] += (float)(factor * ((double)to_grad[i] * (double)gain[i] - along * (double)from[i]));
            gain_grad[i] += (float)((double)to_grad[i] * (double)from[i] * factor);
        }
    }
}

void rows_add(const float *from, uint64_t elements, float *to)
{
    for (uint64_t i = 0; i < elements; i++)
        to[i] += from[i];
}

double row_loss(float *logits, uint64_t count, uint64_t target, double weight)
{
    double most = (double)logits[0], sum = 0;
    for (uint64_t i = 1; i < count; i++)
        most = fmax(most, (double)logits[i]);
    for (uint64_t i = 0; i < count; i++)
        sum += exp((double)logits[i] - most);
    const double loss = most + log(sum) - (double)logits[target];
    for (uint64_t i = 0; i < count; i++)
        logits[i] = (float)(weight * (exp((double)logits[i] - most) / sum - (i == target ? 1 : 0)));
    return loss / log(2);
}
