/* SPDX-License-Identifier: MIT */
#include "reference_row.h"

#include <math.h>
#include <stdlib.h>

#include "philox.h"

/* Positions and their differences overflow 64 bits at the ends of query_offset. */
__extension__ typedef __int128 position;

static position smaller(position a, position b)
{
    return a < b ? a : b;
}

static position larger(position a, position b)
{
    return a > b ? a : b;
}

/* Quotient rounded towards minus infinity, of a divisor above 0. */
static position floor_divide(position a, position b)
{
    return a / b - (a % b < 0);
}

static position query_position(const struct reference_problem *problem, const struct reference_row *row)
{
    return (position)row->row + problem->query_offset;
}

/* The keys that causal and window masks keep are neighbours. */
static void find_kept_keys(const struct reference_problem *problem, position p, struct row_weights *weights)
{
    const position block = problem->causal_block ? problem->causal_block : 1;
    position first = 0, end = problem->kv_len;
    if (problem->causal)
        end = smaller(end, (floor_divide(p, block) + 1) * block);
    if (problem->has_window && problem->window_left >= 0)
        first = larger(first, p - problem->window_left);
    if (problem->has_window && problem->window_right >= 0)
        end = smaller(end, p + problem->window_right + 1);
    weights->first_key = first < end ? (uint64_t)first : 0;
    weights->end_key = first < end ? (uint64_t)end : 0;
}

/* How far the position is from the nearest key. */
static position distance_to_keys(const struct reference_problem *problem, position p)
{
    return p < 0 ? -p : larger(0, p - ((position)problem->kv_len - 1));
}

static position distance_of(position p, uint64_t key)
{
    return p < (position)key ? (position)key - p : p - (position)key;
}

static bool same_segment(const struct reference_problem *problem, const struct reference_row *row, uint64_t key)
{
    if (!problem->query_segment_ids)
        return true;
    return problem->query_segment_ids[row->batch * problem->q_len + row->row] ==
           problem->key_segment_ids[row->batch * problem->kv_len + key];
}

/*
 * The score of each kept key, -inf for others, without what alibi takes from all keys of the row alike: beside that, which can be as large
 * as 2^63, the differences between keys would be lost. Returns what was left out.
 */
static double score_keys(const struct reference_problem *problem, const struct reference_row *row, const float *query, const float *key,
                         struct row_weights *weights)
{
    const position p = query_position(problem, row), common = distance_to_keys(problem, p);
    const double slope = problem->alibi_slopes ? (double)problem->alibi_slopes[row->head] : 0;
    const float *bias = problem->bias.values ? problem->bias.values + reference_bias_element(problem, row) : NULL;
    const uint64_t stride = reference_key_stride(problem, problem->head_dim);
    query += reference_query_element(problem, row, problem->head_dim);
    key += reference_key_element(problem, row, problem->head_dim);
    for (uint64_t j = weights->first_key; j < weights->end_key; j++) {
        double score = problem->scale * reference_dot(query, key + j * stride, problem->head_dim);
        weights->uncapped[j] = score;
        if (problem->softcap > 0)
            score = problem->softcap * tanh(score / problem->softcap);
        if (problem->alibi_slopes)
            score -= slope * (double)(distance_of(p, j) - common);
        if (bias)
            score += (double)bias[j];
        weights->probability[j] = same_segment(problem, row, j) ? score : -INFINITY;
    }
    return -slope * (double)common;
}

/* log(exp(a) + exp(b)) */
static double log_add(double a, double b)
{
    const double more = fmax(a, b), less = fmin(a, b);
    return less == -INFINITY ? more : more + log1p(exp(less - more));
}

/* Turns scores into probabilities. The sink comes last, as it does not share what all keys have in common. */
static void normalise(const struct reference_problem *problem, const struct reference_row *row, double common, struct row_weights *weights)
{
    const double sink = problem->sinks ? (double)problem->sinks[row->head] : -INFINITY;
    double maximum = -INFINITY, sum = 0;
    for (uint64_t j = weights->first_key; j < weights->end_key; j++)
        maximum = weights->probability[j] > maximum ? weights->probability[j] : maximum;
    if (maximum == -INFINITY)
        weights->first_key = weights->end_key = 0;
    for (uint64_t j = weights->first_key; j < weights->end_key; j++) {
        weights->probability[j] = exp(weights->probability[j] - maximum);
        sum += weights->probability[j];
    }
    const double keys_lse = sum > 0 ? common + (maximum + log(sum)) : -INFINITY;
    weights->lse = log_add(keys_lse, sink);
    const double factor = exp(keys_lse - weights->lse) / sum;
    for (uint64_t j = weights->first_key; j < weights->end_key; j++)
        weights->probability[j] *= factor;
    weights->sink_probability = sink > -INFINITY ? exp(sink - weights->lse) : 0;
}

static void drop(const struct reference_problem *problem, const struct reference_row *row, struct row_weights *weights)
{
    const uint32_t key[2] = {(uint32_t)problem->seed, (uint32_t)(problem->seed >> 32)};
    const uint64_t threshold = (uint64_t)floor(problem->dropout * 0x1p32);
    uint32_t words[4];
    for (uint64_t j = weights->first_key; j < weights->end_key; j++) {
        const uint32_t counter[4] = {(uint32_t)(j >> 2), (uint32_t)query_position(problem, row), (uint32_t)row->head, (uint32_t)row->batch};
        if (j == weights->first_key || j % 4 == 0)
            philox4x32_10(counter, key, words);
        weights->dropout_factor[j] = words[j % 4] < threshold ? 0 : 1 / (1 - problem->dropout);
    }
}

void row_weigh(const struct reference_problem *problem, const struct reference_row *row, const float *query, const float *key,
               struct row_weights *weights)
{
    find_kept_keys(problem, query_position(problem, row), weights);
    normalise(problem, row, score_keys(problem, row, query, key, weights), weights);
    if (problem->dropout > 0)
        drop(problem, row, weights);
}

void row_forward(const struct reference_problem *problem, const struct reference_row *row, const struct row_weights *weights,
                 const float *value, double *output)
{
    const uint64_t stride = reference_key_stride(problem, problem->value_dim);
    output += reference_query_element(problem, row, problem->value_dim);
    value += reference_key_element(problem, row, problem->value_dim);
    for (uint64_t d = 0; d < problem->value_dim; d++)
        output[d] = 0;
    for (uint64_t j = weights->first_key; j < weights->end_key; j++)
        reference_add_scaled(output, weights->probability[j] * weights->dropout_factor[j], value + j * stride, problem->value_dim);
}

bool row_weights_create(const struct reference_problem *problem, struct row_weights *out_weights)
{
    double *room = malloc((3 * problem->kv_len + 1) * sizeof(*room));
    if (!room)
        return false;
    *out_weights =
        (struct row_weights){.probability = room, .dropout_factor = room + problem->kv_len, .uncapped = room + 2 * problem->kv_len};
    for (uint64_t j = 0; j < problem->kv_len; j++)
        out_weights->dropout_factor[j] = 1;
    return true;
}

void row_weights_destroy(struct row_weights *weights)
{
    free(weights->probability);
    *weights = (struct row_weights){0};
}

uint64_t reference_query_element(const struct reference_problem *problem, const struct reference_row *row, uint64_t width)
{
    return ((row->batch * problem->q_len + row->row) * problem->heads + row->head) * width;
}

uint64_t reference_lse_element(const struct reference_problem *problem, const struct reference_row *row)
{
    return (row->batch * problem->heads + row->head) * problem->q_len + row->row;
}

uint64_t reference_key_element(const struct reference_problem *problem, const struct reference_row *row, uint64_t width)
{
    const uint64_t kv_head = row->head / (problem->heads / problem->kv_heads);
    return (row->batch * problem->kv_len * problem->kv_heads + kv_head) * width;
}

uint64_t reference_bias_element(const struct reference_problem *problem, const struct reference_row *row)
{
    const struct reference_bias *bias = &problem->bias;
    uint64_t at = bias->per_batch ? row->batch : 0;
    at = bias->per_head ? at * problem->heads + row->head : at;
    at = bias->per_query ? at * problem->q_len + row->row : at;
    return at * problem->kv_len;
}
