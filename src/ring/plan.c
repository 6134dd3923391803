/* SPDX-License-Identifier: MIT */
#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../attention/choose.h"
#include "../attention/forward_choice.h"
#include "../base/checked.h"
#include "agree.h"
#include "run.h"
#include "schedule.h"

#define DEFAULT_TIMEOUT_SECONDS 300.0
#define DEFAULT_DISPATCH_SECONDS 0.1
#define DEFAULT_CHUNK_BYTES ((uint64_t)256 << 10)
#define MAX_CHUNK_BYTES ((uint64_t)1 << 30)
#define DEFAULT_EVENTS ((uint64_t)256)
#define MAX_EVENTS ((uint64_t)1 << 24)
#define DRAIN_SECONDS 5.0

double plan_timeout_seconds(const struct vkring_plan_params *params)
{
    return params->timeout_seconds > 0 && isfinite(params->timeout_seconds) ? params->timeout_seconds : DEFAULT_TIMEOUT_SECONDS;
}

static double dispatch_seconds_of(double wanted)
{
    return wanted > 0 ? wanted : DEFAULT_DISPATCH_SECONDS;
}

static uint32_t rank_of(vkring_comm *comm)
{
    return comm ? vkring_comm_rank(comm) : 0;
}

static uint32_t ranks_of(vkring_comm *comm)
{
    return comm ? vkring_comm_size(comm) : 1;
}

static enum vkring_status resolve(vkring_comm *comm, const struct vkring_plan_params *params, struct vkring_plan *plan)
{
    enum vkring_status status;
    if (params->chunk_bytes > MAX_CHUNK_BYTES)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "chunk_bytes is %llu, above 2^30", (unsigned long long)params->chunk_bytes);
    if (params->events > MAX_EVENTS)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "events is %llu, above 2^24", (unsigned long long)params->events);
    TRY(problem_resolve(params, &plan->problem), fail);
    TRY(layout_make(rank_of(comm), ranks_of(comm), params, &plan->layout), fail);
    TRY(schedule_steps(&plan->problem, &plan->layout, &plan->steps), fail);
    plan->timeout_seconds = plan_timeout_seconds(params);
    plan->dispatch_seconds = dispatch_seconds_of(params->dispatch_seconds);
    plan->chunk_bytes = params->chunk_bytes ? params->chunk_bytes : DEFAULT_CHUNK_BYTES;
    plan->events = params->events ? params->events : DEFAULT_EVENTS;
    return VKRING_OK;
fail:
    return status;
}

/* Forward and backward take turns. */
static uint64_t state_bytes(const struct vkring_plan *plan)
{
    const struct problem *problem = &plan->problem;
    const uint64_t forward = query_walk_state_bytes(&plan->forward, problem, &plan->layout);
    return problem->backward ? max_u64(forward, query_walk_state_bytes(&plan->backward.query, problem, &plan->layout)) : forward;
}

static uint64_t query_segments_bytes(const struct vkring_plan *plan)
{
    return plan->problem.segment_ids
               ? segment_table_bytes(plan->problem.batch, max_u64(layout_query_rows(&plan->layout, plan->layout.rank), 1))
               : 0;
}

static uint64_t key_segments_bytes(const struct vkring_plan *plan)
{
    return plan->problem.segment_ids ? segment_table_bytes(plan->problem.batch, max_u64(plan->layout.most_key_rows, 1)) : 0;
}

/* Of any packet; none where copying is not worth it. */
static struct by_head_tensors keys_worth_copying(const struct vkring_plan *plan)
{
    const struct problem *problem = &plan->problem;
    const uint64_t worth = plan->forward.choice.copy_worth_rows;
    const uint64_t rows = problem->heads / problem->kv_heads * layout_query_rows(&plan->layout, plan->layout.rank);
    struct key_tensors keys = {.keys = plan->layout.most_key_rows};
    if (worth == 0 || rows < worth)
        return (struct by_head_tensors){0};
    return by_head_of_keys(problem, &keys);
}

/* As keys_worth_copying, of what meets all keys. */
static struct by_head_tensors queries_worth_copying(const struct vkring_plan *plan)
{
    struct query_tensors queries = {.rows = layout_query_rows(&plan->layout, plan->layout.rank)};
    if (!plan->problem.backward || keys_worth_copying(plan).count == 0 || plan->problem.kv_len < plan->forward.choice.copy_worth_rows)
        return (struct by_head_tensors){0};
    return by_head_of_queries(&plan->problem, &queries);
}

static void tile(struct vkring_plan *plan, const struct kernel_choice *choice)
{
    const struct problem *problem = &plan->problem;
    const struct kernel_choice forward = forward_choice(plan->device, problem, choice);
    query_walk_tile(&plan->forward, plan->device, SPIRV_FORWARD, problem, &plan->layout, &forward, true, plan->dispatch_seconds);
    if (problem->backward)
        backward_tile(&plan->backward, plan->device, problem, &plan->layout, choice, plan->dispatch_seconds);
}

static enum vkring_status measure(const struct vkring_plan *plan, struct vkring_plan_memory *out_memory)
{
    enum vkring_status status;
    const struct problem *problem = &plan->problem;
    struct vkring_plan_memory memory = {0};
    uint64_t bytes;
    bool counts_as_host;
    const struct by_head_tensors keys = keys_worth_copying(plan), queries = queries_worth_copying(plan);
    const uint64_t on_device[] = {
        state_bytes(plan), query_segments_bytes(plan), key_segments_bytes(plan), by_head_bytes(&keys), by_head_bytes(&queries),
    };
    for (size_t i = 0; i < sizeof(on_device) / sizeof(on_device[0]); i++) {
        TRY(vk_buffer_measure(plan->device, VK_MEMORY_DEVICE, on_device[i], &bytes, &counts_as_host), fail);
        memory.device_bytes += bytes;
    }
    TRY(vk_buffer_measure(plan->device, VK_MEMORY_ARGUMENTS, (uint64_t)COMPUTE_SLOTS * COMPUTE_DISPATCHES * ARGUMENT_BYTES, &bytes,
                          &counts_as_host),
        fail);
    *(counts_as_host ? &memory.host_bytes : &memory.device_bytes) += bytes;
    if (plan->steps > 1)
        TRY(staging_measure(plan->device, problem, plan->layout.most_key_rows, &memory), fail);
    if (problem->backward)
        TRY(backward_measure(&plan->backward, plan->device, problem, &plan->layout, plan->steps, &memory), fail);
    *out_memory = memory;
    return VKRING_OK;
fail:
    return status;
}

/* Segment ids, a bias in f32, and words of integers and their scales travel where elements have 16 bits. */
static bool needs_pack_of_masks(const struct problem *problem)
{
    return problem->type != VKRING_TYPE_F32 && (problem->segment_ids || problem->bias.present || problem->int8_keys);
}

static enum vkring_status find_lines(struct vkring_plan *plan)
{
    enum vkring_status status;
    const struct layout *layout = &plan->layout;
    const uint32_t last = plan->steps - 1;
    TRY(comm_line_find(plan->comm, layout_previous(layout), &plan->lines[LINE_PREVIOUS]), fail);
    TRY(comm_line_find(plan->comm, layout_next(layout), &plan->lines[LINE_NEXT]), fail);
    if (!plan->problem.backward)
        return VKRING_OK;
    const uint32_t source = schedule_gradient_source(layout, layout->rank, plan->steps, plan->steps);
    const uint32_t target = schedule_gradient_target(layout, layout->rank, plan->steps, last);
    TRY(comm_line_find(plan->comm, source, &plan->lines[LINE_HOME_SOURCE]), fail);
    TRY(comm_line_find(plan->comm, target, &plan->lines[LINE_HOME_TARGET]), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status take_copies(struct vkring_plan *plan)
{
    enum vkring_status status;
    const struct by_head_tensors keys = keys_worth_copying(plan), queries = queries_worth_copying(plan);
    if (keys.count > 0)
        TRY(by_head_create(plan->device, &keys, &plan->keys_by_head), fail);
    if (queries.count > 0)
        TRY(by_head_create(plan->device, &queries, &plan->queries_by_head), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status take(struct vkring_plan *plan)
{
    enum vkring_status status;
    vkring_device *device = plan->device;
    TRY(query_walk_create(&plan->forward, device, &plan->problem, &plan->layout, plan->steps), fail);
    TRY(program_make_forward(plan->steps, &plan->forward_program), fail);
    if (plan->problem.backward)
        TRY(backward_create(&plan->backward, device, &plan->problem, &plan->layout, plan->steps), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, state_bytes(plan), &plan->state), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_ARGUMENTS, (uint64_t)COMPUTE_SLOTS * COMPUTE_DISPATCHES * ARGUMENT_BYTES, &plan->arguments),
        fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, query_segments_bytes(plan), &plan->query_segments), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, key_segments_bytes(plan), &plan->key_segments), fail);
    TRY(take_copies(plan), fail);
    if (plan->problem.segment_ids)
        TRY(segment_kernels_create(device, &plan->segments), fail);
    TRY(flight_record_create(plan->events, &plan->record), fail);
    TRY(compute_create(device, &plan->record, &plan->compute), fail);
    if (plan->steps > 1) {
        TRY(pack_kernel_create(device, vkring_type_bytes(plan->problem.type), &plan->pack), fail);
        if (needs_pack_of_masks(&plan->problem))
            TRY(pack_kernel_create(device, sizeof(uint32_t), &plan->pack_masks), fail);
        TRY(staging_create(device, &plan->problem, plan->layout.most_key_rows, &plan->record, &plan->staging), fail);
        TRY(find_lines(plan), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status count_pairs(struct vkring_plan *plan)
{
    const struct layout *layout = &plan->layout;
    plan->step_pairs = calloc(plan->steps, sizeof(*plan->step_pairs));
    if (!plan->step_pairs)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for %u steps", plan->steps);
    for (uint32_t step = 0; step < plan->steps; step++)
        plan->step_pairs[step] = schedule_computed_pairs(&plan->problem, layout, &plan->forward.choice, layout->rank, step);
    return VKRING_OK;
}

/* chosen may be null. */
static enum vkring_status prepare(struct vkring_plan *plan, const char *kernels, const struct kernel_choice *chosen)
{
    enum vkring_status status;
    struct kernel_choice choice;
    if (chosen)
        choice = *chosen;
    else
        TRY(choose_kernels(plan->device, &plan->problem, kernels, &choice, NULL), fail);
    choice.matrix = choice.matrix && !plan->problem.int8_keys;
    tile(plan, &choice);
    TRY(count_pairs(plan), fail);
    TRY(measure(plan, &plan->memory), fail);
    TRY(take(plan), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_plan_measure(vkring_device *device, vkring_comm *comm, const struct vkring_plan_params *params,
                                       struct vkring_plan_memory *out_memory)
{
    enum vkring_status status;
    struct vkring_plan plan = {.device = device};
    struct kernel_choice choice;
    TRY(resolve(comm, params, &plan), fail);
    TRY(choose_kernels(device, &plan.problem, params->kernels, &choice, NULL), fail);
    tile(&plan, &choice);
    TRY(measure(&plan, out_memory), fail);
fail:
    layout_free(&plan.layout);
    return status;
}

enum vkring_status plan_measure_described(vkring_device *described, const struct problem *problem, const struct layout *layout,
                                          uint32_t steps, double dispatch_seconds, struct vkring_plan_memory *out_memory)
{
    const struct kernel_choice choice = kernel_choice_best(described, problem);
    struct vkring_plan plan = {
        .device = described,
        .problem = *problem,
        .layout = *layout,
        .steps = steps,
        .dispatch_seconds = dispatch_seconds_of(dispatch_seconds),
    };
    tile(&plan, &choice);
    return measure(&plan, out_memory);
}

/* With all that follows from the parameters alone. out_plan may be half made. */
static enum vkring_status begin(vkring_device *device, vkring_comm *comm, const struct vkring_plan_params *params,
                                struct vkring_plan **out_plan)
{
    struct vkring_plan *plan = *out_plan = calloc(1, sizeof(*plan));
    if (plan)
        plan->run = calloc(1, sizeof(*plan->run));
    if (!plan || !plan->run)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a plan");
    plan->device = device;
    plan->comm = comm;
    return resolve(comm, params, plan);
}

/* Also where this rank has no plan. */
static enum vkring_status agree(vkring_comm *comm, const struct vkring_plan_params *params, const struct vkring_plan *plan,
                                enum vkring_status mine)
{
    static const struct vkring_plan none = {0};
    const struct vkring_plan *its = plan ? plan : &none;
    if (ranks_of(comm) == 1)
        return mine;
    return agree_on_problem(comm, mine, &its->problem, &its->layout, its->chunk_bytes, plan_timeout_seconds(params));
}

static void place_sequence(struct vkring_plan *plan, const struct plan_sequence *sequence)
{
    plan->problem.first_entry = sequence->entry;
    plan->problem.int8_keys = sequence->int8_keys;
    plan->key_scales = sequence->key_scales;
    plan->value_scales = sequence->value_scales;
}

static enum vkring_status create(vkring_device *device, vkring_comm *comm, const struct vkring_plan_params *params,
                                 const struct kernel_choice *chosen, const struct plan_sequence *sequence, vkring_plan **out_plan)
{
    enum vkring_status status;
    struct vkring_plan *plan = NULL;
    if (comm && comm->in_run)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "a plan cannot be made while a run is under way on its communicator");
    status = begin(device, comm, params, &plan);
    TRY(agree(comm, params, plan, status), fail);
    if (sequence)
        place_sequence(plan, sequence);
    status = prepare(plan, params->kernels, chosen);
    if (ranks_of(comm) > 1)
        status = agree_on_status(comm, status, "making its plan", plan->timeout_seconds);
    if (status != VKRING_OK)
        goto fail;
    *out_plan = plan;
    return VKRING_OK;
fail:
    vkring_plan_destroy(&plan);
    return status;
}

enum vkring_status vkring_plan_create(vkring_device *device, vkring_comm *comm, const struct vkring_plan_params *params,
                                      vkring_plan **out_plan)
{
    return create(device, comm, params, NULL, NULL, out_plan);
}

enum vkring_status plan_create_for_sequence(vkring_device *device, vkring_comm *comm, const struct vkring_plan_params *params,
                                            const struct plan_sequence *sequence, vkring_plan **out_plan)
{
    return create(device, comm, params, NULL, sequence, out_plan);
}

enum vkring_status plan_create_alone(vkring_device *device, const struct vkring_plan_params *params, const struct kernel_choice *choice,
                                     vkring_plan **out_plan)
{
    return create(device, NULL, params, choice, NULL, out_plan);
}

/* Whether the device is done with all that was submitted. */
static bool is_drained(struct vkring_plan *plan)
{
    const bool computed = !plan->compute.device || vk_timeline_settle(plan->device, &plan->compute.timeline, DRAIN_SECONDS);
    return staging_settle(&plan->staging, DRAIN_SECONDS) && computed;
}

void vkring_plan_destroy(vkring_plan **plan_pointer)
{
    struct vkring_plan *plan = plan_pointer ? *plan_pointer : NULL;
    if (!plan)
        return;
    *plan_pointer = NULL;
    if (plan->run && plan->run->under_way)
        run_break_off(plan->run);
    const bool is_told = run_leave_notices(plan);
    if (!is_drained(plan))
        return;
    if (plan->quarantined) {
        staging_quarantine(&plan->staging);
        gradients_quarantine(&plan->backward.gradients);
    }
    staging_destroy(&plan->staging);
    compute_destroy(&plan->compute);
    rows_kernel_destroy(plan->device, &plan->pack);
    rows_kernel_destroy(plan->device, &plan->pack_masks);
    segment_kernels_destroy(plan->device, &plan->segments);
    by_head_destroy(plan->device, &plan->keys_by_head);
    by_head_destroy(plan->device, &plan->queries_by_head);
    query_walk_destroy(&plan->forward, plan->device);
    program_free(&plan->forward_program);
    backward_destroy(&plan->backward, plan->device);
    vkring_buffer_destroy(&plan->arguments);
    vkring_buffer_destroy(&plan->query_segments);
    vkring_buffer_destroy(&plan->key_segments);
    vkring_buffer_destroy(&plan->state);
    layout_free(&plan->layout);
    flight_record_destroy(&plan->record);
    free(plan->step_pairs);
    free(plan->run);
    if (!plan->quarantined && !is_told) /* its headers */
        free(plan);
}

void vkring_plan_get_info(const vkring_plan *plan, struct vkring_plan_info *out_info)
{
    const struct layout *layout = &plan->layout;
    *out_info = (struct vkring_plan_info){
        .rank = layout->rank,
        .ranks = layout->ranks,
        .rows = layout_rank_rows(layout, layout->rank),
        .packet_bytes = plan->steps > 1 ? packet_shape_of(&plan->problem, layout->most_key_rows).bytes : 0,
        .memory = plan->memory,
    };
    _Static_assert(sizeof(out_info->kernel) == sizeof(plan->forward.kernel.name), "a plan has room for a kernel's name");
    memcpy(out_info->kernel, plan->forward.kernel.name, sizeof(out_info->kernel));
}

void vkring_plan_get_stats(const vkring_plan *plan, struct vkring_run_stats *out_stats)
{
    *out_stats = plan->stats;
}

void vkring_plan_get_events(const vkring_plan *plan, uint64_t capacity, struct vkring_event *events, uint64_t *out_count,
                            uint64_t *out_dropped)
{
    const struct flight_record *record = &plan->record;
    const uint64_t kept = flight_record_kept(record), written = min_u64(kept, capacity);
    for (uint64_t i = 0; i < written; i++)
        events[i] = *flight_record_at(record, kept - written + i);
    *out_count = kept;
    *out_dropped = record->count - kept;
}

void vkring_plan_get_progress(const vkring_plan *plan, uint64_t *out_done, uint64_t *out_total)
{
    *out_done = atomic_load(&plan->progress_done);
    *out_total = atomic_load(&plan->progress_total);
}
