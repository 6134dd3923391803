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
    const struct problem *problem = &plan->problem;
    const struct packet_shape shape = shape_at(run, 0);
    const uint64_t address = plan->staging.host[0]->address;
    const struct tensor_shape key = shape_of(problem, "key", run->own.keys, problem->kv_heads, problem->head_dim);
    const struct tensor_shape value = shape_of(problem, "value", run->own.keys, problem->kv_heads, problem->value_dim);
    pack_record(plan->device, commands, &plan->pack, &run->own.key, &key, address);
    pack_record(plan->device, commands, &plan->pack, &run->own.value, &value, address + shape.value_offset);
}

/* The application's semaphores come first, so that everything later in the queue comes after them. */
enum vkring_status run_start_device(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    struct vk_semaphore_value waits[RUN_BUFFERS];
    uint32_t wait_count = 0, slot;
    struct vk_commands commands;
    const bool travels = ranks_of(run) > 1 && run->own.keys > 0 && plan->problem.batch > 0;

    for (int i = 0; i < RUN_BUFFERS; i++)
        if (run->buffers[i] && run->buffers[i]->sync.wait)
            waits[wait_count++] = (struct vk_semaphore_value){run->buffers[i]->sync.wait, run->buffers[i]->sync.wait_value};
    run->own_in_place = host_can_read(&run->own.key) && host_can_read(&run->own.value);
    run->own_ready = !travels || (run->own_in_place && wait_count == 0);
    if (wait_count == 0 && run->own_ready)
        return VKRING_OK;

    TRY(compute_begin(&plan->compute, false, &commands, &slot), fail);
    if (travels && !run->own_in_place)
        record_own_packet(run, &commands);
    TRY(compute_submit(&plan->compute, 0, waits, wait_count), fail);
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
    return run->at.step == ranks_of(run) || run->plan->tiling.boxes == 0;
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

static void advance(struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    struct cursor *at = &run->at;
    if (++at->box < plan->tiling.boxes)
        return;
    at->box = 0;
    at->first_key += plan->tiling.keys;
    if (at->first_key < layout_key_rows(&plan->layout, layout_origin(&plan->layout, at->step)))
        return;
    at->first_key = 0;
    at->step++;
}

/* What the cursor's box does with the keys at the cursor; false: nothing. */
static bool make_dispatch(struct run *run, struct forward_dispatch *out_dispatch)
{
    struct vkring_plan *plan = run->plan;
    const struct cursor *at = &run->at;
    const struct box_steps *steps = &plan->box_steps[at->box];
    const uint32_t origin = layout_origin(&plan->layout, at->step);
    const struct tiling_box box = tiling_box_at(&plan->tiling, at->box);
    const uint64_t kept = plan_kept_keys(plan, &box, origin);
    const bool first = at->step == steps->first && at->first_key == 0;
    struct forward_keys keys = run->own;

    if (kept <= at->first_key && !first)
        return false;
    if (at->step > 0) {
        const struct packet_shape shape = shape_at(run, at->step);
        keys = staging_keys(&plan->staging, at->step % STAGING_SLOTS, &shape, plan->layout.first_key_row[origin]);
    }
    keys.first = at->first_key;
    keys.keys = min_u64(plan->tiling.keys, kept - at->first_key);
    *out_dispatch = (struct forward_dispatch){
        .problem = &plan->problem,
        .tensors = &run->tensors,
        .keys = keys,
        .box = box,
        .query_row = plan->layout.first_query_row[plan->layout.rank],
        .first = first,
        .last = at->step == steps->last && keys.first + keys.keys == kept,
        .aligned = run->aligned,
        .state_address = plan->state->address,
        .arguments = plan->arguments,
    };
    return true;
}

static enum vkring_status submit_piece(struct run *run, struct forward_dispatch *dispatch)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    struct vk_commands commands;
    struct vk_semaphore_value wait = {0};
    uint32_t slot;
    if (run->at.step > 0)
        wait = staging_wait(&plan->staging, run->at.step % STAGING_SLOTS);
    TRY(compute_begin(&plan->compute, true, &commands, &slot), fail);
    dispatch->argument_slot = slot;
    forward_record(plan->device, &commands, &plan->kernel, dispatch);
    TRY(compute_submit(&plan->compute, run->at.step * plan->tiling.boxes + run->at.box + 1, &wait, wait.semaphore ? 1 : 0), fail);
    run->step_value[run->at.step % STAGING_SLOTS] = plan->compute.timeline.submitted;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status run_submit_ready(struct run *run, bool *progress)
{
    enum vkring_status status;
    while (!run_all_submitted(run) && compute_has_room(&run->plan->compute)) {
        struct forward_dispatch dispatch;
        bool ready;
        TRY(packet_ready(run, &ready), fail);
        if (!ready)
            return VKRING_OK;
        if (make_dispatch(run, &dispatch))
            TRY(submit_piece(run, &dispatch), fail);
        advance(run);
        *progress = true;
    }
    return VKRING_OK;
fail:
    return status;
}
