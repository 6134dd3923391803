/* SPDX-License-Identifier: MIT */
/*
 * Forward around the ring.
 *
 * At step s a rank attends to the packet of rank (rank - s) mod ranks. While it does, it passes that packet on to the next rank and receives the one
 * of step s + 1 from the rank before it. One thread polls all three: device, send, receive.
 *
 * Step 0 reads the keys and values where the application has them. They are copied once into slot 0, for the network, unless they already lie
 * packed in memory that the host can read. The packet of step s > 0 arrives in slot s % 2: that is free once the packet of step s - 2 was attended to
 * (or, where memory is not unified, uploaded) and passed on.
 */
#include <string.h>

#include "../base/checked.h"
#include "../base/clock.h"
#include "plan.h"

struct cursor {
    uint32_t step;
    uint64_t first_key;
    uint64_t box;
};

struct run {
    struct vkring_plan *plan;
    struct forward_tensors tensors;
    struct forward_keys own; /* where the application has them */
    bool aligned;
    vkring_buffer *buffers[5]; /* of the call, for their semaphores */

    struct cursor at;                    /* next piece of work to submit */
    uint64_t step_value[STAGING_SLOTS];  /* compute timeline when the last submitted piece of step s is done, at s % 2 */

    uint64_t own_value;           /* compute timeline when our own packet is in host memory */
    bool own_in_place;            /* it is sent from the application's buffers */
    bool own_ready;
    uint32_t sent, received, arrived; /* packets: wholly passed on; started to receive; received and handed to staging (step 0 counts as one) */
    uint32_t crc[STAGING_SLOTS];  /* of the packet in the slot */

    double begin, last, last_progress;
};

static uint32_t ranks_of(const struct run *run)
{
    return run->plan->layout.ranks;
}

static struct packet_shape shape_at(const struct run *run, uint32_t step)
{
    const struct layout *layout = &run->plan->layout;
    return packet_shape_of(&run->plan->problem, layout_key_rows(layout, layout_origin(layout, step)));
}

/* The packet of a rank, as the message that arrives at a step. */
static struct packet_identity identity_at(const struct run *run, uint32_t origin, uint32_t arrival_step)
{
    const struct packet_shape shape = packet_shape_of(&run->plan->problem, layout_key_rows(&run->plan->layout, origin));
    return (struct packet_identity){
        .call = run->plan->calls,
        .step = arrival_step,
        .origin = origin,
        .key_bytes = shape.key_bytes,
        .value_bytes = shape.value_bytes,
    };
}

/* Tensors ----------------------------------------------------------------------------------------------------------- */

static struct tensor_shape shape_of(const struct problem *problem, const char *name, uint64_t rows, uint64_t heads, uint64_t dim)
{
    return (struct tensor_shape){name, vkring_type_bytes(problem->type), problem->batch, rows, heads, dim};
}

static enum vkring_status resolve_tensors(struct run *run, const struct vkring_forward_io *io)
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

/* The device ---------------------------------------------------------------------------------------------------------- */

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
static enum vkring_status start_device(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    struct vk_semaphore_value waits[5];
    uint32_t wait_count = 0, slot;
    struct vk_commands commands;
    const bool travels = ranks_of(run) > 1 && run->own.keys > 0 && plan->problem.batch > 0;

    for (int i = 0; i < 5; i++)
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

static enum vkring_status signal_application(struct run *run)
{
    enum vkring_status status;
    struct vk_semaphore_value signals[5];
    uint32_t count = 0;
    for (int i = 0; i < 5; i++)
        if (run->buffers[i] && run->buffers[i]->sync.signal)
            signals[count++] = (struct vk_semaphore_value){run->buffers[i]->sync.signal, run->buffers[i]->sync.signal_value};
    if (count)
        TRY(vk_submit(run->plan->device, VK_QUEUE_COMPUTE, NULL, NULL, 0, signals, count), fail);
    return VKRING_OK;
fail:
    return status;
}

static bool all_submitted(const struct run *run)
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

static enum vkring_status submit_ready(struct run *run, bool *progress)
{
    enum vkring_status status;
    while (!all_submitted(run) && compute_has_room(&run->plan->compute)) {
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

/* The network ----------------------------------------------------------------------------------------------------------- */

/* The slot of step + 1 is free: its last packet, of step - 1, was passed on, and attended to or uploaded. */
static enum vkring_status slot_is_free(const struct run *run, uint32_t step, bool *out_free)
{
    struct vkring_plan *plan = run->plan;
    const uint32_t slot = step % STAGING_SLOTS;
    *out_free = true;
    if (step < STAGING_SLOTS)
        return VKRING_OK;
    const uint32_t before = step - STAGING_SLOTS;
    if (run->sent <= before) {
        *out_free = false;
        return VKRING_OK;
    }
    if (before == 0)
        return VKRING_OK; /* our own packet: kernels read it elsewhere */
    if (!plan->staging.unified)
        return staging_uploaded(&plan->staging, slot, out_free);
    *out_free = all_submitted(run) || run->at.step > before;
    *out_free = *out_free && plan->compute.done_value >= run->step_value[slot];
    return VKRING_OK;
}

static enum vkring_status start_receive(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const uint32_t step = run->received;
    bool is_free;
    if (run->plan->receive.active || step == ranks_of(run) || run->arrived < step)
        return VKRING_OK;
    TRY(slot_is_free(run, step, &is_free), fail);
    if (is_free) {
        const struct packet_shape shape = shape_at(run, step);
        const struct packet_identity identity = identity_at(run, layout_origin(&plan->layout, step), step);
        link_start(&run->plan->receive, &identity, staging_memory(&plan->staging, step % STAGING_SLOTS, &shape), NULL);
        run->received++;
    }
    return VKRING_OK;
fail:
    return status;
}

/* A device slot takes the packet once kernels are done with the one before it. */
static bool upload_slot_is_free(const struct run *run, uint32_t step)
{
    const uint32_t slot = step % STAGING_SLOTS;
    if (run->plan->staging.unified || step <= STAGING_SLOTS || run->plan->tiling.boxes == 0)
        return true;
    return run->at.step > step - STAGING_SLOTS && run->plan->compute.done_value >= run->step_value[slot];
}

static enum vkring_status finish_receive(struct run *run)
{
    enum vkring_status status;
    const uint32_t step = run->arrived;
    if (run->plan->receive.active || step == run->received || !upload_slot_is_free(run, step))
        return VKRING_OK;
    const struct packet_shape shape = shape_at(run, step);
    run->crc[step % STAGING_SLOTS] = run->plan->receive.crc;
    TRY(staging_arrived(&run->plan->staging, step % STAGING_SLOTS, &shape), fail);
    run->arrived++;
    return VKRING_OK;
fail:
    return status;
}

static struct packet_memory memory_to_send(const struct run *run, uint32_t step, const struct packet_shape *shape)
{
    if (step > 0 || !run->own_in_place)
        return staging_memory(&run->plan->staging, step % STAGING_SLOTS, shape);
    const struct tensor_view *key = &run->own.key, *value = &run->own.value;
    return (struct packet_memory){
        key->buffer ? (char *)key->buffer->mapped + key->offset_bytes : NULL,
        value->buffer ? (char *)value->buffer->mapped + value->offset_bytes : NULL,
    };
}

/* The packet of step s is passed on as that of step s + 1, but for the last. */
static enum vkring_status start_send(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    const uint32_t step = run->sent;
    if (run->plan->send.active || step + 1 >= ranks_of(run) || step >= run->arrived)
        return VKRING_OK;
    if (!run->own_ready) {
        if (plan->compute.done_value < run->own_value)
            return VKRING_OK;
        if (!run->own_in_place)
            TRY(vk_buffer_invalidate(plan->staging.host[0], 0, shape_at(run, 0).bytes), fail);
        run->own_ready = true;
    }
    const struct packet_shape shape = shape_at(run, step);
    const struct packet_identity identity = identity_at(run, layout_origin(&plan->layout, step), step + 1);
    link_start(&run->plan->send, &identity, memory_to_send(run, step, &shape), step > 0 ? &run->crc[step % STAGING_SLOTS] : NULL);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status poll_network(struct run *run, bool *progress)
{
    enum vkring_status status;
    const bool was_sending = run->plan->send.active;
    TRY(start_receive(run), fail);
    TRY(link_poll(&run->plan->receive, progress), fail);
    TRY(finish_receive(run), fail);
    TRY(link_poll(&run->plan->send, progress), fail);
    if (was_sending && !run->plan->send.active)
        run->sent++;
    TRY(start_send(run), fail);
    return VKRING_OK;
fail:
    return status;
}

/* The loop ------------------------------------------------------------------------------------------------------------- */

static bool device_is_done(const struct run *run)
{
    return all_submitted(run) && run->plan->compute.pending == 0;
}

static bool network_is_done(const struct run *run)
{
    return run->sent + 1 == ranks_of(run) && run->arrived == ranks_of(run);
}

static void account(struct run *run)
{
    const double now = clock_seconds();
    struct vkring_run_stats *stats = &run->plan->stats;
    if (run->plan->send.active || run->plan->receive.active)
        stats->transfer_seconds += now - run->last;
    if (run->plan->compute.pending == 0 && !all_submitted(run))
        stats->exposed_wait_seconds += now - run->last;
    run->last = now;
}

static enum vkring_status blame(const struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const double seconds = plan->timeout_seconds;
    if (plan->compute.pending > 0)
        return status_fail_at(VKRING_ERROR_TIMEOUT, plan->layout.rank, run->at.step, "the device of rank %u made no progress for %g s at step %u",
                              plan->layout.rank, seconds, run->at.step);
    if (run->arrived < ranks_of(run))
        return status_fail_at(VKRING_ERROR_TIMEOUT, run->plan->receive.peer, run->arrived, "rank %u sent nothing for %g s at step %u (%llu of %llu bytes came)",
                              run->plan->receive.peer, seconds, run->arrived, (unsigned long long)run->plan->receive.done_bytes,
                              (unsigned long long)(run->plan->receive.identity.key_bytes + run->plan->receive.identity.value_bytes));
    return status_fail_at(VKRING_ERROR_TIMEOUT, run->plan->send.peer, run->sent, "rank %u took nothing for %g s at step %u (%llu of %llu bytes went)",
                          run->plan->send.peer, seconds, run->sent, (unsigned long long)run->plan->send.done_bytes,
                          (unsigned long long)(run->plan->send.identity.key_bytes + run->plan->send.identity.value_bytes));
}

/* With only the device to wait for, sleep on its timeline; else poll. */
static enum vkring_status pause_run(struct run *run, struct comm_backoff *backoff)
{
    struct compute *compute = &run->plan->compute;
    bool reached;
    if (!network_is_done(run) || compute->pending == 0) {
        comm_backoff_pause(backoff);
        return VKRING_OK;
    }
    return vk_timeline_wait(run->plan->device, &compute->timeline, compute->pieces[compute->oldest].value,
                            run->plan->timeout_seconds < 0.1 ? run->plan->timeout_seconds : 0.1, &reached);
}

static enum vkring_status loop(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    struct comm_backoff backoff = {0};
    while (!device_is_done(run) || !network_is_done(run)) {
        bool progress = false;
        TRY(compute_poll(&plan->compute, &progress), fail);
        atomic_store(&plan->progress_done, plan->compute.progress);
        if (ranks_of(run) > 1)
            TRY(poll_network(run, &progress), fail);
        TRY(submit_ready(run, &progress), fail);
        account(run);
        if (progress) {
            run->last_progress = run->last;
            backoff = (struct comm_backoff){0};
        } else if (run->last - run->last_progress > plan->timeout_seconds) {
            return blame(run);
        } else {
            TRY(pause_run(run, &backoff), fail);
        }
    }
    return VKRING_OK;
fail:
    return status;
}

static void begin(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    plan->stats = (struct vkring_run_stats){.steps = ranks_of(run)};
    plan->compute.seconds = 0;
    plan->compute.progress = 0;
    atomic_store(&plan->progress_done, 0);
    atomic_store(&plan->progress_total, plan->tiling.boxes * ranks_of(run));
    run->begin = run->last = run->last_progress = clock_seconds();
    run->received = run->arrived = 1;
    link_init(&plan->send, plan->comm, layout_next(&plan->layout), true, plan->chunk_bytes);
    link_init(&plan->receive, plan->comm, layout_previous(&plan->layout), false, plan->chunk_bytes);
}

static void finish_stats(struct run *run)
{
    const struct vkring_plan *plan = run->plan;
    const struct problem *problem = &plan->problem;
    const struct layout *layout = &plan->layout;
    struct vkring_run_stats *stats = &run->plan->stats;
    const double pairs =
        problem_kept_pairs(problem, layout->first_query_row[layout->rank], layout_query_rows(layout, layout->rank), 0, problem->kv_len);
    stats->total_seconds = clock_seconds() - run->begin;
    stats->compute_seconds = plan->compute.seconds;
    stats->sent_bytes = run->plan->send.total_bytes;
    stats->received_bytes = run->plan->receive.total_bytes;
    stats->flop = 2.0 * (double)problem->batch * (double)problem->heads * (double)(problem->head_dim + problem->value_dim) * pairs;
}

/* Leaves the plan to be destroyed. Its buffers stay where the network may still reach them. An error of the device is told with rank and step. */
static void give_up(struct run *run)
{
    struct vkring_plan *plan = run->plan;
    const struct vkring_error error = *vkring_last_error();
    if (error.rank == VKRING_NONE)
        status_fail_at(error.status, plan->layout.rank, run->at.step, "rank %u, step %u: %s", plan->layout.rank, run->at.step, error.message);
    plan->failed = true;
    if (ranks_of(run) > 1) {
        bool sending = link_abandon(&plan->send);
        bool receiving = link_abandon(&plan->receive);
        plan->quarantined = sending || receiving;
    }
}

enum vkring_status vkring_forward(vkring_plan *plan, const struct vkring_forward_io *io)
{
    enum vkring_status status;
    struct run run = {.plan = plan};
    if (plan->failed)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the plan broke off in an earlier run and can only be destroyed");
    TRY(resolve_tensors(&run, io), refused);
    begin(&run);
    TRY(start_device(&run), broken);
    TRY(loop(&run), broken);
    TRY(signal_application(&run), broken);
    for (int i = 0; i < 5; i++)
        if (run.buffers[i])
            run.buffers[i]->sync = (struct vkring_vulkan_sync){0};
    plan->calls++;
    finish_stats(&run);
    atomic_store(&plan->progress_done, plan->tiling.boxes * ranks_of(&run));
    return VKRING_OK;
broken:
    give_up(&run);
refused:
    return status;
}
