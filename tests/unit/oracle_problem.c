/* SPDX-License-Identifier: MIT */
#include "oracle_problem.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

#include <ref/random_input.h>

static const struct reference_problem small = {
    .batch = 2, .q_len = 5, .kv_len = 7, .heads = 4, .kv_heads = 2, .head_dim = 3, .value_dim = 2, .query_offset = 2, .scale = 0.5};

#define BIAS(...) .tensors = ORACLE_BIAS, .problem = {.query_offset = 2, .bias = {__VA_ARGS__}}

const struct oracle_case oracle_cases[] = {
    {.name = "plain"},
    {.name = "causal", .problem = {.causal = true, .query_offset = 2}},
    {.name = "causal, first rows keep nothing", .problem = {.causal = true, .query_offset = -2}},
    {.name = "causal, nothing kept", .problem = {.causal = true, .query_offset = -5}},
    {.name = "causal blocks of 1", .problem = {.causal = true, .causal_block = 1, .query_offset = 2}},
    {.name = "causal blocks of 2", .problem = {.causal = true, .causal_block = 2, .query_offset = 1}},
    {.name = "causal blocks of 3", .problem = {.causal = true, .causal_block = 3, .query_offset = -4}},
    {.name = "causal block beyond all", .problem = {.causal = true, .causal_block = 1000, .query_offset = -1}},
    {.name = "causal block at the end of its type", .problem = {.causal = true, .causal_block = UINT64_MAX, .query_offset = -1}},
    {.name = "window of one", .problem = {.has_window = true, .query_offset = 2}},
    {.name = "window to the left", .problem = {.has_window = true, .window_left = 2, .window_right = -1, .query_offset = 2}},
    {.name = "window to the right", .problem = {.has_window = true, .window_left = -1, .window_right = 1, .query_offset = 1}},
    {.name = "window to both sides", .problem = {.has_window = true, .window_left = 1, .window_right = 2, .query_offset = -1}},
    {.name = "window without limits", .problem = {.has_window = true, .window_left = -1, .window_right = -1}},
    {.name = "window and causal blocks",
     .problem = {.causal = true, .causal_block = 2, .has_window = true, .window_left = 3, .window_right = 1, .query_offset = 2}},
    {.name = "segment ids", .tensors = ORACLE_SEGMENT_IDS},
    {.name = "bias of keys", BIAS(0)},
    {.name = "bias of queries", BIAS(.per_query = true)},
    {.name = "bias of heads", BIAS(.per_head = true)},
    {.name = "bias of heads and queries", BIAS(.per_head = true, .per_query = true)},
    {.name = "bias of the batch", BIAS(.per_batch = true)},
    {.name = "bias of the batch and queries", BIAS(.per_batch = true, .per_query = true)},
    {.name = "bias of the batch and heads", BIAS(.per_batch = true, .per_head = true)},
    {.name = "bias of all", BIAS(.per_batch = true, .per_head = true, .per_query = true)},
    {.name = "masking bias",
     .tensors = ORACLE_BIAS | ORACLE_MASKING_BIAS,
     .problem = {.bias = {.per_batch = true, .per_head = true, .per_query = true}}},
    {.name = "masking bias of queries", .tensors = ORACLE_BIAS | ORACLE_MASKING_BIAS, .problem = {.bias = {.per_query = true}}},
    {.name = "alibi", .tensors = ORACLE_ALIBI, .problem = {.query_offset = 1}},
    {.name = "alibi before all keys", .tensors = ORACLE_ALIBI, .problem = {.query_offset = -9}},
    {.name = "alibi after all keys", .tensors = ORACLE_ALIBI, .problem = {.query_offset = 20}},
    {.name = "softcap", .problem = {.softcap = 1.5}},
    {.name = "sinks", .tensors = ORACLE_SINKS},
    {.name = "sinks alone", .tensors = ORACLE_SINKS, .problem = {.causal = true, .query_offset = -5}},
    {.name = "dropout", .problem = {.dropout = 0.4, .seed = UINT64_C(0x123456789abcdef)}},
    {.name = "much dropout", .problem = {.dropout = 0.9, .seed = UINT64_MAX}},
    {.name = "dropout at negative positions", .problem = {.dropout = 0.3, .query_offset = -3}},
    {.name = "grouped differently", .problem = {.kv_heads = 1}},
    {.name = "no groups", .problem = {.kv_heads = 4}},
};
const int oracle_case_count = sizeof(oracle_cases) / sizeof(oracle_cases[0]);

struct oracle_case oracle_combination(int index)
{
    struct oracle_case c = {
        .name = "combination",
        .problem = {.batch = 2, .q_len = 4, .kv_len = 6, .heads = 2, .kv_heads = 1, .head_dim = 2, .value_dim = 1, .query_offset = 1}};
    c.problem.causal = index & 1;
    c.problem.causal_block = index & 1 ? 2 : 0;
    c.problem.has_window = index & 2;
    c.problem.window_left = 3;
    c.problem.window_right = 2;
    c.problem.softcap = index & 4 ? 1.25 : 0;
    c.problem.dropout = index & 8 ? 0.3 : 0;
    c.problem.seed = 77 + (uint64_t)index;
    c.problem.bias.per_batch = index & 32;
    c.problem.bias.per_head = index & 64;
    c.problem.bias.per_query = index & 128;
    c.tensors |= index & 16 ? ORACLE_BIAS | ORACLE_MASKING_BIAS : 0;
    c.tensors |= index & 32 ? ORACLE_SEGMENT_IDS : 0;
    c.tensors |= index & 64 ? ORACLE_ALIBI : 0;
    c.tensors |= index & 128 ? ORACLE_SINKS : 0;
    return c;
}

static void fill(uint64_t seed, uint64_t count, float *values)
{
    random_fill(seed, RANDOM_NORMAL, 1, 0, count, values);
    for (uint64_t i = 0; i < count; i++)
        values[i] = roundf(values[i] * 1024) / 1024;
}

static void fill_ids(uint64_t seed, uint64_t count, int32_t *ids)
{
    float uniform[64];
    random_fill(seed, RANDOM_UNIFORM, 1, 0, count, uniform);
    for (uint64_t i = 0; i < count; i++)
        ids[i] = (int32_t)(3 * uniform[i]) - 1;
}

static void mask_bias(const struct reference_problem *p, float *bias)
{
    float uniform[ORACLE_ROOM];
    random_fill(9, RANDOM_UNIFORM, 1, 0, ORACLE_ROOM, uniform);
    for (uint64_t i = 0; i < reference_bias_count(p); i++)
        if (uniform[i] < 1.f / 3 || (p->bias.per_query && i / p->kv_len % p->q_len == 1))
            bias[i] = -INFINITY;
}

static void replace_zeros(const struct reference_problem *from, struct reference_problem *p)
{
    p->batch = p->batch ? p->batch : from->batch;
    p->q_len = p->q_len ? p->q_len : from->q_len;
    p->kv_len = p->kv_len ? p->kv_len : from->kv_len;
    p->heads = p->heads ? p->heads : from->heads;
    p->kv_heads = p->kv_heads ? p->kv_heads : from->kv_heads;
    p->head_dim = p->head_dim ? p->head_dim : from->head_dim;
    p->value_dim = p->value_dim ? p->value_dim : from->value_dim;
    p->scale = p->scale > 0 ? p->scale : from->scale;
}

struct oracle_inputs *oracle_inputs_create(const struct oracle_case *c, struct reference_problem *out_problem)
{
    struct oracle_inputs *in = calloc(1, sizeof(*in));
    struct reference_problem p = c->problem;
    ck_assert_ptr_nonnull(in);
    replace_zeros(&small, &p);
    fill(1, ORACLE_ROOM, in->query);
    fill(2, ORACLE_ROOM, in->key);
    fill(3, ORACLE_ROOM, in->value);
    fill(4, ORACLE_ROOM, in->output_grad);
    fill(5, ORACLE_ROOM, in->bias);
    fill(6, 16, in->alibi_slopes);
    fill(7, 16, in->sinks);
    fill_ids(8, 64, in->query_segment_ids);
    fill_ids(10, 64, in->key_segment_ids);
    if (c->tensors & ORACLE_MASKING_BIAS)
        mask_bias(&p, in->bias);
    p.query_segment_ids = c->tensors & ORACLE_SEGMENT_IDS ? in->query_segment_ids : NULL;
    p.key_segment_ids = c->tensors & ORACLE_SEGMENT_IDS ? in->key_segment_ids : NULL;
    p.bias.values = c->tensors & ORACLE_BIAS ? in->bias : NULL;
    p.alibi_slopes = c->tensors & ORACLE_ALIBI ? in->alibi_slopes : NULL;
    p.sinks = c->tensors & ORACLE_SINKS ? in->sinks : NULL;
    *out_problem = p;
    return in;
}

uint64_t oracle_query_count(const struct reference_problem *p)
{
    return p->batch * p->q_len * p->heads * p->head_dim;
}

uint64_t oracle_key_count(const struct reference_problem *p)
{
    return p->batch * p->kv_len * p->kv_heads * p->head_dim;
}

uint64_t oracle_value_count(const struct reference_problem *p)
{
    return p->batch * p->kv_len * p->kv_heads * p->value_dim;
}

uint64_t oracle_output_count(const struct reference_problem *p)
{
    return p->batch * p->q_len * p->heads * p->value_dim;
}

uint64_t oracle_lse_count(const struct reference_problem *p)
{
    return p->batch * p->heads * p->q_len;
}
