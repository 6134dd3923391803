/* SPDX-License-Identifier: MIT */
/* The inputs of options. */
#include <ref/random_input.h>

#include "case_problem.h"
#include "case_tensors.h"

/* Streams of random values, beside those of query, key and value. */
enum { STREAM_BIAS = 1000, STREAM_MASK, STREAM_SEGMENTS, STREAM_SINKS };

static uint64_t stream_of(const struct attention_case *c, uint64_t stream)
{
    return c->seed * 31 + (stream << 40);
}

static float uniform(const struct attention_case *c, uint64_t stream, uint64_t index)
{
    float value;
    random_fill(stream_of(c, stream), RANDOM_UNIFORM, 1, index, 1, &value);
    return value;
}

static bool bias_masks(const struct attention_case *c, uint64_t index)
{
    const uint64_t key = index % c->params.kv_len, row = index / c->params.kv_len % case_bias_rows(c);
    switch (c->bias) {
    case BIAS_MASKS_SOME:
        return uniform(c, STREAM_MASK, index) < 0.2f;
    case BIAS_MASKS_ROWS:
        return c->params.bias.per_query ? row % 3 == 1 : key < c->params.kv_len / 2;
    case BIAS_MASKS_ALL:
        return true;
    case BIAS_FINITE:
    case BIAS_KINDS:
        break;
    }
    return false;
}

static bool make_bias(const struct attention_case *c, struct case_data *data)
{
    const uint64_t count = case_whole_count(c, BIAS);
    data->bias = malloc((count + 1) * sizeof(float));
    if (!data->bias)
        return false;
    random_fill(stream_of(c, STREAM_BIAS), RANDOM_NORMAL, 1, 0, count, data->bias);
    for (uint64_t i = 0; i < count; i++)
        if (bias_masks(c, i))
            data->bias[i] = -INFINITY;
    return case_round_to_type(c->params.bias.type, data->bias, count);
}

/* Which run a key is in: a new one begins after every 12 keys, as chance will have it. */
static int32_t run_of(const struct attention_case *c, uint64_t batch, uint64_t key)
{
    int32_t run = 0;
    for (uint64_t j = 1; j <= key; j++)
        run += uniform(c, STREAM_SEGMENTS, batch * c->params.kv_len + j) < 1.f / 12;
    return run;
}

/* The key at the query's position, or the nearest. */
static uint64_t key_at(const struct attention_case *c, uint64_t row)
{
    const int64_t offset = case_query_offset(c), last = (int64_t)c->params.kv_len - 1;
    if (offset > last || (offset > 0 && (int64_t)row > last - offset))
        return (uint64_t)last;
    return offset < 0 && (uint64_t)row < 0 - (uint64_t)offset ? 0 : row + (uint64_t)offset;
}

static int32_t segment_of(const struct attention_case *c, uint64_t batch, uint64_t key, uint64_t dice, bool query)
{
    switch (c->segments) {
    case SEGMENTS_SORTED:
        return run_of(c, batch, key);
    case SEGMENTS_NEGATIVE:
        return run_of(c, batch, key) >= 4 ? INT32_MIN : -1 - run_of(c, batch, key);
    case SEGMENTS_UNSORTED:
        return (int32_t)(4 * uniform(c, STREAM_SEGMENTS, dice)) - 1;
    case SEGMENTS_DISJOINT:
        return (int32_t)(2 * (int32_t)(4 * uniform(c, STREAM_SEGMENTS, dice))) + query;
    case SEGMENTS_EQUAL:
    case SEGMENTS_KINDS:
        break;
    }
    return -7;
}

static bool make_segments(const struct attention_case *c, struct case_data *data)
{
    const struct vkring_plan_params *p = &c->params;
    data->query_segment_ids = malloc((p->batch * p->q_len + 1) * sizeof(int32_t));
    data->key_segment_ids = malloc((p->batch * p->kv_len + 1) * sizeof(int32_t));
    if (!data->query_segment_ids || !data->key_segment_ids)
        return false;
    for (uint64_t b = 0; b < p->batch; b++) {
        for (uint64_t i = 0; i < p->q_len; i++)
            data->query_segment_ids[b * p->q_len + i] =
                segment_of(c, b, p->kv_len ? key_at(c, i) : 0, (UINT64_C(1) << 32) + b * p->q_len + i, true);
        for (uint64_t j = 0; j < p->kv_len; j++)
            data->key_segment_ids[b * p->kv_len + j] = segment_of(c, b, j, b * p->kv_len + j, false);
    }
    return true;
}

/* Those of Press et al., and of every third head one that draws to what is far. */
static bool make_slopes(const struct attention_case *c, struct case_data *data)
{
    data->alibi_slopes = malloc(c->params.heads * sizeof(float));
    for (uint64_t h = 0; data->alibi_slopes && h < c->params.heads; h++)
        data->alibi_slopes[h] = h % 3 == 2 ? -0.01f : ldexpf(1, -(int)(h % 8) - 1);
    return data->alibi_slopes;
}

static bool make_sinks(const struct attention_case *c, struct case_data *data)
{
    data->sinks = malloc(c->params.heads * sizeof(float));
    if (!data->sinks)
        return false;
    random_fill(stream_of(c, STREAM_SINKS), RANDOM_NORMAL, 2, 0, c->params.heads, data->sinks);
    for (uint64_t h = 3; h < c->params.heads; h += 4)
        data->sinks[h] = h % 8 == 3 ? 9 : -40;
    return true;
}

bool case_make_options(const struct attention_case *c, struct case_data *data)
{
    const struct vkring_plan_params *p = &c->params;
    data->seed = stream_of(c, 7) * UINT64_C(0x9e3779b97f4a7c15);
    return (!p->bias.present || make_bias(c, data)) && (!p->segment_ids || make_segments(c, data)) && (!p->alibi || make_slopes(c, data)) &&
           (!p->sinks || make_sinks(c, data));
}
