/* SPDX-License-Identifier: MIT */
#include "tensor_bytes.h"

#include "../attention/tensors.h"
#include "../base/checked.h"

static uint64_t plus(uint64_t bytes, const struct tensor_shape *shape, uint64_t copies)
{
    const uint64_t factors[] = {shape->batch, shape->rows, shape->heads, shape->dim, shape->element_bytes, copies};
    uint64_t product;
    return checked_product(factors, 6, &product) && checked_add(bytes, product, &bytes) ? bytes : UINT64_MAX;
}

static uint64_t plus_queries(uint64_t bytes, const struct problem *problem, uint64_t rows)
{
    const bool has_residual = problem->backward && problem->type != VKRING_TYPE_F32;
    const uint64_t with_gradient = problem->backward ? 2 : 1;
    const struct tensor_shape query = tensors_query_shape(problem, rows), output = tensors_output_shape(problem, rows);
    const struct tensor_shape ids = {"segment_ids", sizeof(int32_t), problem->batch, 1, 1, rows};
    const struct tensor_shape lse = {"lse", sizeof(float), problem->batch, 1, problem->heads, rows};
    const struct tensor_shape bias = tensors_bias_shape(problem, "bias", rows, problem->kv_len);
    bytes = plus(bytes, &query, with_gradient);
    bytes = plus(bytes, &output, with_gradient + (has_residual ? 1 : 0));
    bytes = plus(bytes, &ids, problem->segment_ids ? 1 : 0);
    bytes = plus(bytes, &lse, problem->backward ? 2 : 0); /* and its residual */
    return plus(bytes, &bias, problem->bias.present && problem->bias.per_query ? with_gradient : 0);
}

/* As a packet has them: of no batch entries nothing. */
static uint64_t plus_keys(uint64_t bytes, const struct problem *problem, uint64_t rows)
{
    for (int part = 0; part < KEY_PARTS; part++) {
        const struct tensor_shape shape = key_part_shape(problem, (enum key_part)part, problem->batch > 0 ? rows : 0);
        bytes = plus(bytes, &shape, problem->backward && part != KEY_PART_IDS ? 2 : 1);
    }
    return bytes;
}

uint64_t tensor_bytes(const struct problem *problem, uint64_t query_rows, uint64_t key_rows)
{
    return plus_keys(plus_queries(0, problem, query_rows), problem, key_rows);
}
