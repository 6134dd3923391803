/* SPDX-License-Identifier: MIT */
/** The feed-forward layer and its gradients in float64 on the CPU. What is computed is told in vkring/feedforward.h. */
#ifndef VKRING_REF_REFERENCE_FEEDFORWARD_H
#define VKRING_REF_REFERENCE_FEEDFORWARD_H

#include <stdbool.h>

#include <vkring/feedforward.h>

/** All packed, already rounded to the type under test. Null: no such bias, or not gated, or no hidden layer. */
struct reference_feedforward {
    uint64_t rows, model_dim, hidden_dim, output_dim;
    enum vkring_activation activation;
    const float *input, *hidden_weight, *gate_weight, *output_weight, *hidden_bias, *gate_bias, *output_bias;
};

struct reference_feedforward_gradients {
    double *input, *hidden_weight, *gate_weight, *output_weight, *hidden_bias, *gate_bias, *output_bias; /* any may be null */
};

double reference_activation(enum vkring_activation activation, double t);
double reference_activation_derivative(enum vkring_activation activation, double t);

/** output [rows][output_dim]. False when out of memory. */
bool reference_feedforward(const struct reference_feedforward *layer, double *output);
/** Of sum(output · output_grad). False when out of memory. */
bool reference_feedforward_backward(const struct reference_feedforward *layer, const float *output_grad,
                                    const struct reference_feedforward_gradients *gradients);

#endif
