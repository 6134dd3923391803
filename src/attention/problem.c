/* SPDX-License-Identifier: MIT */
#include "problem.h"

#include <math.h>

#include "../base/checked.h"

/* Positions and lengths stay far from the ends of int64. */
#define MAX_LENGTH ((uint64_t)1 << 60)

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
    };
    if (vkring_type_bytes(params->type) == 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "type %d is unknown", (int)params->type);
    TRY(check_dim("head_dim", problem.head_dim), fail);
    TRY(check_dim("value_dim", problem.value_dim), fail);
    TRY(check_heads(&problem), fail);
    TRY(check_lengths(&problem), fail);
    if (params->has_scale && !(isfinite(params->scale) && isfinite((float)params->scale)))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "scale is not a finite f32");
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

__extension__ typedef __int128 wide;

/* Any offset is allowed: only the sum has to be near. */
static wide exact_diagonal(const struct problem *problem, uint64_t query_row, uint64_t key_row)
{
    return (wide)problem->query_offset + (wide)query_row - (wide)key_row;
}

static wide clamp(wide value, wide low, wide high)
{
    return value < low ? low : value > high ? high : value;
}

int32_t problem_diagonal(const struct problem *problem, uint64_t query_row, uint64_t rows, uint64_t key_row, uint64_t keys)
{
    return (int32_t)clamp(exact_diagonal(problem, query_row, key_row), -(wide)rows, (wide)keys);
}

uint64_t problem_kept_keys(const struct problem *problem, uint64_t query_row, uint64_t key_row, uint64_t keys)
{
    if (!problem->causal)
        return keys;
    return (uint64_t)clamp(exact_diagonal(problem, query_row, key_row) + 1, 0, (wide)keys);
}

double problem_kept_pairs(const struct problem *problem, uint64_t query_row, uint64_t rows, uint64_t key_row, uint64_t keys)
{
    if (!problem->causal)
        return (double)rows * (double)keys;
    /* row i keeps clamp(i + diagonal + 1, 0, keys) keys: a ramp between the rows where it leaves 0 and reaches keys */
    double diagonal = (double)problem->query_offset + (double)query_row - (double)key_row;
    double from = fmin(fmax(-diagonal - 1, 0), (double)rows);
    double to = fmin(fmax((double)keys - diagonal - 1, 0), (double)rows);
    double ramp = (to - from) * (diagonal + 1) + (to * (to - 1) - from * (from - 1)) / 2;
    return ramp + ((double)rows - to) * (double)keys;
}
