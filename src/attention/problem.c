/* SPDX-License-Identifier: MIT */
#include "problem.h"

#include <math.h>

#include "../base/checked.h"

/* Positions and lengths stay far from the ends of int64. */
#define MAX_LENGTH ((uint64_t)1 << 60)
/* Kernels add a few of them to rows of a dispatch in 32 bits. */
#define MAX_CAUSAL_BLOCK ((uint64_t)1 << 28)

static enum vkring_status check_dim(const char *name, uint64_t dim)
{
    if (dim < 1 || dim > MAX_DIM)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s is %llu, not 1 to %u", name, (unsigned long long)dim, MAX_DIM);
    return VKRING_OK;
}

static enum vkring_status check_heads(const struct problem *problem)
{
    if (problem->heads == 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "heads is 0");
    if (problem->heads > UINT32_MAX)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "heads is %llu, above 2^32 - 1", (unsigned long long)problem->heads);
    if (problem->heads % problem->kv_heads != 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "kv_heads %llu does not divide heads %llu", (unsigned long long)problem->kv_heads,
                           (unsigned long long)problem->heads);
    return VKRING_OK;
}

static enum vkring_status check_lengths(const struct problem *problem)
{
    const struct {
        const char *name;
        uint64_t length;
    } lengths[] = {{"batch", problem->batch}, {"q_len", problem->q_len}, {"kv_len", problem->kv_len}};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
        if (lengths[i].length > MAX_LENGTH)
            return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s is %llu, above 2^60", lengths[i].name,
                               (unsigned long long)lengths[i].length);

    const uint64_t query[] = {problem->batch, problem->q_len, problem->heads, MAX_DIM, 4};
    const uint64_t key[] = {problem->batch, problem->kv_len, problem->kv_heads, MAX_DIM, 4};
    uint64_t bytes;
    if (!checked_product(query, 5, &bytes) || !checked_product(key, 5, &bytes))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "batch, q_len, kv_len and heads make tensors of more than 2^64 bytes");
    return VKRING_OK;
}

static enum vkring_status check_finite(const char *name, double value, double least)
{
    if (!isfinite(value) || !isfinite((float)value))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s is not a finite f32", name);
    if (value < least)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s is %g, below %g", name, value, least);
    return VKRING_OK;
}

static enum vkring_status resolve_masks(const struct vkring_plan_params *params, struct problem *problem)
{
    const struct {
        const char *name;
        int64_t reach;
    } sides[] = {{"window_left", params->window_left}, {"window_right", params->window_right}};
    if (params->causal_block != 0 && !params->causal)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "causal_block is %llu without causal", (unsigned long long)params->causal_block);
    for (int i = 0; i < 2; i++) {
        if (sides[i].reach < -1)
            return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s is %lld, below -1", sides[i].name, (long long)sides[i].reach);
        if (sides[i].reach != 0 && !params->has_window)
            return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s is %lld without has_window", sides[i].name, (long long)sides[i].reach);
    }
    problem->window_left = params->has_window ? params->window_left : -1;
    problem->window_right = params->has_window ? params->window_right : -1;
    /* all keys lie in the first block of any block that long */
    problem->causal_block = min_u64(max_u64(params->causal_block, 1), max_u64(problem->kv_len, 1));
    if (problem->causal_block > MAX_CAUSAL_BLOCK)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "causal_block is %llu, above 2^28", (unsigned long long)problem->causal_block);
    return VKRING_OK;
}

static enum vkring_status resolve_modifiers(const struct vkring_plan_params *params, struct problem *problem)
{
    enum vkring_status status;
    TRY(check_finite("softcap", params->softcap, 0), fail);
    TRY(check_finite("dropout", params->dropout, 0), fail);
    if (params->dropout >= 1)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "dropout is %g, not below 1", params->dropout);
    if (params->alibi && problem->kv_len > MAX_ALIBI_LENGTH)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "alibi with kv_len %llu, above 2^30", (unsigned long long)problem->kv_len);
    if (params->bias.present && params->bias.type != VKRING_TYPE_F32 && params->bias.type != params->type)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "bias.type is %d, neither f32 nor the plan's type", (int)params->bias.type);
    problem->softcap = params->softcap;
    problem->dropout = params->dropout;
    problem->alibi = params->alibi;
    problem->sinks = params->sinks;
    problem->segment_ids = params->segment_ids;
    if (params->bias.present)
        problem->bias = params->bias;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status problem_resolve(const struct vkring_plan_params *params, struct problem *out_problem)
{
    enum vkring_status status;
    struct problem problem = {
        .type = params->type,
        .batch = params->batch,
        .q_len = params->q_len,
        .kv_len = params->kv_len,
        .heads = params->heads,
        .kv_heads = params->kv_heads ? params->kv_heads : params->heads,
        .head_dim = params->head_dim,
        .value_dim = params->value_dim ? params->value_dim : params->head_dim,
        .causal = params->causal,
        .backward = params->backward,
    };
    if (vkring_type_bytes(params->type) == 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "type %d is unknown", (int)params->type);
    TRY(check_dim("head_dim", problem.head_dim), fail);
    TRY(check_dim("value_dim", problem.value_dim), fail);
    TRY(check_heads(&problem), fail);
    TRY(check_lengths(&problem), fail);
    if (params->has_scale)
        TRY(check_finite("scale", params->scale, -INFINITY), fail);
    TRY(resolve_masks(params, &problem), fail);
    TRY(resolve_modifiers(params, &problem), fail);
    if (!isfinite(params->timeout_seconds) || params->timeout_seconds < 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "timeout_seconds is negative or not finite");
    if (!isfinite(params->dispatch_seconds) || params->dispatch_seconds < 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "dispatch_seconds is negative or not finite");
    problem.scale = params->has_scale ? params->scale : 1.0 / sqrt((double)problem.head_dim);
    problem.query_offset = params->has_query_offset ? params->query_offset : (int64_t)problem.kv_len - (int64_t)problem.q_len;
    *out_problem = problem;
    return VKRING_OK;
fail:
    return status;
}
