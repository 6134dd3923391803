/* SPDX-License-Identifier: MIT */
/* What a run does on the device: task after task of its program, box after box of each, as packets come. */
#include "../base/checked.h"
#include "run.h"

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

/* Tasks ------------------------------------------------------------------------------------------------------------------ */

/* Their lanes own query rows: of these each box is cut alike at all steps. */
static const struct query_walk *walk_of(const struct vkring_plan *plan, enum task_kind kind)
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
        return &walk_of(plan, kind)->kernel;
    }
}

static bool writes_partial(enum task_kind kind)
{
    return kind == TASK_KEY || kind == TASK_BIAS_KEYS;
}

/* What nobody asked for is left out, unless other ranks need it. */
static bool is_wanted(const struct run *run, const struct task *task)
{
    const bool travels = steps_of(run) > 1;
    switch (task->kind) {
    case TASK_SINKS:
        return run->queries.sink_grad.buffer;
    case TASK_QUERY:
        return run->queries.query_grad.buffer;
    case TASK_BIAS_CLEAR:
    case TASK_BIAS_ROWS:
        return run->queries.bias_grad.buffer;
    case TASK_KEY:
        return travels || run->own.key_grad.buffer || run->own.value_grad.buffer;
    case TASK_BIAS_KEYS:
        return travels || run->own.bias_grad.buffer;
    case TASK_FORWARD:
    case TASK_ROW_STATS:
    case TASK_ADD:
        break;
    }
    return true;
}

static const struct layout_span *key_span_at(const struct run *run, const struct task *task, uint32_t key_span)
{
    static const struct layout_span of_heads[LAYOUT_SPANS] = {{.rows = 1}};
    const struct layout *layout = &run->plan->layout;
    return task->kind == TASK_SINKS ? &of_heads[key_span] : layout_span_of(&layout->keys, layout_origin(layout, task->step), key_span);
}

static struct tiling key_tiling(const struct run *run, const struct task *task, uint32_t key_span)
{
    const struct vkring_plan *plan = run->plan;
    struct tiling none = {0};
    const uint64_t keys = key_span_at(run, task, key_span)->rows;
    return keys ? backward_tiling(&plan->backward, plan->device, &plan->problem, &plan->layout, task->kind, keys) : none;
}

/* How many boxes of a task come before a place in it. */
static uint64_t boxes_before(const struct run *run, const struct task *task, uint32_t key_span, uint64_t box)
{
    const struct query_walk *walk = walk_of(run->plan, task->kind);
    uint64_t boxes = box;
    if (task->kind == TASK_ADD || task->kind == TASK_BIAS_CLEAR)
        return 0;
    for (uint32_t span = 0; span < key_span; span++)
        boxes += walk ? walk->boxes : key_tiling(run, task, span).boxes;
    return boxes;
}

static uint64_t boxes_of(const struct run *run, const struct task *task)
{
    return is_wanted(run, task) ? boxes_before(run, task, LAYOUT_SPANS, 0) : 0;
}

uint64_t run_all_boxes(const struct run *run)
{
    uint64_t boxes = 0;
    for (uint64_t i = 0; i < run->program->count; i++)
        boxes += boxes_of(run, &run->program->tasks[i]);
    return boxes;
}

static bool has_work(const struct run *run, const struct task *task)
{
    if (task->kind == TASK_ADD || task->kind == TASK_BIAS_CLEAR)
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

static bool task_is_done(const struct run *run)
{
    return run->at.key_span == LAYOUT_SPANS;
}

/* Dispatches ------------------------------------------------------------------------------------------------------------- */

struct piece {
    struct attention_dispatch dispatch;
    struct key_tensors keys; /* that it is about */
    bool again;              /* boxes that it had before come again, with other keys */
};

/* The keys of a step, where kernels find them, at the positions of a span. */
static struct key_tensors keys_of(const struct run *run, const struct task *task, uint32_t key_span)
{
    struct vkring_plan *plan = run->plan;
    const uint64_t key_row = layout_span_origin(key_span_at(run, task, key_span));
    struct key_tensors keys = run->own;
    keys.key_row = key_row;
    if (task->step > 0) {
        const struct packet_shape shape = shape_at(run, task->step);
        keys = staging_keys(&plan->staging, task->step % STAGING_SLOTS, &shape, key_row);
        if (plan->problem.segment_ids)
            keys.segments = segment_table_view(plan->key_segments, keys.keys);
    }
    if (writes_partial(task->kind)) {
        const struct packet_shape shape = gradient_shape_of(&plan->problem, steps_of(run) > 1, keys.keys);
        gradients_place(&plan->backward.gradients, &shape, &keys);
    }
    return keys;
}

static void next_box_of_queries(struct run *run, const struct query_walk *walk, uint64_t keys)
{
    struct cursor *at = &run->at;
    if (++at->box < walk->boxes)
        return;
    at->box = 0;
    at->first_other += walk->block_keys;
    if (at->first_other < keys)
        return;
    at->first_other = 0;
    at->key_span++;
}

/* Rows alone: each box once. */
static bool take_rows(struct run *run, const struct query_walk *walk, struct piece *piece)
{
    const struct vkring_plan *plan = run->plan;
    const struct query_box box = query_walk_box(walk, &plan->layout, run->at.box);
    piece->keys = run->own;
    piece->dispatch = (struct attention_dispatch){
        .problem = &plan->problem,
        .queries = &run->queries_of_span[box.span],
        .box = box.rows,
        .first = true,
        .last = true,
    };
    run->at.key_span = ++run->at.box == walk->boxes ? LAYOUT_SPANS : 0;
    return true;
}

/* Boxes of queries, over a block of keys each time. */
static bool take_of_queries(struct run *run, const struct task *task, const struct query_walk *walk, struct piece *piece)
{
    const struct vkring_plan *plan = run->plan;
    const struct cursor at = run->at;
    const struct layout_span *span = key_span_at(run, task, at.key_span);
    const step_span now = (step_span)task->step * LAYOUT_SPANS + at.key_span;
    const struct box_steps *steps = &walk->box_steps[at.box];
    const struct query_box box = query_walk_box(walk, &plan->layout, at.box);
    const struct mask_range kept =
        query_box_kept_keys(&box, &plan->problem, &plan->layout, layout_origin(&plan->layout, task->step), at.key_span);
    const uint64_t block = span->local + at.first_other;
    const uint64_t first = max_u64(kept.first, block);
    const uint64_t end = min_u64(kept.end, block + walk->block_keys);
    const bool keeps_nothing = kept.end == 0 && now == steps->first && at.first_other == 0;

    next_box_of_queries(run, walk, span->rows);
    piece->again = piece->again || run->at.box == 0;
    if (first >= end && !keeps_nothing)
        return false;
    piece->keys = keys_of(run, task, at.key_span);
    piece->dispatch = (struct attention_dispatch){
        .problem = &plan->problem,
        .queries = &run->queries_of_span[box.span],
        .side = OWN_QUERIES,
        .box = box.rows,
        .other_first = first < end ? first : 0,
        .others = first < end ? end - first : 0,
        .first = now == steps->first && first == kept.first,
        .last = now == steps->last && end == kept.end,
        .state_address = plan->state->address,
        .state_bytes_per_workgroup = walk->kernel.state_bytes_per_workgroup,
    };
    return true;
}

/* The query rows of a span that any key of a box keeps by position; all of them where that does not matter. */
static struct mask_range kept_rows(const struct run *run, const struct task *task, const struct tiling_box *box, uint32_t query_span)
{
    const struct vkring_plan *plan = run->plan;
    const struct layout_span *queries = layout_span_of(&plan->layout.queries, plan->layout.rank, query_span);
    const struct layout_span *keys = key_span_at(run, task, run->at.key_span);
    const struct mask_block block = {queries->first, queries->rows, layout_span_origin(keys) + box->first_row, box->rows};
    struct mask_range kept = {0, queries->rows};
    if (writes_partial(task->kind))
        kept = mask_kept_rows(&plan->problem, &block);
    return kept.first < kept.end ? (struct mask_range){queries->local + kept.first, queries->local + kept.end} : (struct mask_range){0};
}

/* Past rows before `end` of those of a query span. */
static void next_rows(struct run *run, uint64_t end, const struct mask_range *kept)
{
    struct cursor *at = &run->at;
    at->first_other = end < kept->end ? end : 0;
    if (at->first_other)
        return;
    if (++at->query_span < LAYOUT_SPANS)
        return;
    at->query_span = 0;
    at->box++;
}

static enum dispatch_side side_of(enum task_kind kind)
{
    return kind == TASK_SINKS ? OWN_HEADS : kind == TASK_KEY ? OWN_KEYS : OWN_BIAS;
}

/* Boxes of keys, each over the query rows of all spans before the next box. One that keeps none is written from none. */
static bool take_of_keys(struct run *run, const struct task *task, struct piece *piece)
{
    struct vkring_plan *plan = run->plan;
    struct cursor *at = &run->at;
    const struct layout_span *span = key_span_at(run, task, at->key_span);
    const struct tiling tiling = key_tiling(run, task, at->key_span);
    if (at->box >= tiling.boxes) {
        at->box = 0;
        at->key_span++;
        return false;
    }
    struct tiling_box box = tiling_box_at(&tiling, at->box);
    box.first_row += span->local;
    box.first_workgroup = 0; /* the state is of one box */
    struct mask_range kept[LAYOUT_SPANS];
    uint32_t first_span = 0, last_span = 0;
    for (uint32_t i = LAYOUT_SPANS; i-- > 0;) {
        kept[i] = kept_rows(run, task, &box, i);
        first_span = kept[i].end ? i : first_span;
        last_span = kept[i].end && last_span == 0 ? i : last_span;
    }
    const struct mask_range here = kept[at->query_span];
    const uint32_t query_span = at->query_span;
    const uint64_t first = max_u64(here.first, at->first_other), end = min_u64(here.end, first + tiling.keys);
    next_rows(run, end, &here);
    if (first >= end && query_span != first_span)
        return false;
    piece->keys = keys_of(run, task, at->key_span);
    piece->dispatch = (struct attention_dispatch){
        .problem = &plan->problem,
        .queries = &run->queries_of_span[query_span],
        .side = side_of(task->kind),
        .box = box,
        .other_first = first,
        .others = end - first,
        .first = query_span == first_span && first == here.first,
        .last = query_span == last_span && end == here.end,
        .state_address = plan->backward.state->address,
        .state_bytes_per_workgroup = kernel_of(plan, task->kind)->state_bytes_per_workgroup,
    };
    return true;
}

/* What is to do at the cursor, which moves past it; false: nothing. */
static bool take(struct run *run, const struct task *task, struct piece *piece)
{
    const struct query_walk *walk = walk_of(run->plan, task->kind);
    if (task->kind == TASK_ROW_STATS)
        return take_rows(run, walk, piece);
    return walk ? take_of_queries(run, task, walk, piece) : take_of_keys(run, task, piece);
}

/* The next dispatch of the task; false: there is no more. */
static bool next_dispatch(struct run *run, const struct task *task, struct piece *piece)
{
    piece->again = walk_of(run->plan, task->kind) == NULL;
    while (!task_is_done(run))
        if (take(run, task, piece)) {
            piece->dispatch.keys = &piece->keys;
            return true;
        }
    return false;
}

/* Submission ------------------------------------------------------------------------------------------------------------- */

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

/* As many dispatches of a task as should take dispatch_seconds, at least the one at hand. */
static enum vkring_status submit_piece(struct run *run, const struct task *task, struct piece *piece)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const struct attention_kernel *kernel = kernel_of(plan, task->kind);
    const double budget = compute_budget(&plan->compute, plan->dispatch_seconds, kernel_device_flops(plan->device));
    struct vk_commands commands;
    struct vk_semaphore_value wait = {0};
    struct cursor here;
    double more = attention_kernel_flop(kernel->which, &piece->dispatch), flop = 0;
    uint32_t slot, count = 0;
    if (task->step > 0)
        wait = staging_wait(&plan->staging, task->step % STAGING_SLOTS);
    TRY(compute_begin(&plan->compute, true, &commands, &slot), fail);
    record_segments(run, &commands, task->step, &piece->keys);
    do {
        if (count > 0 && piece->again)
            vk_commands_barrier(plan->device, &commands); /* boxes share a state, or go on with theirs */
        attention_kernel_record(plan->device, &commands, kernel, run->aligned, &piece->dispatch, plan->arguments,
                                slot * COMPUTE_DISPATCHES + count++);
        flop += more;
        here = run->at;
        if (count == COMPUTE_DISPATCHES || !next_dispatch(run, task, piece))
            break;
        more = attention_kernel_flop(kernel->which, &piece->dispatch);
        if (flop + more > budget)
            run->at = here;
    } while (flop + more <= budget);
    const uint64_t done = run->done_boxes + boxes_before(run, task, run->at.key_span, run->at.box);
    TRY(compute_submit(&plan->compute, flop, done, &wait, wait.semaphore ? 1 : 0), fail);
    if (task->step > 0)
        run->step_value[task->step % STAGING_SLOTS] = plan->compute.timeline.submitted;
    return VKRING_OK;
fail:
    return status;
}

/* Whether kernels can read the packet of a step. */
static enum vkring_status packet_ready(struct run *run, uint32_t step, bool *out_ready)
{
    *out_ready = step < run->arrived;
    if (step == 0 || !*out_ready)
        return VKRING_OK;
    return staging_uploaded(&run->plan->staging, step % STAGING_SLOTS, out_ready);
}

static enum vkring_status clear_bias_gradient(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const struct problem *problem = &plan->problem;
    const struct tensor_view nothing = {0};
    const struct tensor_shape shape = tensors_bias_shape(problem, "bias_grad", run->queries.rows, problem->kv_len);
    struct vk_commands commands;
    uint32_t slot;
    TRY(compute_begin(&plan->compute, false, &commands, &slot), fail);
    add_record(plan->device, &commands, gradients_adder(&plan->backward.gradients, problem->bias.type), &shape, &nothing, &nothing,
               &run->queries.bias_grad);
    TRY(compute_submit(&plan->compute, 0, run->done_boxes, NULL, 0), fail);
    return VKRING_OK;
fail:
    return status;
}

/* What the task at the cursor can do now. out_moved: something. */
static enum vkring_status advance(struct run *run, bool *out_moved)
{
    enum vkring_status status;
    const struct task *task = task_at(run);
    struct piece piece;
    bool ready;
    *out_moved = false;
    if (run->adding && (task->kind == TASK_ADD || writes_partial(task->kind)))
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
    if (task->kind == TASK_BIAS_CLEAR) {
        TRY(clear_bias_gradient(run), fail);
        next_task(run);
        return VKRING_OK;
    }
    if (next_dispatch(run, task, &piece))
        TRY(submit_piece(run, task, &piece), fail);
    if (task_is_done(run))
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
