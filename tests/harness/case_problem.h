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

static inline bool environment_says(const char *name)
{
    const char *text = getenv(name);
    return text && *text && *text != '0';
}

#endif
