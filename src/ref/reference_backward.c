/* SPDX-License-Identifier: MIT */
#include "reference.h"

#include <string.h>

#include "reference_row.h"

struct backward {
    const struct reference_problem *problem;
    const float *query, *key, *value, *output_grad;
    const struct reference_gradients *gradients;
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

static void backward_row(const struct backward *b, const struct reference_row *row, struct row_weights *weights)
{
    row_weigh(b->problem, row, b->query, b->key, weights);
    const double delta = row_delta(b, row, weights);
    for (uint64_t j = weights->first_key; j < weights->end_key; j++)
        if (weights->probability[j] > 0)
            add_pair(b, row, weights, j, weights->probability[j] * (probability_gradient(b, row, weights, j) - delta));
    if (b->gradients->sinks)
        b->gradients->sinks[row->head] -= weights->sink_probability * delta;
}

bool reference_backward(const struct reference_problem *problem, const float *query, const float *key, const float *value,
                        const float *output_grad, const struct reference_gradients *gradients)
{
    const struct backward b = {
        .problem = problem, .query = query, .key = key, .value = value, .output_grad = output_grad, .gradients = gradients};
    struct row_weights weights;
    if (!row_weights_create(problem, &weights))
        return false;
    clear_gradients(problem, gradients);
    for (uint64_t batch = 0; batch < problem->batch; batch++)
        for (uint64_t head = 0; head < problem->heads; head++)
            for (uint64_t i = 0; i < problem->q_len; i++)
                backward_row(&b, &(struct reference_row){.batch = batch, .head = head, .row = i}, &weights);
    row_weights_destroy(&weights);
    return true;
}
