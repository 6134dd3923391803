/* SPDX-License-Identifier: MIT */
/** The defaults of a case's parameters, filled in as the public header says. Shared by the files of the harness. */
#ifndef VKRING_TESTS_CASE_PROBLEM_H
#define VKRING_TESTS_CASE_PROBLEM_H

#include <math.h>
#include <stdlib.h>

#include "attention_case.h"

static inline uint64_t case_value_dim(const struct attention_case *c)
{
    return c->params.value_dim ? c->params.value_dim : c->params.head_dim;
}

static inline uint64_t case_kv_heads(const struct attention_case *c)
{
    return c->params.kv_heads ? c->params.kv_heads : c->params.heads;
}

static inline double case_scale(const struct attention_case *c)
{
    return c->params.has_scale ? c->params.scale : 1 / sqrt((double)c->params.head_dim);
}

static inline int64_t case_query_offset(const struct attention_case *c)
{
    return c->params.has_query_offset ? c->params.query_offset : (int64_t)c->params.kv_len - (int64_t)c->params.q_len;
}

/* Dimensions of the bias. */
static inline uint64_t case_bias_batch(const struct attention_case *c)
{
    return c->params.bias.per_batch ? c->params.batch : 1;
}

static inline uint64_t case_bias_heads(const struct attention_case *c)
{
    return c->params.bias.per_head ? c->params.heads : 1;
}

static inline uint64_t case_bias_rows(const struct attention_case *c)
{
    return c->params.bias.per_query ? c->params.q_len : 1;
}

/* Bias, segment ids, slopes and sinks, of a seed. False when out of memory. */
bool case_make_options(const struct attention_case *c, struct case_data *data);

/* True where ranks that share a reference all say so; without any, what this one says. */
bool case_all_ran(bool mine);

bool case_round_to_type(enum vkring_type type, float *values, uint64_t count);

static inline bool environment_says(const char *name)
{
    const char *text = getenv(name);
    return text && *text && *text != '0';
}

#endif
