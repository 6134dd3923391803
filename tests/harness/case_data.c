/* SPDX-License-Identifier: MIT */
/* Inputs that hide nothing, and the oracle's answer to them. */
#include <stdlib.h>
#include <string.h>

#include <ref/random_input.h>
#include <ref/reference.h>

#include "case_problem.h"

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
        data->key[i * dim] = (float)(block * block * 3 % GAP_LEVELS) * GAP - 2 * GAP;
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
    case INPUTS_NORMAL:
    case INPUTS_HEAVY_TAIL:
    case INPUTS_BIG_LOGITS:
    case INPUTS_KINDS:
        break;
    }
}

static bool round_to_type(enum vkring_type type, float *values, uint64_t count)
{
    void *narrow = malloc(count * sizeof(float) + 1);
    if (!narrow)
        return false;
    vkring_convert_from_f32(type, values, count, narrow);
    vkring_convert_to_f32(type, narrow, count, values);
    free(narrow);
    return true;
}

bool case_make_data(const struct attention_case *c, struct case_data *out_data)
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
    struct case_data data = {
        .query = malloc((query_count + 1) * sizeof(float)),
        .key = malloc((key_count + 1) * sizeof(float)),
        .value = malloc((value_count + 1) * sizeof(float)),
    };
    *out_data = data;
    if (!data.query || !data.key || !data.value)
        return case_complain(c, "no memory");
    random_fill(3 * c->seed, shape, factor, 0, query_count, data.query);
    random_fill(3 * c->seed + 1, shape, factor, 0, key_count, data.key);
    random_fill(3 * c->seed + 2, shape, 1, 0, value_count, data.value);
    shape_inputs(c, &data);
    return (round_to_type(p->type, data.query, query_count) && round_to_type(p->type, data.key, key_count) &&
            round_to_type(p->type, data.value, value_count)) ||
           case_complain(c, "no memory");
}

bool case_refer(const struct attention_case *c, struct case_data *data, uint64_t first, uint64_t rows)
{
    const struct vkring_plan_params *p = &c->params;
    const struct reference_problem problem = {
        .batch = p->batch,
        .q_len = p->q_len,
        .kv_len = p->kv_len,
        .heads = p->heads,
        .kv_heads = case_kv_heads(c),
        .head_dim = p->head_dim,
        .value_dim = case_value_dim(c),
        .causal = p->causal,
        .query_offset = case_query_offset(c),
        .scale = case_scale(c),
    };
    const uint64_t head_rows = rows_of(c, p->q_len, p->heads);
    if (!data->output)
        data->output = calloc(head_rows * case_value_dim(c) + 1, sizeof(double));
    if (!data->lse)
        data->lse = calloc(head_rows + 1, sizeof(double));
    if (!data->output || !data->lse ||
        !reference_forward(&problem, data->query, data->key, data->value, first, rows, data->output, data->lse))
        return case_complain(c, "no memory");
    return true;
}

void case_free_data(struct case_data *data)
{
    free(data->query);
    free(data->key);
    free(data->value);
    free(data->output);
    free(data->lse);
    *data = (struct case_data){0};
}
