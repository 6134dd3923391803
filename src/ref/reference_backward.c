/* SPDX-License-Identifier: MIT */
#include "reference.h"

#include <math.h>
#include <string.h>

#include "reference_row.h"

struct backward {
    const struct reference_problem *problem;
    const float *query, *key, *value, *output_grad;
    const struct reference_gradients *gradients;
    struct reference_term_sizes squares; /* sums over all terms */
};

static void clear(double *gradient, uint64_t count)
{
    if (gradient)
        memset(gradient, 0, count * sizeof(*gradient));
}

static void clear_gradients(const struct reference_problem *p, const struct reference_gradients *gradients)
{
    clear(gradients->query, p->batch * p->q_len * p->heads * p->head_dim);
    clear(gradients->key, p->batch * p->kv_len * p->kv_heads * p->head_dim);
    clear(gradients->value, p->batch * p->kv_len * p->kv_heads * p->value_dim);
    if (p->bias.values)
        clear(gradients->bias, reference_bias_count(p));
    clear(gradients->sinks, p->heads);
}

/* dot(output_grad_i, v_j) under dropout: the gradient by P_ij. */
static double probability_gradient(const struct backward *b, const struct reference_row *row, const struct row_weights *weights, uint64_t j)
{
    const struct reference_problem *p = b->problem;
    const float *output_grad = b->output_grad + reference_query_element(p, row, p->value_dim);
    return weights->dropout_factor[j] * reference_dot(output_grad, b->value + reference_key_element(p, row, j, p->value_dim), p->value_dim);
}

/* dot(output_grad_i, o_i) */
static double row_delta(const struct backward *b, const struct reference_row *row, const struct row_weights *weights)
{
    double delta = 0;
    for (uint64_t j = weights->first_key; j < weights->end_key; j++)
        delta += weights->probability[j] * probability_gradient(b, row, weights, j);
    return delta;
}

/* score_gradient is by the score as bias leaves it; query and key see it through softcap and scale. */
static void add_pair(const struct backward *b, const struct reference_row *row, const struct row_weights *weights, uint64_t j,
                     double score_gradient)
{
    const struct reference_problem *p = b->problem;
    const struct reference_gradients *g = b->gradients;
    const double dot_gradient = score_gradient * weights->derivative[j] * p->scale;
    const uint64_t query_at = reference_query_element(p, row, p->head_dim), key_at = reference_key_element(p, row, j, p->head_dim);
    if (g->query)
        reference_add_scaled(g->query + query_at, dot_gradient, b->key + key_at, p->head_dim);
    if (g->key)
        reference_add_scaled(g->key + key_at, dot_gradient, b->query + query_at, p->head_dim);
    if (g->value)
        reference_add_scaled(g->value + reference_key_element(p, row, j, p->value_dim),
                             weights->probability[j] * weights->dropout_factor[j],
                             b->output_grad + reference_query_element(p, row, p->value_dim), p->value_dim);
    if (g->bias && p->bias.values)
        g->bias[reference_bias_element(p, row) + j] += score_gradient;
}

/* Of the products that dP_ij is summed from. */
static double squares_of_gradient(const struct backward *b, const struct reference_row *row, const struct row_weights *weights, uint64_t j)
{
    const struct reference_problem *p = b->problem;
    const float *output_grad = b->output_grad + reference_query_element(p, row, p->value_dim);
    const float *value = b->value + reference_key_element(p, row, j, p->value_dim);
    double squares = 0;
    for (uint64_t d = 0; d < p->value_dim; d++)
        squares += pow((double)output_grad[d] * (double)value[d], 2);
    return pow(weights->dropout_factor[j], 2) * squares;
}

static double squares_of_delta(const struct backward *b, const struct reference_row *row, const struct row_weights *weights)
{
    double squares = 0;
    for (uint64_t j = weights->first_key; j < weights->end_key; j++)
        squares += pow(weights->probability[j], 2) * squares_of_gradient(b, row, weights, j);
    return squares;
}

/* How much a relative error of a score grows in softcap's derivative 1 / cosh²(x). */
static double condition_of_derivative(double derivative)
{
    const double x = derivative > 0 && derivative < 1 ? acosh(1 / sqrt(derivative)) : 0;
    return 2 * x * tanh(x);
}

/* P_ij · dP_ij and P_ij · delta_i count as two terms. */
static void add_squares(struct backward *b, const struct reference_row *row, const struct row_weights *weights, uint64_t j,
                        double delta_squares)
{
    const struct reference_problem *p = b->problem;
    const float *query = b->query + reference_query_element(p, row, p->head_dim);
    const float *key = b->key + reference_key_element(p, row, j, p->head_dim);
    const float *output_grad = b->output_grad + reference_query_element(p, row, p->value_dim);
    const double probability = weights->probability[j], dropped = probability * weights->dropout_factor[j];
    const double score = probability * probability * (squares_of_gradient(b, row, weights, j) + delta_squares);
    const double by_dot = score * pow(weights->derivative[j] * p->scale, 2) * (1 + pow(condition_of_derivative(weights->derivative[j]), 2));
    b->squares.query += by_dot * reference_dot(key, key, p->head_dim);
    b->squares.key += by_dot * reference_dot(query, query, p->head_dim);
    b->squares.value += dropped * dropped * reference_dot(output_grad, output_grad, p->value_dim);
    b->squares.bias += score;
}

static double mean_root(double squares, uint64_t count)
{
    return count ? sqrt(squares / (double)count) : 0;
}

static void finish_sizes(const struct backward *b)
{
    const struct reference_problem *p = b->problem;
    *b->gradients->sizes = (struct reference_term_sizes){
        .query = mean_root(b->squares.query, p->batch * p->q_len * p->heads * p->head_dim),
        .key = mean_root(b->squares.key, p->batch * p->kv_len * p->kv_heads * p->head_dim),
        .value = mean_root(b->squares.value, p->batch * p->kv_len * p->kv_heads * p->value_dim),
        .bias = mean_root(b->squares.bias, reference_bias_count(p)),
        .sinks = mean_root(b->squares.sinks, p->heads),
    };
}

static void backward_row(struct backward *b, const struct reference_row *row, struct row_weights *weights)
{
    row_weigh(b->problem, row, b->query, b->key, weights);
    const double delta = row_delta(b, row, weights), delta_squares = b->gradients->sizes ? squares_of_delta(b, row, weights) : 0;
    for (uint64_t j = weights->first_key; j < weights->end_key; j++)
        if (weights->probability[j] > 0) {
            const double by_probability = probability_gradient(b, row, weights, j);
            add_pair(b, row, weights, j, weights->probability[j] * (by_probability - delta));
            if (b->gradients->sizes)
                add_squares(b, row, weights, j, delta_squares);
        }
    if (b->gradients->sinks)
        b->gradients->sinks[row->head] -= weights->sink_probability * delta;
    b->squares.sinks += pow(weights->sink_probability, 2) * delta_squares;
}

bool reference_backward(const struct reference_problem *problem, const float *query, const float *key, const float *value,
                        const float *output_grad, const struct reference_gradients *gradients)
{
    struct backward b = {
        .problem = problem, .query = query, .key = key, .value = value, .output_grad = output_grad, .gradients = gradients};
    struct row_weights weights;
    if (!row_weights_create(problem, &weights))
        return false;
    clear_gradients(problem, gradients);
    for (uint64_t batch = 0; batch < problem->batch; batch++)
        for (uint64_t head = 0; head < problem->heads; head++)
            for (uint64_t i = 0; i < problem->q_len; i++)
                backward_row(&b, &(struct reference_row){.batch = batch, .head = head, .row = i}, &weights);
    if (gradients->sizes)
        finish_sizes(&b);
    row_weights_destroy(&weights);
    return true;
}
