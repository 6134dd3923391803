/* SPDX-License-Identifier: MIT */
#include "reference_feedforward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

double reference_activation(enum vkring_activation activation, double t)
{
    switch (activation) {
    case VKRING_ACTIVATION_RELU:
        return t > 0 ? t : 0;
    case VKRING_ACTIVATION_GELU:
        return t * erfc(-t / sqrt(2)) / 2;
    case VKRING_ACTIVATION_GELU_TANH:
        return t * (1 + tanh(sqrt(2 / pi) * (t + 0.044715 * t * t * t))) / 2;
    case VKRING_ACTIVATION_SILU:
        return t / (1 + exp(-t));
    case VKRING_ACTIVATION_NONE:
        break;
    }
    return t;
}

double reference_activation_derivative(enum vkring_activation activation, double t)
{
    double part;
    switch (activation) {
    case VKRING_ACTIVATION_RELU:
        return t > 0 ? 1 : 0;
    case VKRING_ACTIVATION_GELU:
        return erfc(-t / sqrt(2)) / 2 + t * exp(-t * t / 2) / sqrt(2 * pi);
    case VKRING_ACTIVATION_GELU_TANH:
        part = tanh(sqrt(2 / pi) * (t + 0.044715 * t * t * t));
        return (1 + part) / 2 + t * (1 - part * part) * sqrt(2 / pi) * (1 + 3 * 0.044715 * t * t) / 2;
    case VKRING_ACTIVATION_SILU:
        part = 1 / (1 + exp(-t));
        return part * (1 + t * (1 - part));
    case VKRING_ACTIVATION_NONE:
        break;
    }
    return 1;
}

/* What one row goes through, and the gradients by it. */
struct row {
    double *linear, *gate, *hidden;                /* before the activation, but for hidden */
    double *linear_grad, *gate_grad, *hidden_grad; /* null forward */
};

/* Of what is multiplied with output_weight: the hidden layer, or the input where there is none. */
static uint64_t width_of(const struct reference_feedforward *layer)
{
    return layer->hidden_weight ? layer->hidden_dim : layer->model_dim;
}

static bool row_create(const struct reference_feedforward *layer, struct row *out_row)
{
    const uint64_t count = width_of(layer);
    double *room = calloc(6 * count, sizeof(double));
    *out_row = (struct row){room, room + count, room + 2 * count, room + 3 * count, room + 4 * count, room + 5 * count};
    return room != NULL;
}

static void row_destroy(struct row *row)
{
    free(row->linear);
}

/* to = vector · weight + bias; weight is [count][columns]. */
static void multiply(const float *vector, const float *weight, const float *bias, uint64_t count, uint64_t columns, double *to)
{
    for (uint64_t n = 0; n < columns; n++)
        to[n] = bias ? (double)bias[n] : 0;
    for (uint64_t k = 0; k < count; k++)
        for (uint64_t n = 0; n < columns; n++)
            to[n] += (double)vector[k] * (double)weight[k * columns + n];
}

static void compute_hidden(const struct reference_feedforward *layer, uint64_t r, struct row *row)
{
    const float *x = layer->input + r * layer->model_dim;
    for (uint64_t i = 0; !layer->hidden_weight && i < layer->model_dim; i++)
        row->hidden[i] = row->linear[i] = (double)x[i];
    if (!layer->hidden_weight)
        return;
    multiply(x, layer->hidden_weight, layer->hidden_bias, layer->model_dim, layer->hidden_dim, row->linear);
    if (layer->gate_weight)
        multiply(x, layer->gate_weight, layer->gate_bias, layer->model_dim, layer->hidden_dim, row->gate);
    for (uint64_t i = 0; i < layer->hidden_dim; i++)
        row->hidden[i] = layer->gate_weight ? reference_activation(layer->activation, row->gate[i]) * row->linear[i]
                                            : reference_activation(layer->activation, row->linear[i]);
}

bool reference_feedforward(const struct reference_feedforward *layer, double *output)
{
    struct row row;
    if (!row_create(layer, &row))
        return false;
    for (uint64_t r = 0; r < layer->rows; r++) {
        double *y = output + r * layer->output_dim;
        compute_hidden(layer, r, &row);
        for (uint64_t n = 0; n < layer->output_dim; n++)
            y[n] = layer->output_bias ? (double)layer->output_bias[n] : 0;
        for (uint64_t i = 0; i < width_of(layer); i++)
            for (uint64_t n = 0; n < layer->output_dim; n++)
                y[n] += row.hidden[i] * (double)layer->output_weight[i * layer->output_dim + n];
    }
    row_destroy(&row);
    return true;
}

static void compute_hidden_gradients(const struct reference_feedforward *layer, const float *output_grad, struct row *row)
{
    for (uint64_t i = 0; i < width_of(layer); i++) {
        const float *weights = layer->output_weight + i * layer->output_dim;
        double sum = 0;
        for (uint64_t n = 0; n < layer->output_dim; n++)
            sum += (double)output_grad[n] * (double)weights[n];
        const double before = layer->gate_weight ? row->gate[i] : row->linear[i];
        const double derivative = reference_activation_derivative(layer->activation, before);
        row->hidden_grad[i] = sum;
        row->linear_grad[i] = sum * (layer->gate_weight ? reference_activation(layer->activation, before) : derivative);
        row->gate_grad[i] = sum * row->linear[i] * derivative;
    }
}

/* of a weight [count][columns], from a row of what it is multiplied with and the gradients of the products */
static void add_weight_gradient(const float *vector, const double *grads, uint64_t count, uint64_t columns, double *to)
{
    if (!to)
        return;
    for (uint64_t k = 0; k < count; k++)
        for (uint64_t n = 0; n < columns; n++)
            to[k * columns + n] += (double)vector[k] * grads[n];
}

static void add_bias_gradient(const double *grads, uint64_t columns, double *to)
{
    for (uint64_t n = 0; to && n < columns; n++)
        to[n] += grads[n];
}

static void add_output_gradients(const struct reference_feedforward *layer, const float *output_grad, const struct row *row,
                                 const struct reference_feedforward_gradients *gradients)
{
    const uint64_t columns = layer->output_dim;
    for (uint64_t i = 0; gradients->output_weight && i < width_of(layer); i++)
        for (uint64_t n = 0; n < columns; n++)
            gradients->output_weight[i * columns + n] += row->hidden[i] * (double)output_grad[n];
    for (uint64_t n = 0; gradients->output_bias && n < columns; n++)
        gradients->output_bias[n] += (double)output_grad[n];
}

static void add_input_gradient(const double *grads, const float *weight, uint64_t count, uint64_t columns, double *to)
{
    for (uint64_t k = 0; k < count; k++)
        for (uint64_t n = 0; n < columns; n++)
            to[k] += grads[n] * (double)weight[k * columns + n];
}

static void add_row_gradients(const struct reference_feedforward *layer, uint64_t r, const float *output_grad, const struct row *row,
                              const struct reference_feedforward_gradients *gradients)
{
    const uint64_t model = layer->model_dim, hidden = layer->hidden_dim;
    const float *x = layer->input + r * model;
    add_output_gradients(layer, output_grad, row, gradients);
    for (uint64_t k = 0; !layer->hidden_weight && gradients->input && k < model; k++)
        gradients->input[r * model + k] = row->linear_grad[k];
    if (!layer->hidden_weight)
        return;
    add_weight_gradient(x, row->linear_grad, model, hidden, gradients->hidden_weight);
    add_bias_gradient(row->linear_grad, hidden, gradients->hidden_bias);
    if (gradients->input)
        add_input_gradient(row->linear_grad, layer->hidden_weight, model, hidden, gradients->input + r * model);
    if (!layer->gate_weight)
        return;
    add_weight_gradient(x, row->gate_grad, model, hidden, gradients->gate_weight);
    add_bias_gradient(row->gate_grad, hidden, gradients->gate_bias);
    if (gradients->input)
        add_input_gradient(row->gate_grad, layer->gate_weight, model, hidden, gradients->input + r * model);
}

static void clear(double *values, uint64_t count)
{
    if (values && count)
        memset(values, 0, count * sizeof(double));
}

bool reference_feedforward_backward(const struct reference_feedforward *layer, const float *output_grad,
                                    const struct reference_feedforward_gradients *gradients)
{
    const uint64_t model = layer->model_dim, hidden = layer->hidden_dim, columns = layer->output_dim;
    struct row row;
    if (!row_create(layer, &row))
        return false;
    clear(gradients->input, layer->rows * model);
    clear(gradients->hidden_weight, model * hidden);
    clear(gradients->gate_weight, model * hidden);
    clear(gradients->output_weight, width_of(layer) * columns);
    clear(gradients->hidden_bias, hidden);
    clear(gradients->gate_bias, hidden);
    clear(gradients->output_bias, columns);
    for (uint64_t r = 0; r < layer->rows; r++) {
        compute_hidden(layer, r, &row);
        compute_hidden_gradients(layer, output_grad + r * columns, &row);
        add_row_gradients(layer, r, output_grad + r * columns, &row, gradients);
    }
    row_destroy(&row);
    return true;
}
