/* SPDX-License-Identifier: MIT */
/* What a run does on the device: task after task of its program, as packets come. */
#include "run_tasks.h"
#include "../base/checked.h"
#include "run.h"
#include "work.h"

static const struct task *task_at(const struct run *run)
{
    return run->at.task < run->program->count ? &run->program->tasks[run->at.task] : NULL;
}

uint32_t run_step(const struct run *run)
{
    const struct task *task = task_at(run);
    return task ? task->step : run->attended;
}

bool run_all_submitted(const struct run *run)
{
    return !task_at(run) && !run->adding;
}

const struct query_walk *run_walk_of(const struct vkring_plan *plan, enum task_kind kind)
{
    switch (kind) {
    case TASK_FORWARD:
        return &plan->forward;
    case TASK_ROW_STATS:
        return &plan->backward.row_stats;
    case TASK_QUERY:
        return &plan->backward.query;
    default:
        return NULL;
    }
}

/* What nobody asked for is left out, unless other ranks need it. */
static bool is_wanted(const struct run *run, const struct task *task)
{
    const bool travels = steps_of(run) > 1;
    switch (task->kind) {
    case TASK_SINKS:
        return run->queries.sink_grad.buffer;
    case TASK_QUERY:
    case TASK_QUERY_CLEAR:
    case TASK_QUERY_ROUND:
        return run->queries.query_grad.buffer;
    case TASK_BIAS_CLEAR:
    case TASK_BIAS_ROWS:
        return run->queries.bias_grad.buffer;
    case TASK_KEY:
        return travels || run->own.key_grad.buffer || run->own.value_grad.buffer ||
               (backward_is_joint(&run->plan->backward) && run->queries.query_grad.buffer);
    case TASK_BIAS_KEYS:
        return travels || run->own.bias_grad.buffer;
    case TASK_FORWARD:
    case TASK_ROW_STATS:
    case TASK_ADD:
        break;
    }
    return true;
}

struct tiling run_key_tiling(const struct run *run, const struct task *task, uint32_t key_span)
{
    const struct vkring_plan *plan = run->plan;
    struct tiling none = {0};
    const uint64_t keys = piece_key_span(&plan->layout, task, key_span)->rows;
    return keys ? backward_tiling(&plan->backward, plan->device, &plan->problem, &plan->layout, task->kind, keys) : none;
}

/* Not cut into boxes. */
static bool is_of_rows(enum task_kind kind)
{
    return kind == TASK_BIAS_CLEAR || kind == TASK_QUERY_CLEAR || kind == TASK_QUERY_ROUND;
}

uint64_t run_boxes_before(const struct run *run, const struct task *task, uint32_t key_span, uint64_t box)
{
    const struct query_walk *walk = run_walk_of(run->plan, task->kind);
    uint64_t boxes = box;
    if (task->kind == TASK_ADD || is_of_rows(task->kind))
        return 0;
    for (uint32_t span = 0; span < key_span; span++)
        boxes += walk ? walk->boxes : piece_boxes_of(task, run_key_tiling(run, task, span).boxes).count;
    return boxes;
}

static uint64_t boxes_of(const struct run *run, const struct task *task)
{
    return is_wanted(run, task) ? run_boxes_before(run, task, piece_key_spans(&run->plan->layout, task), 0) : 0;
}

uint64_t run_all_boxes(const struct run *run)
{
    uint64_t boxes = 0;
    for (uint64_t i = 0; i < run->program->count; i++)
        boxes += boxes_of(run, &run->program->tasks[i]);
    return boxes;
}

double run_computed_flop(const struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const bool joint = backward_is_joint(&plan->backward);
    double flop = 0;
    for (uint64_t i = 0; i < run->program->count; i++) {
        const struct task *task = &run->program->tasks[i];
        const double accesses = work_accesses(&plan->problem, &plan->layout, steps_of(run), task);
        if (is_wanted(run, task))
            flop += work_factor(task, joint) * work_flop(&plan->problem, plan->step_pairs[task->step]) +
                    accesses * plan->forward.choice.access_flop;
    }
    return flop;
}

static bool has_work(const struct run *run, const struct task *task)
{
    if (task->kind == TASK_ADD || is_of_rows(task->kind))
        return is_wanted(run, task);
    return boxes_of(run, task) > 0;
}

/* Past tasks without work. */
static void settle(struct run *run)
{
    while (task_at(run) && !has_work(run, task_at(run)))
        run->at.task++;
    run->attended = task_at(run) ? (uint32_t)max_u64(run->attended, task_at(run)->attended) : steps_of(run);
}

void run_first_task(struct run *run)
{
    run->at = (struct cursor){0};
    settle(run);
}

static void next_task(struct run *run)
{
    run->done_boxes += boxes_of(run, task_at(run));
    run->at = (struct cursor){.task = run->at.task + 1};
    settle(run);
}

/* Whether kernels can read the packet of a step. */
static enum vkring_status packet_ready(struct run *run, uint32_t step, bool *out_ready)
{
    *out_ready = step < run->arrived;
    if (step == 0 || !*out_ready)
        return VKRING_OK;
    return staging_uploaded(&run->plan->staging, step % STAGING_SLOTS, out_ready);
}

/* Of gradients of query rows. */
static enum vkring_status submit_rows(struct run *run, const struct task *task)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const struct problem *problem = &plan->problem;
    const struct tensor_view nothing = {0}, *from = &nothing, *to = &run->queries.query_grad;
    enum vkring_type type = VKRING_TYPE_F32;
    struct tensor_shape shape = tensors_query_shape(problem, run->queries.rows);
    if (task->kind == TASK_BIAS_CLEAR) {
        shape = tensors_bias_shape(problem, "bias_grad", run->queries.rows, problem->kv_len);
        type = problem->bias.type;
        to = &run->queries.bias_grad;
    } else if (task->kind == TASK_QUERY_ROUND) {
        type = problem->type;
        from = &run->queries.query_grad;
        to = &run->query_grad;
    }
    struct vk_commands commands;
    uint32_t slot;
    TRY(compute_begin(&plan->compute, true, &commands, &slot), fail);
    const struct compute_work work = {.kind = run_event_of(task->kind), .step = task->step, .progress = run->done_boxes};
    add_record(plan->device, &commands, gradients_adder(&plan->backward.gradients, type), &shape, from, &nothing, to);
    TRY(compute_submit(&plan->compute, &work, NULL, 0), fail);
    return VKRING_OK;
fail:
    return status;
}

/* What the task at the cursor can do now. out_moved: something. */
static enum vkring_status advance(struct run *run, bool *out_moved)
{
    enum vkring_status status;
    const struct task *task = task_at(run);
    bool ready;
    *out_moved = false;
    if (run->adding && task_is_of_sums(task->kind))
        return VKRING_OK;
    TRY(packet_ready(run, task->step, &ready), fail);
    if (!ready)
        return VKRING_OK;
    *out_moved = true;
    if (task->kind == TASK_ADD) {
        run->adding = task;
        next_task(run);
        return VKRING_OK;
    }
    if (is_of_rows(task->kind)) {
        TRY(submit_rows(run, task), fail);
        next_task(run);
        return VKRING_OK;
    }
    TRY(run_submit_dispatches(run, task), fail);
    if (piece_is_done(&run->plan->layout, task, &run->at.piece))
        next_task(run);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status run_submit_ready(struct run *run, bool *progress)
{
    enum vkring_status status;
    bool moved = true;
    while (moved && !run_all_submitted(run) && compute_has_room(&run->plan->compute)) {
        moved = false;
        if (run->adding) {
            TRY(run_submit_add(run, &moved), fail);
            if (moved)
                run->adding = NULL;
        }
        if (!moved && task_at(run))
            TRY(advance(run, &moved), fail);
        *progress = *progress || moved;
    }
    return VKRING_OK;
fail:
    return status;
}
