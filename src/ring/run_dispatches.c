/* SPDX-License-Identifier: MIT */
/* Pieces of tasks as dispatches: what each is about, what is recorded before and after it, and how many go to the device at once. */
#include "../vk/device_speed.h"
#include "run.h"
#include "run_tasks.h"

static const struct attention_kernel *kernel_of(const struct vkring_plan *plan, enum task_kind kind)
{
    switch (kind) {
    case TASK_SINKS:
        return &plan->backward.sinks;
    case TASK_BIAS_ROWS:
    case TASK_BIAS_KEYS:
        return &plan->backward.bias;
    case TASK_KEY:
        return &plan->backward.key;
    default:
        return &run_walk_of(plan, kind)->kernel;
    }
}

/* At most of a piece: key gradients, and the query gradients that follow from them; splits of keys, and their merge. */
#define DISPATCHES_OF_PIECE 2u

/* A piece of a task as the device gets it. */
struct job {
    struct attention_dispatch dispatch;
    struct query_tensors queries; /* that it is about */
    struct key_tensors keys;      /* the same */
    bool again;                   /* boxes that it had before come again, with other keys */
};

/* The keys of a step, where kernels find them, at the positions of a span. */
static struct key_tensors keys_of(const struct run *run, const struct task *task, uint32_t key_span)
{
    struct vkring_plan *plan = run->plan;
    const struct layout_span *span = piece_key_span(&plan->layout, task, key_span);
    const uint64_t key_row = layout_span_origin(span);
    struct key_tensors keys = run->own;
    keys.key_row = key_row;
    if (task->step > 0) {
        const struct packet_shape shape = shape_at(run, task->step);
        keys = staging_keys(&plan->staging, task->step % STAGING_SLOTS, &shape, key_row);
        if (plan->problem.segment_ids)
            keys.segments = segment_table_view(plan->key_segments, keys.keys);
    }
    keys.key_stride = span->stride;
    if (task_writes_partial(task->kind)) {
        const struct packet_shape shape = gradient_shape_of(&plan->problem, steps_of(run) > 1, keys.keys);
        gradients_place(&plan->backward.gradients, &shape, task->step == 0, &keys);
    }
    return keys;
}

static enum dispatch_side side_of(enum task_kind kind)
{
    switch (kind) {
    case TASK_SINKS:
        return OWN_HEADS;
    case TASK_KEY:
        return OWN_KEYS;
    case TASK_BIAS_ROWS:
    case TASK_BIAS_KEYS:
        return OWN_BIAS;
    default:
        return OWN_QUERIES;
    }
}

static bool take(const struct run *run, const struct task *task, struct piece_cursor *at, struct piece *piece)
{
    const struct vkring_plan *plan = run->plan;
    const struct query_walk *walk = run_walk_of(plan, task->kind);
    if (task->kind == TASK_ROW_STATS)
        return piece_take_rows(&plan->layout, task, walk, at, piece);
    if (walk)
        return piece_take_of_queries(&plan->problem, &plan->layout, task, walk, at, piece);
    const struct tiling tiling = run_key_tiling(run, task, at->key_span);
    return piece_take_of_keys(&plan->problem, &plan->layout, task, &tiling, at, piece);
}

/* What kernels of a task go through again and again, of the step's keys; in key gradients it is what query gradients follow from. */
static struct by_head_tensors copied_keys(const struct run *run, enum task_kind kind, struct key_tensors *keys)
{
    const struct vkring_plan *plan = run->plan;
    const bool sums_queries = kind == TASK_KEY && backward_is_joint(&plan->backward) && run->queries.query_grad.buffer;
    struct by_head_tensors tensors = by_head_of_keys(&plan->problem, keys);
    if (!plan->keys_by_head.buffer)
        tensors.count = 0;
    else if (kind != TASK_FORWARD && kind != TASK_QUERY)
        tensors.count = sums_queries ? 1 : 0;
    return tensors;
}

/* The same, of this rank's rows. */
static struct by_head_tensors copied_queries(const struct run *run, enum task_kind kind, struct query_tensors *queries)
{
    struct by_head_tensors tensors = by_head_of_queries(&run->plan->problem, queries);
    if (!run->plan->queries_by_head.buffer || kind != TASK_KEY)
        tensors.count = 0;
    return tensors;
}

static void read_copies(const struct run *run, enum task_kind kind, struct job *job)
{
    const struct by_head_tensors keys = copied_keys(run, kind, &job->keys), queries = copied_queries(run, kind, &job->queries);
    by_head_place(&run->plan->keys_by_head, &keys);
    by_head_place(&run->plan->queries_by_head, &queries);
}

static void place(const struct run *run, const struct task *task, const struct piece *piece, struct job *job)
{
    const struct vkring_plan *plan = run->plan;
    const bool of_queries = run_walk_of(plan, task->kind) != NULL;
    job->keys = task->kind == TASK_ROW_STATS ? run->own : keys_of(run, task, piece->key_span);
    job->queries = run->queries_of_span[piece->query_span];
    read_copies(run, task->kind, job);
    job->dispatch = (struct attention_dispatch){
        .problem = &plan->problem,
        .queries = &job->queries,
        .keys = &job->keys,
        .side = side_of(task->kind),
        .box = piece->box,
        .other_first = piece->other_first,
        .others = piece->others,
        .first = piece->first,
        .last = piece->last,
        .state_address = of_queries ? plan->state->address : plan->backward.state->address,
        .split_keys = of_queries ? run_walk_of(plan, task->kind)->choice.split.keys : 0,
        .state_bytes_per_workgroup = kernel_of(plan, task->kind)->state_bytes_per_workgroup,
    };
    if (task->kind == TASK_KEY && backward_is_joint(&plan->backward))
        backward_keep_score_grads(&plan->backward, &job->dispatch);
}

/* The next dispatch of the task; false: there is no more. */
static bool next_dispatch(struct run *run, const struct task *task, struct job *job)
{
    struct piece_cursor *at = &run->at.piece;
    struct piece piece;
    const bool of_queries = run_walk_of(run->plan, task->kind) != NULL;
    job->again = !of_queries;
    while (!piece_is_done(&run->plan->layout, task, at)) {
        const bool taken = take(run, task, at, &piece);
        job->again = job->again || at->box == 0;
        if (taken) {
            place(run, task, &piece, job);
            return true;
        }
    }
    return false;
}

/* Tables of segment ids before anything reads them: queries' ranges once a run, the rest once a step. */
static void record_segments(struct run *run, const struct vk_commands *commands, uint32_t step, const struct key_tensors *keys)
{
    const struct vkring_plan *plan = run->plan;
    const uint64_t batch = plan->problem.batch;
    const struct segment_side queries = {run->queries.ids, run->queries.segments, run->queries.rows};
    const struct segment_side others = {keys->ids, keys->segments, keys->keys};
    if (!plan->problem.segment_ids || run->segments_step == step)
        return;
    if (run->segments_step == VKRING_NONE)
        segment_ranges_record(plan->device, commands, &plan->segments, batch, &queries);
    segment_ranges_record(plan->device, commands, &plan->segments, batch, &others);
    vk_commands_barrier(plan->device, commands);
    segment_bounds_record(plan->device, commands, &plan->segments, batch, &queries, &others);
    if (plan->problem.backward)
        segment_bounds_record(plan->device, commands, &plan->segments, batch, &others, &queries);
    vk_commands_barrier(plan->device, commands);
    run->segments_step = step;
}

/* Keys once a step, after all that reads the copy of the one before; queries once a run. */
static void record_copies(struct run *run, const struct vk_commands *commands, const struct task *task)
{
    const struct vkring_plan *plan = run->plan;
    if (!plan->keys_by_head.buffer && !plan->queries_by_head.buffer)
        return;
    struct key_tensors step_keys = keys_of(run, task, 0);
    const struct by_head_tensors keys = copied_keys(run, task->kind, &step_keys);
    const struct by_head_tensors queries = copied_queries(run, task->kind, &run->queries);
    const bool copies_keys = keys.count > 0 && run->copied_step != task->step;
    const bool copies_queries = queries.count > 0 && !run->queries_copied;
    if (copies_keys) {
        by_head_record(plan->device, commands, &plan->keys_by_head, &keys);
        run->copied_step = task->step;
    }
    if (copies_queries) {
        by_head_record(plan->device, commands, &plan->queries_by_head, &queries);
        run->queries_copied = true;
    }
    if (copies_keys || copies_queries)
        vk_commands_barrier(plan->device, commands);
}

enum vkring_event_kind run_event_of(enum task_kind kind)
{
    switch (kind) {
    case TASK_FORWARD:
        return VKRING_EVENT_FORWARD;
    case TASK_ROW_STATS:
        return VKRING_EVENT_ROW_STATS;
    case TASK_SINKS:
        return VKRING_EVENT_SINK_GRADIENT;
    case TASK_BIAS_CLEAR:
    case TASK_BIAS_ROWS:
    case TASK_BIAS_KEYS:
        return VKRING_EVENT_BIAS_GRADIENT;
    case TASK_QUERY:
    case TASK_QUERY_CLEAR:
    case TASK_QUERY_ROUND:
        return VKRING_EVENT_QUERY_GRADIENT;
    case TASK_KEY:
        return VKRING_EVENT_KEY_GRADIENT;
    case TASK_ADD:
        break;
    }
    return VKRING_EVENT_SUM;
}

/* Arguments of what is submitted together. */
struct argument_slots {
    uint64_t first;
    uint32_t used;
};

/* After key gradients that left the gradients of scores. */
static void record_query_sum(struct run *run, const struct vk_commands *commands, const struct attention_dispatch *of_keys,
                             struct argument_slots *slots)
{
    const struct vkring_plan *plan = run->plan;
    if (!of_keys->score_grads.address || !run->queries.query_grad.buffer || of_keys->others == 0)
        return;
    const struct attention_dispatch dispatch = backward_query_sum(&plan->backward, of_keys);
    vk_commands_barrier(plan->device, commands);
    attention_kernel_record(plan->device, commands, &plan->backward.query_sum, run->alignment, &dispatch, plan->arguments,
                            slots->first + slots->used++);
}

/* Boxes that were split are not written before their merge. */
static void record_own(struct run *run, const struct vk_commands *commands, const struct task *task,
                       const struct attention_dispatch *dispatch, struct argument_slots *slots)
{
    const struct vkring_plan *plan = run->plan;
    const bool merges = dispatch->last && dispatch->box.splits > 1;
    struct attention_dispatch own = *dispatch;
    own.last = dispatch->last && !merges;
    attention_kernel_record(plan->device, commands, kernel_of(plan, task->kind), run->alignment, &own, plan->arguments,
                            slots->first + slots->used++);
    if (!merges)
        return;
    vk_commands_barrier(plan->device, commands);
    attention_kernel_record(plan->device, commands, &run_walk_of(plan, task->kind)->merge, run->alignment, dispatch, plan->arguments,
                            slots->first + slots->used++);
}

/* As many dispatches as should take dispatch_seconds, at least the one at hand. */
static enum vkring_status submit_job(struct run *run, const struct task *task, struct job *job)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const struct attention_kernel *kernel = kernel_of(plan, task->kind);
    const double budget = compute_budget(&plan->compute, plan->dispatch_seconds, vk_device_flops(plan->device));
    struct vk_commands commands;
    struct vk_semaphore_value wait = {0};
    struct cursor here;
    double more = attention_kernel_flop(kernel, &job->dispatch), flop = 0;
    uint32_t slot;
    if (task->step > 0)
        wait = staging_wait(&plan->staging, task->step % STAGING_SLOTS);
    TRY(compute_begin(&plan->compute, true, &commands, &slot), fail);
    record_segments(run, &commands, task->step, &job->keys);
    record_copies(run, &commands, task);
    struct argument_slots slots = {(uint64_t)slot * COMPUTE_DISPATCHES, 0};
    do {
        if (slots.used > 0 && job->again)
            vk_commands_barrier(plan->device, &commands); /* boxes share a state, or go on with theirs */
        record_own(run, &commands, task, &job->dispatch, &slots);
        record_query_sum(run, &commands, &job->dispatch, &slots);
        flop += more;
        here = run->at;
        if (slots.used + DISPATCHES_OF_PIECE > COMPUTE_DISPATCHES || !next_dispatch(run, task, job))
            break;
        more = attention_kernel_flop(kernel, &job->dispatch);
        if (flop + more > budget)
            run->at = here;
    } while (flop + more <= budget);
    const uint64_t done = run->done_boxes + run_boxes_before(run, task, run->at.piece.key_span, run->at.piece.box);
    const struct compute_work work = {.kind = run_event_of(task->kind), .step = task->step, .flop = flop, .progress = done};
    TRY(compute_submit(&plan->compute, &work, &wait, wait.semaphore ? 1 : 0), fail);
    if (task->step > 0)
        run->step_value[task->step % STAGING_SLOTS] = plan->compute.timeline.submitted;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status run_submit_dispatches(struct run *run, const struct task *task)
{
    struct job job;
    return next_dispatch(run, task, &job) ? submit_job(run, task, &job) : VKRING_OK;
}
