/* SPDX-License-Identifier: MIT */
/* Backward on one device: stage after stage, each box of a stage over all of the other side before the next box. */
#include "../base/checked.h"
#include "run.h"

/* A stage whose results nobody wants is left out; what later stages read is always wanted. */
static bool is_wanted(const struct run *run, enum backward_stage_kind kind)
{
    switch (kind) {
    case STAGE_QUERY:
        return run->queries.query_grad.buffer;
    case STAGE_KEY:
        return run->own.key_grad.buffer || run->own.value_grad.buffer;
    case STAGE_BIAS:
        return run->queries.bias_grad.buffer || run->own.bias_grad.buffer;
    case STAGE_SINK:
        return run->queries.sink_grad.buffer;
    case STAGE_ROW_STATS:
    case BACKWARD_STAGES:
        break;
    }
    return true;
}

static uint64_t boxes_of(const struct run *run, enum backward_stage_kind kind)
{
    return is_wanted(run, kind) ? run->plan->backward.stages[kind].tiling.boxes : 0;
}

static uint64_t all_boxes(const struct run *run)
{
    uint64_t boxes = 0;
    for (int kind = 0; kind < BACKWARD_STAGES; kind++)
        boxes += boxes_of(run, (enum backward_stage_kind)kind);
    return boxes;
}

/* Past stages without work. */
static void skip_stages(struct run *run)
{
    while (run->at.stage < BACKWARD_STAGES && run->at.box == boxes_of(run, (enum backward_stage_kind)run->at.stage)) {
        run->at.box = 0;
        run->at.stage++;
    }
}

static bool all_submitted(const struct run *run)
{
    return run->at.stage == BACKWARD_STAGES;
}

/* Of the other side, what any row of the box keeps by position. */
static struct mask_range kept_others(const struct run *run, const struct tiling_box *box)
{
    const struct problem *problem = &run->plan->problem;
    const struct mask_block of_queries = {box->first_row, box->rows, 0, problem->kv_len};
    const struct mask_block of_keys = {0, problem->q_len, box->first_row, box->rows};
    switch ((enum backward_stage_kind)run->at.stage) {
    case STAGE_QUERY:
        return mask_kept_keys(problem, &of_queries);
    case STAGE_KEY:
        return mask_kept_rows(problem, &of_keys);
    case STAGE_BIAS:
        return (struct mask_range){0, problem->q_len};
    case STAGE_ROW_STATS:
    case STAGE_SINK:
    case BACKWARD_STAGES:
        break;
    }
    return (struct mask_range){0};
}

/* The piece of the other side that the cursor's box meets next. */
static struct attention_dispatch make_dispatch(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    const struct backward_stage *stage = &plan->backward.stages[run->at.stage];
    struct tiling_box box = tiling_box_at(&stage->tiling, run->at.box);
    const struct mask_range kept = kept_others(run, &box);
    const uint64_t first = max_u64(kept.first, run->at.first_key);
    const uint64_t end = min_u64(kept.end, first + stage->tiling.keys);
    box.first_workgroup = 0; /* the state is of one box */
    run->at.first_key = end < kept.end ? end : 0;
    run->at.box += end == kept.end;
    return (struct attention_dispatch){
        .problem = &plan->problem,
        .queries = &run->queries,
        .keys = &run->own,
        .side = backward_side((enum backward_stage_kind)run->at.stage),
        .box = box,
        .other_first = first,
        .others = end - first,
        .first = first == kept.first,
        .last = end == kept.end,
        .state_address = plan->backward.state->address,
        .state_bytes_per_workgroup = stage->kernel.state_bytes_per_workgroup,
    };
}

/* As many dispatches of a stage as should take dispatch_seconds, at least one. */
static enum vkring_status submit_piece(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const uint32_t stage = run->at.stage;
    const struct attention_kernel *kernel = &plan->backward.stages[stage].kernel;
    const double budget = compute_budget(&plan->compute, plan->dispatch_seconds, kernel_device_flops(plan->device));
    struct vk_commands commands;
    double flop = 0;
    uint32_t slot, count = 0;
    TRY(compute_begin(&plan->compute, true, &commands, &slot), fail);
    run_record_segments(run, &commands, &run->own);
    while (run->at.stage == stage && count < COMPUTE_DISPATCHES) {
        const struct cursor here = run->at;
        const struct attention_dispatch dispatch = make_dispatch(run);
        const double more = attention_kernel_flop(kernel->which, &dispatch);
        if (count > 0 && flop + more > budget) {
            run->at = here;
            break;
        }
        if (count > 0)
            vk_commands_barrier(plan->device, &commands); /* boxes share the state */
        attention_kernel_record(plan->device, &commands, kernel, run->aligned, &dispatch, plan->arguments,
                                slot * COMPUTE_DISPATCHES + count++);
        flop += more;
        run->done_boxes += run->at.box - here.box;
        skip_stages(run);
    }
    TRY(compute_submit(&plan->compute, flop, run->done_boxes, NULL, 0), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status submit_ready(struct run *run, bool *progress)
{
    enum vkring_status status;
    while (!all_submitted(run) && compute_has_room(&run->plan->compute)) {
        TRY(submit_piece(run), fail);
        *progress = true;
    }
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status prepare_kernels(const struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    for (int kind = 0; kind < BACKWARD_STAGES; kind++)
        if (boxes_of(run, (enum backward_stage_kind)kind) > 0)
            TRY(attention_kernel_prepare(plan->device, &plan->problem, run->aligned, &plan->backward.stages[kind].kernel), fail);
    return VKRING_OK;
fail:
    return status;
}

static struct tensor_view row_stats_view(const struct vkring_plan *plan)
{
    const struct problem *problem = &plan->problem;
    return (struct tensor_view){
        .buffer = plan->backward.row_stats,
        .address = plan->backward.row_stats->address,
        .batch_stride = problem->heads * problem->q_len * ROW_STATS_BYTES,
        .head_stride = problem->q_len * ROW_STATS_BYTES,
        .row_stride = ROW_STATS_BYTES,
    };
}

enum vkring_status vkring_backward(vkring_plan *plan, const struct vkring_backward_io *io)
{
    static const struct run_work work = {submit_ready, all_submitted, 2.5};
    enum vkring_status status;
    struct run run = {.plan = plan, .work = &work, .segments_step = VKRING_NONE};
    if (!plan->problem.backward)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the plan was made without backward");
    TRY(run_resolve_backward(&run, io), fail);
    run.queries.row_stats = row_stats_view(plan);
    TRY(prepare_kernels(&run), fail);
    skip_stages(&run);
    return run_execute(&run, all_boxes(&run));
fail:
    return status;
}
