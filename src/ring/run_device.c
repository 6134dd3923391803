/* SPDX-License-Identifier: MIT */
/* What a run does on the device: the own packet, then box after box of each step as packets come. */
#include "../base/checked.h"
#include "run.h"

static bool host_can_read(const struct tensor_view *view)
{
    return !view->buffer || (view->packed && view->buffer->mapped && view->buffer->cached && view->buffer->coherent);
}

static void record_own_packet(struct run *run, const struct vk_commands *commands)
{
    struct vkring_plan *plan = run->plan;
    const struct packet_shape packet = shape_at(run, 0);
    const uint64_t address = plan->staging.host[0]->address;
    for (int part = 0; part < PACKET_PARTS; part++) {
        const struct tensor_shape shape = key_part_shape(&plan->problem, (enum key_part)part, run->own.keys);
        const struct pack_kernel *kernel = shape.element_bytes == plan->pack.element_bytes ? &plan->pack : &plan->pack_masks;
        if (!tensor_is_empty(&shape))
            pack_record(plan->device, commands, kernel, key_part_view(&run->own, (enum key_part)part), &shape,
                        address + packet.part_offset[part]);
    }
}

static bool host_can_read_own(struct run *run)
{
    bool readable = true;
    for (int part = 0; part < PACKET_PARTS; part++)
        readable = readable && host_can_read(key_part_view(&run->own, (enum key_part)part));
    return readable;
}

/* The application's semaphores come first, so that everything later in the queue comes after them. */
enum vkring_status run_start_device(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    struct vk_semaphore_value waits[RUN_BUFFERS];
    uint32_t wait_count = 0, slot;
    struct vk_commands commands;
    const bool travels = steps_of(run) > 1 && run->own.keys > 0 && plan->problem.batch > 0;

    for (int i = 0; i < RUN_BUFFERS; i++)
        if (run->buffers[i] && run->buffers[i]->sync.wait)
            waits[wait_count++] = (struct vk_semaphore_value){run->buffers[i]->sync.wait, run->buffers[i]->sync.wait_value};
    run->own_in_place = host_can_read_own(run);
    run->own_ready = !travels || (run->own_in_place && wait_count == 0);
    if (wait_count == 0 && run->own_ready)
        return VKRING_OK;

    TRY(compute_begin(&plan->compute, false, &commands, &slot), fail);
    if (travels && !run->own_in_place)
        record_own_packet(run, &commands);
    TRY(compute_submit(&plan->compute, 0, 0, waits, wait_count), fail);
    run->own_value = plan->compute.timeline.submitted;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status run_signal_application(struct run *run)
{
    enum vkring_status status;
    struct vk_semaphore_value signals[RUN_BUFFERS];
    uint32_t count = 0;
    for (int i = 0; i < RUN_BUFFERS; i++)
        if (run->buffers[i] && run->buffers[i]->sync.signal)
            signals[count++] = (struct vk_semaphore_value){run->buffers[i]->sync.signal, run->buffers[i]->sync.signal_value};
    if (count)
        TRY(vk_submit(run->plan->device, VK_QUEUE_COMPUTE, NULL, NULL, 0, signals, count), fail);
    return VKRING_OK;
fail:
    return status;
}

bool run_all_submitted(const struct run *run)
{
    return run->at.step == steps_of(run) || run->plan->boxes == 0;
}

/* Whether kernels can read the packet of the cursor's step. */
static enum vkring_status packet_ready(struct run *run, bool *out_ready)
{
    const uint32_t step = run->at.step;
    *out_ready = step < run->arrived;
    if (step == 0 || !*out_ready)
        return VKRING_OK;
    return staging_uploaded(&run->plan->staging, step % STAGING_SLOTS, out_ready);
}

static const struct layout_span *key_span_at(const struct run *run)
{
    const struct layout *layout = &run->plan->layout;
    return layout_span_of(&layout->keys, layout_origin(layout, run->at.step), run->at.key_span);
}

static void advance(struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    struct cursor *at = &run->at;
    if (++at->box < plan->boxes)
        return;
    at->box = 0;
    at->first_key += plan->block_keys;
    if (at->first_key < key_span_at(run)->rows)
        return;
    at->first_key = 0;
    if (++at->key_span < LAYOUT_SPANS)
        return;
    at->key_span = 0;
    at->step++;
}

/* The keys of the cursor's step, where kernels find them, at the positions of its span. */
static struct key_tensors keys_at_cursor(const struct run *run)
{
    struct vkring_plan *plan = run->plan;
    const uint32_t step = run->at.step;
    const uint64_t key_row = layout_span_origin(key_span_at(run));
    struct key_tensors keys = run->own;
    if (step == 0) {
        keys.key_row = key_row;
        return keys;
    }
    const struct packet_shape shape = shape_at(run, step);
    keys = staging_keys(&plan->staging, step % STAGING_SLOTS, &shape, key_row);
    if (plan->problem.segment_ids)
        keys.segments = segment_table_view(plan->key_segments, keys.keys);
    return keys;
}

/* What the cursor's box does with the keys at the cursor; false: nothing. */
static bool make_dispatch(struct run *run, const struct key_tensors *keys, struct attention_dispatch *out_dispatch)
{
    struct vkring_plan *plan = run->plan;
    const struct cursor *at = &run->at;
    const step_span now = (step_span)at->step * LAYOUT_SPANS + at->key_span;
    const struct box_steps *steps = &plan->box_steps[at->box];
    const struct plan_box box = plan_box_at(plan, at->box);
    const struct mask_range kept = plan_kept_keys(plan, &box, layout_origin(&plan->layout, at->step), at->key_span);
    const uint64_t block = key_span_at(run)->local + at->first_key;
    const uint64_t first = max_u64(kept.first, block);
    const uint64_t end = min_u64(kept.end, block + plan->block_keys);
    const bool keeps_nothing = kept.end == 0 && now == steps->first && at->first_key == 0;

    if (first >= end && !keeps_nothing)
        return false;
    *out_dispatch = (struct attention_dispatch){
        .problem = &plan->problem,
        .queries = &run->queries_of_span[box.span],
        .keys = keys,
        .box = box.rows,
        .other_first = first < end ? first : 0,
        .others = first < end ? end - first : 0,
        .first = now == steps->first && first == kept.first,
        .last = now == steps->last && end == kept.end,
        .state_address = plan->state->address,
        .state_bytes_per_workgroup = plan->kernel.state_bytes_per_workgroup,
    };
    return true;
}

void run_record_segments(struct run *run, const struct vk_commands *commands, const struct key_tensors *keys)
{
    const struct vkring_plan *plan = run->plan;
    const uint64_t batch = plan->problem.batch;
    const struct segment_side queries = {run->queries.ids, run->queries.segments, run->queries.rows};
    const struct segment_side others = {keys->ids, keys->segments, keys->keys};
    if (!plan->problem.segment_ids || run->segments_step == run->at.step)
        return;
    if (run->segments_step == VKRING_NONE)
        segment_ranges_record(plan->device, commands, &plan->segments, batch, &queries);
    segment_ranges_record(plan->device, commands, &plan->segments, batch, &others);
    vk_commands_barrier(plan->device, commands);
    segment_bounds_record(plan->device, commands, &plan->segments, batch, &queries, &others);
    if (plan->problem.backward)
        segment_bounds_record(plan->device, commands, &plan->segments, batch, &others, &queries);
    vk_commands_barrier(plan->device, commands);
    run->segments_step = run->at.step;
}

/* Before the work at the cursor: past boxes that have none. False: there is no more of these keys. */
static bool find_work(struct run *run, const struct key_tensors *keys, struct attention_dispatch *out_dispatch)
{
    const uint32_t step = run->at.step, key_span = run->at.key_span;
    while (!run_all_submitted(run) && run->at.step == step && run->at.key_span == key_span) {
        if (make_dispatch(run, keys, out_dispatch))
            return true;
        advance(run);
    }
    return false;
}

/* As many boxes of a step as should take dispatch_seconds, at least the one at hand. */
static enum vkring_status submit_piece(struct run *run, struct attention_dispatch *dispatch)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const struct key_tensors *keys = dispatch->keys;
    const uint32_t step = run->at.step;
    const double budget = compute_budget(&plan->compute, plan->dispatch_seconds, kernel_device_flops(plan->device));
    struct vk_commands commands;
    struct vk_semaphore_value wait = {0};
    double flop = 0;
    uint64_t progress;
    uint32_t slot, count = 0;
    if (step > 0)
        wait = staging_wait(&plan->staging, step % STAGING_SLOTS);
    TRY(compute_begin(&plan->compute, true, &commands, &slot), fail);
    run_record_segments(run, &commands, keys);
    do {
        attention_kernel_record(plan->device, &commands, &plan->kernel, run->aligned, dispatch, plan->arguments,
                                slot * COMPUTE_DISPATCHES + count++);
        flop += attention_kernel_flop(SPIRV_FORWARD, dispatch);
        progress = ((uint64_t)step * LAYOUT_SPANS + run->at.key_span) * plan->boxes + run->at.box + 1;
        advance(run);
    } while (count < COMPUTE_DISPATCHES && run->at.box > 0 && find_work(run, keys, dispatch) &&
             flop + attention_kernel_flop(SPIRV_FORWARD, dispatch) <= budget);
    TRY(compute_submit(&plan->compute, flop, progress, &wait, wait.semaphore ? 1 : 0), fail);
    run->step_value[step % STAGING_SLOTS] = plan->compute.timeline.submitted;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status run_submit_forward(struct run *run, bool *progress)
{
    enum vkring_status status;
    while (!run_all_submitted(run) && compute_has_room(&run->plan->compute)) {
        struct attention_dispatch dispatch;
        bool ready;
        TRY(packet_ready(run, &ready), fail);
        if (!ready)
            return VKRING_OK;
        const struct key_tensors keys = keys_at_cursor(run);
        if (find_work(run, &keys, &dispatch))
            TRY(submit_piece(run, &dispatch), fail);
        *progress = true;
    }
    return VKRING_OK;
fail:
    return status;
}
