/* SPDX-License-Identifier: MIT */
#include "tensor_bytes.h"

#include "packet_shape.h"

/* The products were checked with the problem. */
static uint64_t query_bytes(const struct problem *problem, uint64_t rows)
{
    const uint64_t element = vkring_type_bytes(problem->type), all_rows = problem->batch * problem->heads * rows;
    const uint64_t query = all_rows * problem->head_dim * element, output = all_rows * problem->value_dim * element;
    uint64_t bytes = query + output + (problem->segment_ids ? problem->batch * rows * sizeof(int32_t) : 0);
    if (problem->backward) {
        bytes += query + output;                                /* gradients */
        bytes += 2 * all_rows * sizeof(float);                  /* lse and its residual */
        bytes += problem->type == VKRING_TYPE_F32 ? 0 : output; /* its residual */
    }
    if (problem->bias.present && problem->bias.per_query) {
        const struct tensor_shape bias = tensors_bias_shape(problem, "bias", rows, problem->kv_len);
        bytes += bias.batch * bias.rows * bias.heads * bias.dim * bias.element_bytes * (problem->backward ? 2 : 1);
    }
    return bytes;
}

/* As a packet has them. */
static uint64_t key_bytes(const struct problem *problem, uint64_t rows)
{
    const struct packet_shape shape = packet_shape_of(problem, rows);
    uint64_t bytes = 0;
    for (int part = 0; part < PACKET_PARTS; part++)
        bytes += shape.part_bytes[part] * (problem->backward && part != KEY_PART_IDS ? 2 : 1);
    return bytes;
}

uint64_t tensor_bytes(const struct problem *problem, uint64_t query_rows, uint64_t key_rows)
{
    return query_bytes(problem, query_rows) + key_bytes(problem, key_rows);
}
