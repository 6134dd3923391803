/* SPDX-License-Identifier: MIT */
/* A rank of the campaign: a process that makes a plan, runs it well once, and then meets the fault. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/clock.h>
#include <base/crc32c.h>
#include <ring/plan.h>

#include "../harness/case_tensors.h"
#include "../harness/opened_device.h"
#include "failing_calls.h"
#include "fault_job.h"

struct attempt {
    struct fault_job *job;
    uint32_t rank;
    struct rank_report *report;
    struct attention_case c;
    struct case_data data;
    vkring_device *device;
    const struct fault_transport *transport;
    vkring_comm *comm;
    vkring_plan *plan;
    struct vkring_plan_info info;
    vkring_buffer *buffers[TENSORS];
};

struct attention_case fault_case(const struct fault_job *job)
{
    return (struct attention_case){.name = "fault",
                                   .seed = 5,
                                   .params = {.batch = 1,
                                              .q_len = 61,
                                              .kv_len = job->kv_len,
                                              .heads = 2,
                                              .kv_heads = 1,
                                              .head_dim = 16,
                                              .causal = true,
                                              .sinks = true,
                                              .backward = job->backward,
                                              .layout = job->layout,
                                              .timeout_seconds = job->at_create ? job->timeout_seconds : 60,
                                              .chunk_bytes = job->chunk_bytes}};
}

static void note_failing_call(void *net)
{
    wire_note_fault(net, VKRING_NONE, 0);
}

/* Makes the rank meet a fault of its device or its memory, if that is what it is to meet; else only counts. */
static void aim(struct attempt *attempt, enum failing_kind kind)
{
    static const VkResult results[] = {VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_ERROR_OUT_OF_HOST_MEMORY, VK_ERROR_DEVICE_LOST};
    const struct wire_fault *fault = &attempt->job->net.fault;
    const bool meets = fault->kind == (kind == FAILING_VULKAN ? WIRE_DEVICE : WIRE_MEMORY) && fault->rank == attempt->rank;
    failing_calls = (struct failing_calls){.kind = kind,
                                           .nth = meets ? fault->nth : UINT64_MAX,
                                           .result = results[fault->draw % 3],
                                           .on_first = note_failing_call,
                                           .user = &attempt->job->net};
}

static void begin_call(struct attempt *attempt, enum fault_call call)
{
    failing_calls.armed = true;
    attempt->report->calls[call] = (struct call_report){.made = true, .begin = clock_seconds()};
}

static bool end_call(struct attempt *attempt, enum fault_call call, enum vkring_status status)
{
    struct call_report *report = &attempt->report->calls[call];
    failing_calls.armed = false;
    report->end = clock_seconds();
    if (status != VKRING_OK)
        report->error = *vkring_last_error();
    return status == VKRING_OK;
}

static const float *whole_of(const struct case_data *data, enum case_tensor tensor)
{
    const float *const of[TENSORS] = {
        [QUERY] = data->query, [KEY] = data->key, [VALUE] = data->value, [SINKS] = data->sinks, [OUTPUT_GRAD] = data->output_grad};
    return of[tensor];
}

static uint64_t bytes_of(const struct attempt *attempt, enum case_tensor tensor)
{
    return case_slice_count(&attempt->c, &attempt->info, tensor) * sizeof(float);
}

static bool make_tensors(struct attempt *attempt)
{
    bool made = true;
    for (enum case_tensor i = 0; i < TENSORS; i++) {
        if (!case_has(&attempt->c, i))
            continue;
        const struct case_slice slice = case_slice(&attempt->c, &attempt->info, i);
        const uint64_t bytes = bytes_of(attempt, i);
        void *part = malloc(bytes + 1);
        memset(part, 0xff, bytes);
        if (!case_writes(i))
            case_take_slice(&slice, sizeof(float), whole_of(&attempt->data, i), part);
        made = made && vkring_buffer_create(attempt->device, bytes, &attempt->buffers[i]) == VKRING_OK &&
               vkring_buffer_upload(attempt->buffers[i], 0, part, bytes) == VKRING_OK;
        free(part);
    }
    return made;
}

static uint32_t hash_of(struct attempt *attempt, enum case_tensor first, enum case_tensor last)
{
    uint32_t hash = 0;
    for (enum case_tensor i = first; i <= last; i++) {
        if (!attempt->buffers[i])
            continue;
        const uint64_t bytes = bytes_of(attempt, i);
        void *values = calloc(1, bytes + 1);
        vkring_buffer_download(attempt->buffers[i], 0, values, bytes);
        hash = crc32c(hash, values, bytes);
        free(values);
    }
    return hash;
}

static struct vkring_backward_io io_of(const struct attempt *attempt)
{
    vkring_buffer *const *at = attempt->buffers;
    return (struct vkring_backward_io){
        .forward = {.query = {.buffer = at[QUERY]},
                    .key = {.buffer = at[KEY]},
                    .value = {.buffer = at[VALUE]},
                    .output = {.buffer = at[OUTPUT]},
                    .lse = {.buffer = at[LSE]},
                    .lse_residual = {.buffer = at[LSE_RESIDUAL]},
                    .sinks = {.buffer = at[SINKS]}},
        .output_grad = {.buffer = at[OUTPUT_GRAD]},
        .query_grad = {.buffer = at[QUERY_GRAD]},
        .key_grad = {.buffer = at[KEY_GRAD]},
        .value_grad = {.buffer = at[VALUE_GRAD]},
        .sink_grad = {.buffer = at[SINK_GRAD]},
    };
}

static bool run_both(struct attempt *attempt)
{
    const struct vkring_backward_io io = io_of(attempt);
    begin_call(attempt, CALL_FORWARD);
    if (!end_call(attempt, CALL_FORWARD, vkring_forward(attempt->plan, &io.forward)))
        return false;
    attempt->report->calls[CALL_FORWARD].hash = hash_of(attempt, OUTPUT, LSE);
    if (!attempt->job->backward)
        return true;
    begin_call(attempt, CALL_BACKWARD);
    if (!end_call(attempt, CALL_BACKWARD, vkring_backward(attempt->plan, &io)))
        return false;
    attempt->report->calls[CALL_BACKWARD].hash = hash_of(attempt, QUERY_GRAD, SINK_GRAD);
    return true;
}

/* A plan before the one that meets the fault, so that no rank is late with its kernels where the deadline is short. */
static bool compile_kernels(struct attempt *attempt)
{
    struct vkring_plan_params params = attempt->c.params;
    params.timeout_seconds = 60;
    const bool made = vkring_plan_create(attempt->device, attempt->comm, &params, &attempt->plan) == VKRING_OK;
    vkring_plan_destroy(&attempt->plan);
    return made;
}

static bool make_plan(struct attempt *attempt)
{
    if (attempt->job->at_create)
        attempt->transport->arm();
    aim(attempt, FAILING_MEMORY);
    begin_call(attempt, CALL_CREATE);
    if (!end_call(attempt, CALL_CREATE, vkring_plan_create(attempt->device, attempt->comm, &attempt->c.params, &attempt->plan)))
        return false;
    vkring_plan_get_info(attempt->plan, &attempt->info);
    attempt->report->allocations = failing_calls.count;
    failing_calls = (struct failing_calls){.nth = UINT64_MAX};
    return true;
}

/* Once with a long deadline, since some drivers compile a kernel when it first runs. */
static void meet_fault(struct attempt *attempt)
{
    const struct fault_job *job = attempt->job;
    if (job->is_reference)
        attempt->report->right = case_passes(&attempt->c, attempt->device, attempt->comm);
    if (job->at_create && !compile_kernels(attempt))
        return;
    if (!make_plan(attempt) || !make_tensors(attempt) || !run_both(attempt) || job->at_create)
        return;
    attempt->transport->arm();
    aim(attempt, FAILING_VULKAN);
    attempt->plan->timeout_seconds = job->timeout_seconds;
    run_both(attempt);
    attempt->report->device_calls = failing_calls.count;
    failing_calls = (struct failing_calls){.nth = UINT64_MAX};
}

static void clean_up(struct attempt *attempt)
{
    double begin = clock_seconds();
    vkring_plan_destroy(&attempt->plan);
    attempt->report->plan_destroy_seconds = clock_seconds() - begin;
    for (int i = 0; i < TENSORS; i++)
        vkring_buffer_destroy(&attempt->buffers[i]);
    attempt->report->counts = attempt->transport->count();
    begin = clock_seconds();
    vkring_comm_destroy(&attempt->comm);
    attempt->report->comm_destroy_seconds = clock_seconds() - begin;
    attempt->report->live_requests = attempt->transport->live_requests(attempt->rank);
    case_free_data(&attempt->data);
}

void fault_rank_serve(struct fault_job *job, uint32_t rank, vkring_device *device, const struct fault_transport *transport)
{
    struct attempt attempt = {
        .job = job, .rank = rank, .report = &job->reports[rank], .c = fault_case(job), .device = device, .transport = transport};
    if (transport->open(rank, &attempt.comm) != VKRING_OK || !case_make_data(&attempt.c, &attempt.data)) {
        fprintf(stderr, "rank %u: %s\n", rank, vkring_last_error()->message);
        abort();
    }
    meet_fault(&attempt);
    transport->settle();
    clean_up(&attempt);
    atomic_store(&job->reports[rank].done, true);
}
