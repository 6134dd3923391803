/* SPDX-License-Identifier: MIT */
/* Inputs that hide nothing, and the oracle's answer to them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ref/random_input.h>
#include <ref/reference.h>

#include "case_problem.h"
#include "case_tensors.h"

/* Keys of one level of INPUTS_BLOCK_GAPS, and the step between levels. */
enum { GAP_BLOCK = 16, GAP = 200, GAP_LEVELS = 5 };

static uint64_t rows_of(const struct attention_case *c, uint64_t len, uint64_t heads)
{
    return c->params.batch * len * heads;
}

static uint64_t key_row_of(const struct attention_case *c, uint64_t head_row)
{
    return head_row / case_kv_heads(c) % c->params.kv_len;
}

static void make_block_gaps(const struct attention_case *c, struct case_data *data)
{
    const uint64_t dim = c->params.head_dim;
    for (uint64_t i = 0; i < rows_of(c, c->params.q_len, c->params.heads); i++)
        data->query[i * dim] = (float)(1 / case_scale(c));
    for (uint64_t i = 0; i < rows_of(c, c->params.kv_len, case_kv_heads(c)); i++) {
        uint64_t block = key_row_of(c, i) / GAP_BLOCK;
        data->key[i * dim] = (float)((int)(block * block * 3 % GAP_LEVELS) * GAP - 2 * GAP);
    }
}

/* Key j is the unit vector of dimension j mod head_dim, the last of its dimension stronger than those before: it wins by far. */
static void make_one_hot(const struct attention_case *c, struct case_data *data)
{
    const uint64_t dim = c->params.head_dim;
    const uint64_t queries = rows_of(c, c->params.q_len, c->params.heads), keys = rows_of(c, c->params.kv_len, case_kv_heads(c));
    memset(data->query, 0, queries * dim * sizeof(float));
    memset(data->key, 0, keys * dim * sizeof(float));
    for (uint64_t i = 0; i < queries; i++)
        data->query[i * dim + i * 7 % dim] = (float)(256 / case_scale(c));
    for (uint64_t i = 0; i < keys; i++) {
        uint64_t j = key_row_of(c, i);
        data->key[i * dim + j % dim] = (float)(1 + j / dim);
    }
}

static void multiply_row(float *row, uint64_t dim, int exponent)
{
    for (uint64_t d = 0; d < dim; d++)
        row[d] = ldexpf(row[d], exponent);
}

/*
 * Queries and keys make up for each other. Values of even key heads have magnitudes in no order; of odd ones they shrink to those, while
 * scores grow, so that only the last count.
 */
static void make_magnitudes(const struct attention_case *c, struct case_data *data)
{
    enum { POWER = 50, LEAST = -40, FALL = 72 };
    const uint64_t dim = c->params.head_dim, heads = c->params.heads, kv_heads = case_kv_heads(c);
    for (uint64_t i = 0; i < rows_of(c, c->params.q_len, heads); i++) {
        multiply_row(data->query + i * dim, dim, POWER - (int)(i * 5 % 7));
        if (i % heads / (heads / kv_heads) % 2 == 1)
            data->query[i * dim] = ldexpf((float)(0.5 / case_scale(c)), POWER);
    }
    for (uint64_t i = 0; i < rows_of(c, c->params.kv_len, kv_heads); i++) {
        const bool odd = i % kv_heads % 2 == 1;
        const uint64_t j = key_row_of(c, i);
        multiply_row(data->key + i * dim, dim, -POWER - (int)(i * 5 % 7));
        if (odd)
            data->key[i * dim] = ldexpf((float)j, -POWER);
        multiply_row(data->value + i * case_value_dim(c), case_value_dim(c),
                     odd ? LEAST + FALL - (int)(FALL * (j + 1) / c->params.kv_len) : LEAST - 12 * (int)(i * 5 % 7));
    }
}

static void shape_inputs(const struct attention_case *c, struct case_data *data)
{
    const uint64_t key_count = rows_of(c, c->params.kv_len, case_kv_heads(c)) * c->params.head_dim;
    const uint64_t value_count = rows_of(c, c->params.kv_len, case_kv_heads(c)) * case_value_dim(c);
    switch (c->inputs) {
    case INPUTS_HUGE_KEY:
        for (uint64_t i = 0; i < key_count; i++)
            if (key_row_of(c, i / c->params.head_dim) == c->params.kv_len / 3)
                data->key[i] *= 100;
        break;
    case INPUTS_BLOCK_GAPS:
        make_block_gaps(c, data);
        break;
    case INPUTS_ONE_HOT:
        make_one_hot(c, data);
        break;
    case INPUTS_VALUES_ONE:
        for (uint64_t i = 0; i < value_count; i++)
            data->value[i] = 1;
        break;
    case INPUTS_MAGNITUDES:
        make_magnitudes(c, data);
        break;
    case INPUTS_NORMAL:
    case INPUTS_HEAVY_TAIL:
    case INPUTS_BIG_LOGITS:
    case INPUTS_KINDS:
        break;
    }
}

bool case_round_to_type(enum vkring_type type, float *values, uint64_t count)
{
    void *narrow = malloc(count * sizeof(float) + 1);
    if (!narrow)
        return false;
    vkring_convert_from_f32(type, values, count, narrow);
    vkring_convert_to_f32(type, narrow, count, values);
    free(narrow);
    return true;
}

static bool make_output_grad(const struct attention_case *c, struct case_data *data)
{
    const uint64_t count = rows_of(c, c->params.q_len, c->params.heads) * case_value_dim(c);
    data->output_grad = malloc((count + 1) * sizeof(float));
    if (!data->output_grad)
        return false;
    random_fill(c->seed + (UINT64_C(1) << 60), RANDOM_NORMAL, 1, 0, count, data->output_grad);
    return case_round_to_type(c->params.type, data->output_grad, count);
}

static bool make_rows(const struct attention_case *c, struct case_data *data)
{
    const struct vkring_plan_params *p = &c->params;
    const uint64_t query_count = rows_of(c, p->q_len, p->heads) * p->head_dim;
    const uint64_t key_count = rows_of(c, p->kv_len, case_kv_heads(c)) * p->head_dim;
    const uint64_t value_count = rows_of(c, p->kv_len, case_kv_heads(c)) * case_value_dim(c);
    const enum random_shape shape = c->inputs == INPUTS_HEAVY_TAIL ? RANDOM_HEAVY_TAIL : RANDOM_NORMAL;
    /* scale · dot of unit normals deviates by scale · sqrt(head_dim) */
    const float factor = c->inputs == INPUTS_BIG_LOGITS   ? (float)sqrt(3e4 / (case_scale(c) * sqrt((double)p->head_dim)))
                         : c->inputs == INPUTS_HEAVY_TAIL ? 0.4f
                                                          : 1;
    data->query = malloc((query_count + 1) * sizeof(float));
    data->key = malloc((key_count + 1) * sizeof(float));
    data->value = malloc((value_count + 1) * sizeof(float));
    if (!data->query || !data->key || !data->value)
        return false;
    random_fill(3 * c->seed, shape, factor, 0, query_count, data->query);
    random_fill(3 * c->seed + 1, shape, factor, 0, key_count, data->key);
    random_fill(3 * c->seed + 2, shape, 1, 0, value_count, data->value);
    shape_inputs(c, data);
    return case_round_to_type(p->type, data->query, query_count) && case_round_to_type(p->type, data->key, key_count) &&
           case_round_to_type(p->type, data->value, value_count);
}

bool case_make_data(const struct attention_case *c, struct case_data *out_data)
{
    *out_data = (struct case_data){0};
    return (make_rows(c, out_data) && case_make_options(c, out_data) && (!c->params.backward || make_output_grad(c, out_data))) ||
           case_complain(c, "no memory");
}

static struct reference_problem problem_of(const struct attention_case *c, const struct case_data *data)
{
    const struct vkring_plan_params *p = &c->params;
    return (struct reference_problem){
        .batch = p->batch,
        .q_len = p->q_len,
        .kv_len = p->kv_len,
        .heads = p->heads,
        .kv_heads = case_kv_heads(c),
        .head_dim = p->head_dim,
        .value_dim = case_value_dim(c),
        .causal = p->causal,
        .causal_block = p->causal_block,
        .has_window = p->has_window,
        .window_left = p->window_left,
        .window_right = p->window_right,
        .query_offset = case_query_offset(c),
        .scale = case_scale(c),
        .softcap = p->softcap,
        .query_segment_ids = data->query_segment_ids,
        .key_segment_ids = data->key_segment_ids,
        .bias = {data->bias, p->bias.per_batch, p->bias.per_head, p->bias.per_query},
        .alibi_slopes = data->alibi_slopes,
        .sinks = data->sinks,
        .dropout = p->dropout,
        .seed = data->seed,
    };
}

static const struct case_ranks *sharing;

void case_share_reference(const struct case_ranks *ranks)
{
    sharing = ranks;
}

bool case_all_ran(bool mine)
{
    double failed = mine ? 0 : 1;
    if (sharing)
        sharing->sum(&failed, 1);
    return failed == 0;
}

static void sum_shares(const struct attention_case *c, struct case_data *data)
{
    sharing->sum(data->output, case_whole_count(c, OUTPUT));
    sharing->sum(data->lse, case_whole_count(c, LSE));
    for (int i = 0; i < GRADIENTS; i++) {
        sharing->sum(data->gradients[i], case_whole_count(c, QUERY_GRAD + (enum case_tensor)i));
        data->gradient_sizes[i] *= data->gradient_sizes[i];
    }
    sharing->sum(data->gradient_sizes, GRADIENTS);
    for (int i = 0; i < GRADIENTS; i++)
        data->gradient_sizes[i] = sqrt(data->gradient_sizes[i]);
}

static bool refer_backward(const struct attention_case *c, const struct reference_problem *problem, struct case_data *data)
{
    struct reference_term_sizes sizes;
    for (int i = 0; i < GRADIENTS; i++) {
        if (!data->gradients[i])
            data->gradients[i] = calloc(case_whole_count(c, QUERY_GRAD + (enum case_tensor)i) + 1, sizeof(double));
        if (!data->gradients[i])
            return false;
    }
    memset(data->output, 0, case_whole_count(c, OUTPUT) * sizeof(double));
    memset(data->lse, 0, case_whole_count(c, LSE) * sizeof(double));
    const struct reference_gradients gradients = {
        .output = data->output,
        .lse = data->lse,
        .query = data->gradients[GRADIENT_QUERY],
        .key = data->gradients[GRADIENT_KEY],
        .value = data->gradients[GRADIENT_VALUE],
        .bias = c->params.bias.present ? data->gradients[GRADIENT_BIAS] : NULL,
        .sinks = c->params.sinks ? data->gradients[GRADIENT_SINKS] : NULL,
        .sizes = &sizes,
        .first_row = sharing ? sharing->rank : 0,
        .row_stride = sharing ? sharing->count : 1,
    };
    if (!reference_backward(problem, data->query, data->key, data->value, data->output_grad, &gradients))
        return false;
    const double of[GRADIENTS] = {sizes.query, sizes.key, sizes.value, sizes.bias, sizes.sinks};
    memcpy(data->gradient_sizes, of, sizeof(of));
    if (sharing)
        sum_shares(c, data);
    return true;
}

static bool refer_span(const struct reference_problem *problem, struct case_data *data, const struct vkring_span *span)
{
    const uint64_t at_once = span->stride > 1 ? 1 : span->rows;
    bool referred = true;
    for (uint64_t i = 0; referred && i < span->rows; i += at_once)
        referred = reference_forward(problem, data->query, data->key, data->value, span->first + i * span->stride, at_once, data->output,
                                     data->lse);
    return referred;
}

bool case_refer(const struct attention_case *c, struct case_data *data, const struct vkring_rank_rows *rows)
{
    const struct reference_problem problem = problem_of(c, data);
    if (!data->output)
        data->output = calloc(case_whole_count(c, OUTPUT) + 1, sizeof(double));
    if (!data->lse)
        data->lse = calloc(case_whole_count(c, LSE) + 1, sizeof(double));
    bool referred = data->output && data->lse;
    if (referred && c->params.backward)
        referred = refer_backward(c, &problem, data);
    for (int i = 0; referred && !c->params.backward && i < VKRING_SPANS; i++)
        referred = refer_span(&problem, data, &rows->query_spans[i]);
    return referred || case_complain(c, "no memory");
}

void case_free_data(struct case_data *data)
{
    free(data->query);
    free(data->key);
    free(data->value);
    free(data->query_segment_ids);
    free(data->key_segment_ids);
    free(data->bias);
    free(data->alibi_slopes);
    free(data->sinks);
    free(data->output_grad);
    free(data->output);
    free(data->lse);
    for (int i = 0; i < GRADIENTS; i++)
        free(data->gradients[i]);
    *data = (struct case_data){0};
}
