/* SPDX-License-Identifier: MIT */
/* The part of vkring attend that the library does: device, plan, and runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attend.h"
#include "host_devices.h"
#include "now.h"

/* Device and plan --------------------------------------------------------------------------------------------------------- */

static void report_device(struct attend *attend, uint32_t index)
{
    struct rank_report *report = &attend->report;
    struct vkring_device_info info;
    vkring_device_get_info(attend->device, &info);
    gethostname(report->host, sizeof(report->host) - 1);
    report->device_index = index;
    report->device_kind = info.kind;
    report->device_subgroup_size = info.subgroup_size;
    report->device_unified_memory = info.unified_memory;
    memcpy(report->device_name, info.name, sizeof(report->device_name));
    memcpy(report->device_driver, info.driver, sizeof(report->device_driver));
}

static bool create_buffer(struct attend *attend, const struct tensor_io *io, vkring_buffer **out_buffer, struct failure *failure)
{
    uint64_t bytes = strip_elements(&io->strip) * element_bytes(io->device_type);
    attend->report.tensor_bytes += bytes;
    if (bytes > 0 && vkring_buffer_create(attend->device, bytes, out_buffer) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    return true;
}

static bool create_buffers(struct attend *attend, struct failure *failure)
{
    bool good = true;
    for (int kind = 0; good && kind < FILE_KINDS; kind++)
        good = create_buffer(attend, &attend->tensors[kind], &attend->buffers[kind], failure);
    if (good && attend_options_backward(&attend->options))
        good = create_buffer(attend, &attend->tensors[FILE_LSE], &attend->lse_residual, failure) &&
               create_buffer(attend, &attend->tensors[FILE_OUTPUT], &attend->output_residual, failure);
    return good;
}

bool attend_open_device(struct attend *attend, struct failure *failure)
{
    struct vkring_device_params params = {0};
    double start = now_seconds();
    progress_phase(&attend->progress, "preparing", 0);
    if (!host_devices_choose(attend->ranks->rank, attend->options.has_device ? &attend->options.device : NULL, attend->host_turn,
                             &params.index, failure))
        return false;
    if (vkring_device_create(&params, &attend->device) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    vkring_device_reset_memory_peak(attend->device);
    report_device(attend, params.index);
    attend->report.prepare_seconds = now_seconds() - start;
    return true;
}

struct vkring_plan_params attend_plan_params(const struct attend *attend)
{
    const struct attend_problem *problem = &attend->problem;
    const struct attend_options *options = &attend->options;
    return (struct vkring_plan_params){
        .type = element_library_type(problem->type),
        .batch = problem->lengths[DIM_BATCH],
        .q_len = problem->lengths[DIM_Q_LEN],
        .kv_len = problem->lengths[DIM_KV_LEN],
        .heads = problem->lengths[DIM_HEADS],
        .kv_heads = problem->lengths[DIM_KV_HEADS],
        .head_dim = problem->lengths[DIM_HEAD_DIM],
        .value_dim = problem->lengths[DIM_VALUE_DIM],
        .causal = options->causal,
        .has_window = true,
        .has_query_offset = true,
        .has_scale = true,
        .segment_ids = options->files[FILE_QUERY_SEGMENTS] != NULL,
        .alibi = options->files[FILE_SLOPES] != NULL,
        .sinks = options->files[FILE_SINKS] != NULL,
        .backward = attend_options_backward(options),
        .causal_block = options->causal ? options->causal_block : 0,
        .window_left = options->window_left,
        .window_right = options->window_right,
        .query_offset = problem->query_offset,
        .scale = problem->scale,
        .softcap = options->softcap,
        .dropout = options->dropout,
        .bias = problem->bias,
        .layout = options->layout,
        .query_rows_of_rank = attend->query_rows,
        .timeout_seconds = options->timeout_seconds,
        .events = options->files[FILE_TRACE] ? TRACE_EVENTS : 0,
    };
}

static bool measure_shares(struct attend *attend, struct failure *failure)
{
    const struct vkring_plan_params params = attend_plan_params(attend);
    const struct ranks *ranks = attend->ranks;
    double *speeds = calloc(ranks->size, sizeof(*speeds));
    attend->query_rows = calloc(ranks->size, sizeof(uint64_t));
    bool good = speeds && attend->query_rows ? true : fail_memory(failure);
    if (good && vkring_shares_measure(attend->device, attend->comm, &params, attend->query_rows, speeds) != VKRING_OK)
        good = fail_library(failure, ranks->rank);
    if (good)
        attend->report.measured_flops = speeds[ranks->rank];
    free(speeds);
    return good && attend_cut_again(attend, failure);
}

bool attend_measure_shares(struct attend *attend, struct failure *failure)
{
    const double start = now_seconds();
    bool good = true;
    if (ranks_make_comm(attend->ranks, &attend->comm) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    if (attend->options.measured_shares) {
        progress_phase(&attend->progress, "measuring", 0);
        good = measure_shares(attend, failure);
        vkring_device_reset_memory_peak(attend->device);
    }
    attend->report.prepare_seconds += now_seconds() - start;
    return good;
}

bool attend_make_buffers(struct attend *attend, struct failure *failure)
{
    const double start = now_seconds();
    const bool good = create_buffers(attend, failure);
    attend->report.prepare_seconds += now_seconds() - start;
    return good;
}

bool attend_make_plan(struct attend *attend, struct failure *failure)
{
    const struct vkring_plan_params params = attend_plan_params(attend);
    double start = now_seconds();
    if (vkring_plan_create(attend->device, attend->comm, &params, &attend->plan) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    vkring_plan_get_info(attend->plan, &attend->report.plan);
    attend->report.prepare_seconds += now_seconds() - start;
    return true;
}

/* Runs --------------------------------------------------------------------------------------------------------------------- */

static struct vkring_forward_io forward_io(const struct attend *attend)
{
    vkring_buffer *const *buffers = attend->buffers;
    return (struct vkring_forward_io){
        .query.buffer = buffers[FILE_QUERY],
        .key.buffer = buffers[FILE_KEY],
        .value.buffer = buffers[FILE_VALUE],
        .output.buffer = buffers[FILE_OUTPUT],
        .lse.buffer = buffers[FILE_LSE],
        .lse_residual.buffer = attend->lse_residual,
        .output_residual.buffer = attend->output_residual,
        .query_segment_ids.buffer = buffers[FILE_QUERY_SEGMENTS],
        .key_segment_ids.buffer = buffers[FILE_KEY_SEGMENTS],
        .bias.buffer = buffers[FILE_BIAS],
        .alibi_slopes.buffer = buffers[FILE_SLOPES],
        .sinks.buffer = buffers[FILE_SINKS],
        .seed = attend->options.seed,
    };
}

static bool keep_events(struct attend *attend, enum trace_pass pass, struct failure *failure)
{
    return !attend->options.files[FILE_TRACE] || trace_take(&attend->trace, pass, attend->plan, failure);
}

bool attend_run_forward(struct attend *attend, struct failure *failure)
{
    const struct vkring_forward_io io = forward_io(attend);
    progress_watch(&attend->progress, "computing", attend->plan);
    if (vkring_forward(attend->plan, &io) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    progress_phase(&attend->progress, "waiting", 0);
    vkring_plan_get_stats(attend->plan, &attend->report.stats);
    vkring_device_get_memory_use(attend->device, &attend->report.memory);
    return keep_events(attend, TRACE_FORWARD, failure);
}

bool attend_run_backward(struct attend *attend, struct failure *failure)
{
    vkring_buffer *const *buffers = attend->buffers;
    if (!attend_options_backward(&attend->options))
        return true;
    const struct vkring_backward_io io = {
        .forward = forward_io(attend),
        .output_grad.buffer = buffers[FILE_OUTPUT_GRAD],
        .query_grad.buffer = buffers[FILE_QUERY_GRAD],
        .key_grad.buffer = buffers[FILE_KEY_GRAD],
        .value_grad.buffer = buffers[FILE_VALUE_GRAD],
        .bias_grad.buffer = buffers[FILE_BIAS_GRAD],
        .sink_grad.buffer = buffers[FILE_SINK_GRAD],
    };
    progress_watch(&attend->progress, "gradients", attend->plan);
    if (vkring_backward(attend->plan, &io) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    progress_phase(&attend->progress, "waiting", 0);
    vkring_plan_get_stats(attend->plan, &attend->report.backward_stats);
    vkring_device_get_memory_use(attend->device, &attend->report.memory);
    return keep_events(attend, TRACE_BACKWARD, failure);
}

void attend_close_device(struct attend *attend)
{
    vkring_plan_destroy(&attend->plan);
    /* Freeing an MPI communicator may wait for the others. */
    if (!attend->ranks->broken)
        vkring_comm_destroy(&attend->comm);
    for (int kind = 0; kind < FILE_KINDS; kind++)
        vkring_buffer_destroy(&attend->buffers[kind]);
    vkring_buffer_destroy(&attend->lse_residual);
    vkring_buffer_destroy(&attend->output_residual);
    vkring_device_destroy(&attend->device);
}
