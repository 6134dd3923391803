/* SPDX-License-Identifier: MIT */
/** What the host computes of the model: normalisation of rows and the loss. Rows are [rows][dim], packed. */
#ifndef VKRING_EXAMPLES_BLOCK_MATH_H
#define VKRING_EXAMPLES_BLOCK_MATH_H

#include <stdint.h>

/** to = from / rms(from) · gain (Zhang & Sennrich 2019). */
void rows_normalise(const float *from, const float *gain, uint64_t rows, uint64_t dim, float *to);

/** Adds to from_grad and gain_grad what to_grad, the gradient by the normalised rows, makes of them. */
void rows_normalise_backward(const float *from, const float *gain, const float *to_grad, uint64_t rows, uint64_t dim, float *from_grad,
                             float *gain_grad);

void rows_add(const float *from, uint64_t elements, float *to);

/** The loss of a row of logits, -log softmax(logits)[target], in bits; logits become weight times its gradient, the loss taken in nats. */
double row_loss(float *logits, uint64_t count, uint64_t target, double weight);

#endif
