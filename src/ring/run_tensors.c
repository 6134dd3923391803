/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "run.h"

enum vkring_status run_resolve_tensors(struct run *run, const struct vkring_forward_io *io)
{
    enum vkring_status status;
    const struct vkring_plan *plan = run->plan;
    const struct problem *problem = &plan->problem;
    const uint64_t query_rows = layout_query_rows(&plan->layout, plan->layout.rank);
    const uint64_t key_rows = layout_key_rows(&plan->layout, plan->layout.rank);
    const struct tensor_shape query = shape_of(problem, "query", query_rows, problem->heads, problem->head_dim);
    const struct tensor_shape key = shape_of(problem, "key", key_rows, problem->kv_heads, problem->head_dim);
    const struct tensor_shape value = shape_of(problem, "value", key_rows, problem->kv_heads, problem->value_dim);
    const struct tensor_shape output = shape_of(problem, "output", query_rows, problem->heads, problem->value_dim);

    TRY(tensor_resolve(&io->query, &query, &run->tensors.query), fail);
    TRY(tensor_resolve(&io->key, &key, &run->own.key), fail);
    TRY(tensor_resolve(&io->value, &value, &run->own.value), fail);
    TRY(tensor_resolve(&io->output, &output, &run->tensors.output), fail);
    TRY(tensor_check_distinct(&run->tensors.output, &output), fail);
    TRY(lse_resolve(&io->lse, problem->batch, problem->heads, query_rows, &run->tensors.lse), fail);
    run->own.key_row = plan->layout.first_key_row[plan->layout.rank];
    run->own.keys = key_rows;
    run->aligned = forward_tensors_aligned(problem, &run->tensors) && forward_keys_aligned(problem, &run->own);
    vkring_buffer *buffers[] = {io->query.buffer, io->key.buffer, io->value.buffer, io->output.buffer, io->lse.buffer};
    memcpy(run->buffers, buffers, sizeof(buffers));
    return VKRING_OK;
fail:
    return status;
}
