/* SPDX-License-Identifier: MIT */
#include "run.h"

/* Semaphores of a buffer are those of one use of it: each buffer counts once. */
static void list_buffer(struct run *run, const struct vkring_tensor *tensor)
{
    int used = 0;
    for (; run->buffers[used]; used++)
        if (run->buffers[used] == tensor->buffer)
            return;
    run->buffers[used] = tensor->buffer;
}

/* Tensors that the plan lacks may hold anything. */
static void list_forward(struct run *run, const struct vkring_forward_io *io)
{
    const struct problem *problem = &run->plan->problem;
    const struct {
        const struct vkring_tensor *tensor;
        bool used;
    } tensors[] = {{&io->query, true},
                   {&io->key, true},
                   {&io->value, true},
                   {&io->output, true},
                   {&io->lse, true},
                   {&io->lse_residual, true},
                   {&io->output_residual, problem->type != VKRING_TYPE_F32},
                   {&io->query_segment_ids, problem->segment_ids},
                   {&io->key_segment_ids, problem->segment_ids},
                   {&io->bias, problem->bias.present},
                   {&io->alibi_slopes, problem->alibi},
                   {&io->sinks, problem->sinks}};
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++)
        if (tensors[i].used && tensors[i].tensor->buffer)
            list_buffer(run, tensors[i].tensor);
}

static void list_gradients(struct run *run, const struct vkring_backward_io *io)
{
    const struct vkring_tensor *const tensors[] = {&io->output_grad, &io->query_grad, &io->key_grad,
                                                   &io->value_grad,  &io->bias_grad,  &io->sink_grad};
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++)
        if (tensors[i]->buffer)
            list_buffer(run, tensors[i]);
}

/* What both passes do with their tensors. */
static void place(struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const struct layout *layout = &plan->layout;
    if (plan->problem.segment_ids) {
        run->queries.segments = segment_table_view(plan->query_segments, run->queries.rows);
        run->own.segments = segment_table_view(plan->key_segments, run->own.keys);
    }
    for (uint32_t i = 0; i < layout->queries.count; i++) {
        const struct layout_span *span = layout_span_of(&layout->queries, layout->rank, i);
        run->queries_of_span[i] = run->queries;
        run->queries_of_span[i].query_row = layout_span_origin(span);
        run->queries_of_span[i].query_stride = span->stride;
    }
    run->alignment = tensors_alignment(&plan->problem, &run->queries, &run->own);
}

enum vkring_status run_check_usable(const struct vkring_plan *plan)
{
    if (plan->failed)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the plan broke off in an earlier run and can only be destroyed");
    return VKRING_OK;
}

enum vkring_status run_resolve_forward(struct run *run, const struct vkring_forward_io *io)
{
    enum vkring_status status;
    const struct vkring_plan *plan = run->plan;
    const struct layout *layout = &plan->layout;
    TRY(tensors_resolve_forward(&plan->problem, io, layout_query_rows(layout, layout->rank), layout_key_rows(layout, layout->rank),
                                &run->queries, &run->own),
        fail);
    TRY(tensors_check_device(plan->device, &run->queries, &run->own), fail);
    if (plan->problem.int8_keys)
        TRY(tensors_resolve_scales(&plan->problem, &plan->key_scales, &plan->value_scales, run->own.keys, &run->own), fail);
    if (kernel_choice_packed_heads(&plan->forward.choice) > 1)
        TRY(tensors_check_near_heads(&run->queries), fail);
    place(run);
    list_forward(run, io);
    return VKRING_OK;
fail:
    return status;
}

/* Kernels write to a place of the plan's first; returns where the application wants it. */
static struct tensor_view redirect(struct tensor_view *view, struct tensor_view place_of_plan)
{
    const struct tensor_view wanted = *view;
    *view = place_of_plan;
    return wanted;
}

/* What is summed before it is written. */
static void redirect_sums(struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const bool is_rounded = backward_is_joint(&plan->backward) && plan->problem.type != VKRING_TYPE_F32;
    if (is_rounded && run->queries.query_grad.buffer)
        run->query_grad = redirect(&run->queries.query_grad, backward_query_sums_view(&plan->backward, &plan->problem, run->queries.rows));
    if (plan->backward.sinks_here)
        run->sink_grad = redirect(&run->queries.sink_grad, backward_sinks_view(&plan->backward));
}

enum vkring_status run_resolve_backward(struct run *run, const struct vkring_backward_io *io)
{
    enum vkring_status status;
    const struct vkring_plan *plan = run->plan;
    const struct layout *layout = &plan->layout;
    TRY(tensors_resolve_backward(&plan->problem, io, layout_query_rows(layout, layout->rank), layout_key_rows(layout, layout->rank),
                                 &run->queries, &run->own),
        fail);
    TRY(tensors_check_device(plan->device, &run->queries, &run->own), fail);
    run->queries.row_stats = backward_row_stats_view(&plan->backward, &plan->problem, run->queries.rows);
    redirect_sums(run);
    place(run);
    list_forward(run, &io->forward);
    list_gradients(run, io);
    return VKRING_OK;
fail:
    return status;
}
