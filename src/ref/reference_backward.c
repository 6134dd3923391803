/* SPDX-License-Identifier: MIT */
#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reference_row.h"

struct backward {
    const struct reference_problem *problem;
    const float *query, *key, *value, *output_grad;
    const struct reference_gradients *gradients;
    struct reference_term_sizes squares; /* sums over all terms */
    /* [kv_len], of the row at hand: dot(output_grad_i, v_j) under dropout, the gradient by P_ij; and of the products it is summed from */
    double *by_probability, *product_squares;
    double *derivative, *condition; /* [kv_len], of the row at hand: see cap_row() */
    /* of the head at hand: elements of key 0 and value 0, and from one to the next; and [kv_len]: dot(k_j, k_j) */
    uint64_t key_at, value_at, key_stride, value_stride;
    double *key_squares;
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

static bool create_room(struct backward *b)
{
    const uint64_t kv_len = b->problem->kv_len;
    double *room = malloc((5 * kv_len + 1) * sizeof(*room));
    double **const arrays[] = {&b->by_probability, &b->product_squares, &b->derivative, &b->condition, &b->key_squares};
    for (uint64_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
        *arrays[i] = room ? room + i * kv_len : NULL;
    return room != NULL;
}

static double squares_of_products(const float *a, const float *b, uint64_t count)
{
    double squares = 0;
#pragma omp simd reduction(+ : squares)
    for (uint64_t i = 0; i < count; i++) {
        const double product = (double)a[i] * (double)b[i];
        squares += product * product;
    }
    return squares;
}

static void begin_head(struct backward *b, const struct reference_row *first)
{
    const struct reference_problem *p = b->problem;
    b->key_at = reference_key_element(p, first, p->head_dim);
    b->value_at = reference_key_element(p, first, p->value_dim);
    b->key_stride = reference_key_stride(p, p->head_dim);
    b->value_stride = reference_key_stride(p, p->value_dim);
    for (uint64_t j = 0; b->gradients->sizes && j < p->kv_len; j++) {
        const float *key = b->key + b->key_at + j * b->key_stride;
        b->key_squares[j] = reference_dot(key, key, p->head_dim);
    }
}

/*
 * softcap's derivative by scale · dot, 1 / cosh²(x), as 1 - tanh²(x) would cancel; and how much the rounding of x grows in it: 2 tanh(x)
 * times x, or the root of the squares of what x is summed from, which is far more where that cancels.
 */
static void cap_row(const struct backward *b, const struct reference_row *row, const struct row_weights *weights)
{
    const struct reference_problem *p = b->problem;
    const float *query = b->query + reference_query_element(p, row, p->head_dim);
    for (uint64_t j = weights->first_key; j < weights->end_key; j++) {
        const float *key = b->key + b->key_at + j * b->key_stride;
        const double x = p->softcap > 0 ? weights->uncapped[j] / p->softcap : 0;
        const double root = p->softcap > 0 ? 1 / cosh(x) : 1;
        b->derivative[j] = root * root;
        b->condition[j] = 0;
        if (b->gradients->sizes && x != 0 && b->derivative[j] > 0)
            b->condition[j] = 2 * tanh(x) * fmax(fabs(x), fabs(p->scale) / p->softcap * sqrt(squares_of_products(query, key, p->head_dim)));
    }
}

static void begin_row(const struct backward *b, const struct reference_row *row, const struct row_weights *weights)
{
    const struct reference_problem *p = b->problem;
    const float *output_grad = b->output_grad + reference_query_element(p, row, p->value_dim);
    for (uint64_t j = weights->first_key; j < weights->end_key; j++) {
        const float *value = b->value + b->value_at + j * b->value_stride;
        const double factor = weights->dropout_factor[j];
        b->by_probability[j] = factor * reference_dot(output_grad, value, p->value_dim);
        if (b->gradients->sizes)
            b->product_squares[j] = factor * factor * squares_of_products(output_grad, value, p->value_dim);
    }
}

/* dot(output_grad_i, o_i) */
static double row_delta(const struct backward *b, const struct row_weights *weights)
{
    double delta = 0;
    for (uint64_t j = weights->first_key; j < weights->end_key; j++)
        delta += weights->probability[j] * b->by_probability[j];
    return delta;
}

/* score_gradient is by the score as bias leaves it; query and key see it through softcap and scale. */
static void add_pair(const struct backward *b, const struct reference_row *row, const struct row_weights *weights, uint64_t j,
                     double score_gradient)
{
    const struct reference_problem *p = b->problem;
    const struct reference_gradients *g = b->gradients;
    const double dot_gradient = score_gradient * b->derivative[j] * p->scale;
    const uint64_t query_at = reference_query_element(p, row, p->head_dim), key_at = b->key_at + j * b->key_stride;
    if (g->query)
        reference_add_scaled(g->query + query_at, dot_gradient, b->key + key_at, p->head_dim);
    if (g->key)
        reference_add_scaled(g->key + key_at, dot_gradient, b->query + query_at, p->head_dim);
    if (g->value)
        reference_add_scaled(g->value + b->value_at + j * b->value_stride, weights->probability[j] * weights->dropout_factor[j],
                             b->output_grad + reference_query_element(p, row, p->value_dim), p->value_dim);
    if (g->bias && p->bias.values)
        g->bias[reference_bias_element(p, row) + j] += score_gradient;
}

static double squares_of_delta(const struct backward *b, const struct row_weights *weights)
{
    double squares = 0;
    for (uint64_t j = weights->first_key; j < weights->end_key; j++)
        squares += pow(weights->probability[j], 2) * b->product_squares[j];
    return squares;
}

/* P_ij · dP_ij and P_ij · delta_i count as two terms. */
static void add_squares(struct backward *b, const struct reference_row *row, const struct row_weights *weights, double delta_squares)
{
    const struct reference_problem *p = b->problem;
    const float *query = b->query + reference_query_element(p, row, p->head_dim);
    const float *output_grad = b->output_grad + reference_query_element(p, row, p->value_dim);
    const double query_squares = reference_dot(query, query, p->head_dim);
    const double output_grad_squares = reference_dot(output_grad, output_grad, p->value_dim);
    for (uint64_t j = weights->first_key; j < weights->end_key; j++) {
        const double probability = weights->probability[j], dropped = probability * weights->dropout_factor[j];
        const double score = probability * probability * (b->product_squares[j] + delta_squares);
        const double by_dot = score * pow(b->derivative[j] * p->scale, 2) * (1 + pow(b->condition[j], 2));
        b->squares.query += by_dot * b->key_squares[j];
        b->squares.key += by_dot * query_squares;
        b->squares.value += dropped * dropped * output_grad_squares;
        b->squares.bias += score;
    }
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
    if (b->gradients->output)
        row_forward(b->problem, row, weights, b->value, b->gradients->output);
    if (b->gradients->lse)
        b->gradients->lse[reference_lse_element(b->problem, row)] = weights->lse;
    cap_row(b, row, weights);
    begin_row(b, row, weights);
    const double delta = row_delta(b, weights), delta_squares = b->gradients->sizes ? squares_of_delta(b, weights) : 0;
    for (uint64_t j = weights->first_key; j < weights->end_key; j++)
        if (weights->probability[j] > 0)
            add_pair(b, row, weights, j, weights->probability[j] * (b->by_probability[j] - delta));
    if (b->gradients->sizes)
        add_squares(b, row, weights, delta_squares);
    if (b->gradients->sinks)
        b->gradients->sinks[row->head] -= weights->sink_probability * delta;
    b->squares.sinks += pow(weights->sink_probability, 2) * delta_squares;
}

static void backward_head(struct backward *b, uint64_t batch, uint64_t head, struct row_weights *weights)
{
    const uint64_t stride = b->gradients->row_stride ? b->gradients->row_stride : 1;
    begin_head(b, &(struct reference_row){.batch = batch, .head = head});
    for (uint64_t i = b->gradients->first_row; i < b->problem->q_len; i += stride)
        backward_row(b, &(struct reference_row){.batch = batch, .head = head, .row = i}, weights);
}

bool reference_backward(const struct reference_problem *problem, const float *query, const float *key, const float *value,
                        const float *output_grad, const struct reference_gradients *gradients)
{
    struct backward b = {
        .problem = problem, .query = query, .key = key, .value = value, .output_grad = output_grad, .gradients = gradients};
    struct row_weights weights = {0};
    const bool has_room = row_weights_create(problem, &weights) && create_room(&b);
    if (has_room) {
        clear_gradients(problem, gradients);
        for (uint64_t batch = 0; batch < problem->batch; batch++)
            for (uint64_t head = 0; head < problem->heads; head++)
                backward_head(&b, batch, head, &weights);
        if (gradients->sizes)
            finish_sizes(&b);
    }
    free(b.by_probability);
    row_weights_destroy(&weights);
    return has_room;
}
