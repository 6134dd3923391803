/* SPDX-License-Identifier: MIT */
/* The part of vkring attend that the library does: device, plan, run, and what goes in and comes out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attend.h"
#include "host_devices.h"
#include "now.h"

static uint64_t sum_before(const uint64_t *rows, uint32_t rank)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < rank; i++)
        sum += rows[i];
    return sum;
}

static struct tensor_io io_of_input(const struct attend *attend, const struct input *input, const uint64_t *rows)
{
    const uint64_t *shape = input->header.shape;
    const uint32_t rank = attend->ranks->rank;
    return (struct tensor_io){
        .strip = strip_of_rows(shape[0], shape[1], sum_before(rows, rank), rows[rank], shape[2] * shape[3]),
        .file = {input->fd, input->path, input->header.data_offset, vkring_type_bytes(attend->problem.file_type)},
        .file_type = attend->problem.file_type,
        .device_type = attend->problem.type,
        .to_output = input == &attend->inputs.value,
        .shape = shape,
    };
}

static struct tensor_io io_of_output(const struct attend *attend)
{
    const struct attend_problem *problem = &attend->problem;
    const struct output_file *file = &attend->outputs.files[OUTPUT_TENSOR];
    const uint32_t rank = attend->ranks->rank;
    return (struct tensor_io){
        .strip = strip_of_rows(problem->batch, problem->q_len, sum_before(attend->query_rows, rank), attend->query_rows[rank],
                               problem->heads * problem->value_dim),
        .file = {file->fd, file->name, file->header.data_offset, vkring_type_bytes(problem->file_type)},
        .file_type = problem->file_type,
        .device_type = problem->type,
    };
}

static struct tensor_io io_of_lse(const struct attend *attend)
{
    const struct attend_problem *problem = &attend->problem;
    const struct output_file *file = &attend->outputs.files[OUTPUT_LSE];
    const uint32_t rank = attend->ranks->rank;
    if (!file->path)
        return (struct tensor_io){0};
    /* without queries a product of the other two may be too large for a number */
    const uint64_t lines = problem->q_len ? problem->batch * problem->heads : 0;
    return (struct tensor_io){
        .strip = strip_of_rows(lines, problem->q_len, sum_before(attend->query_rows, rank), attend->query_rows[rank], 1),
        .file = {file->fd, file->name, file->header.data_offset, vkring_type_bytes(VKRING_TYPE_F32)},
        .file_type = VKRING_TYPE_F32,
        .device_type = VKRING_TYPE_F32,
    };
}

bool attend_cut(struct attend *attend, struct failure *failure)
{
    const uint32_t ranks = attend->ranks->size;
    attend->query_rows = calloc(ranks, sizeof(uint64_t));
    attend->key_rows = calloc(ranks, sizeof(uint64_t));
    if (!attend->query_rows || !attend->key_rows)
        return fail_memory(failure);
    if (vkring_cut_rows(attend->problem.q_len, ranks, attend->options.shares, attend->query_rows) != VKRING_OK ||
        vkring_cut_rows(attend->problem.kv_len, ranks, NULL, attend->key_rows) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    attend->tensors[TENSOR_QUERY] = io_of_input(attend, &attend->inputs.query, attend->query_rows);
    attend->tensors[TENSOR_KEY] = io_of_input(attend, &attend->inputs.key, attend->key_rows);
    attend->tensors[TENSOR_VALUE] = io_of_input(attend, &attend->inputs.value, attend->key_rows);
    attend->tensors[TENSOR_OUTPUT] = io_of_output(attend);
    attend->tensors[TENSOR_LSE] = io_of_lse(attend);
    return true;
}

/* Device and plan --------------------------------------------------------------------------------------------------------- */

static bool choose_device(const struct attend *attend, uint32_t *out_index, struct failure *failure)
{
    struct host_devices devices = {0};
    const struct attend_options *options = &attend->options;
    bool good = host_devices_list(&devices, attend->ranks->rank, failure);
    if (good && !options->has_device)
        good = host_devices_turn(&devices, attend->host_turn, out_index, failure);
    else if (good && options->device >= devices.count)
        good = fail_run(failure, "device %u does not exist: this host has %u", options->device, devices.count);
    else if (good)
        *out_index = options->device;
    host_devices_free(&devices);
    return good;
}

static void report_device(struct attend *attend, uint32_t index)
{
    struct rank_report *report = &attend->report;
    struct vkring_device_info info;
    vkring_device_get_info(attend->device, &info);
    gethostname(report->host, sizeof(report->host) - 1);
    report->device_index = index;
    report->device_kind = info.kind;
    memcpy(report->device_name, info.name, sizeof(report->device_name));
    memcpy(report->device_driver, info.driver, sizeof(report->device_driver));
}

static bool create_buffers(struct attend *attend, struct failure *failure)
{
    for (int kind = 0; kind < TENSOR_KINDS; kind++) {
        const struct tensor_io *io = &attend->tensors[kind];
        uint64_t bytes = strip_elements(&io->strip) * vkring_type_bytes(io->device_type);
        attend->report.tensor_bytes += bytes;
        if (bytes > 0 && vkring_buffer_create(attend->device, bytes, &attend->buffers[kind]) != VKRING_OK)
            return fail_library(failure, attend->ranks->rank);
    }
    return true;
}

bool attend_open_device(struct attend *attend, struct failure *failure)
{
    struct vkring_device_params params = {0};
    double start = now_seconds();
    progress_phase(&attend->progress, "preparing", 0);
    if (!choose_device(attend, &params.index, failure))
        return false;
    if (vkring_device_create(&params, &attend->device) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    vkring_device_reset_memory_peak(attend->device);
    report_device(attend, params.index);
    bool good = create_buffers(attend, failure);
    attend->report.prepare_seconds = now_seconds() - start;
    return good;
}

static struct vkring_plan_params plan_params(const struct attend *attend)
{
    const struct attend_problem *problem = &attend->problem;
    return (struct vkring_plan_params){
        .type = problem->type,
        .batch = problem->batch,
        .q_len = problem->q_len,
        .kv_len = problem->kv_len,
        .heads = problem->heads,
        .kv_heads = problem->kv_heads,
        .head_dim = problem->head_dim,
        .value_dim = problem->value_dim,
        .causal = problem->causal,
        .has_query_offset = true,
        .has_scale = true,
        .query_offset = problem->query_offset,
        .scale = problem->scale,
        .query_rows_of_rank = attend->query_rows,
        .key_rows_of_rank = attend->key_rows,
        .timeout_seconds = attend->options.timeout_seconds,
    };
}

bool attend_make_plan(struct attend *attend, struct failure *failure)
{
    const struct vkring_plan_params params = plan_params(attend);
    double start = now_seconds();
    if (ranks_make_comm(attend->ranks, &attend->comm) != VKRING_OK ||
        vkring_plan_create(attend->device, attend->comm, &params, &attend->plan) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    vkring_plan_get_info(attend->plan, &attend->report.plan);
    attend->report.prepare_seconds += now_seconds() - start;
    return true;
}

/* Data --------------------------------------------------------------------------------------------------------------------- */

bool attend_load(struct attend *attend, struct failure *failure)
{
    double start = now_seconds();
    uint64_t total = 0;
    for (int kind = TENSOR_QUERY; kind <= TENSOR_VALUE; kind++)
        total += strip_elements(&attend->tensors[kind].strip);
    progress_phase(&attend->progress, "reading", total);
    for (int kind = TENSOR_QUERY; kind <= TENSOR_VALUE; kind++) {
        if (!tensor_load(&attend->tensors[kind], &attend->piece, attend->buffers[kind], attend->ranks->rank, &attend->progress, failure))
            return false;
    }
    attend->report.load_seconds = now_seconds() - start;
    return true;
}

bool attend_run(struct attend *attend, struct failure *failure)
{
    vkring_buffer *const *buffers = attend->buffers;
    const struct vkring_forward_io io = {
        .query.buffer = buffers[TENSOR_QUERY],
        .key.buffer = buffers[TENSOR_KEY],
        .value.buffer = buffers[TENSOR_VALUE],
        .output.buffer = buffers[TENSOR_OUTPUT],
        .lse.buffer = buffers[TENSOR_LSE],
    };
    progress_watch(&attend->progress, "computing", attend->plan);
    if (vkring_forward(attend->plan, &io) != VKRING_OK)
        return fail_library(failure, attend->ranks->rank);
    progress_phase(&attend->progress, "waiting", 0);
    vkring_plan_get_stats(attend->plan, &attend->report.stats);
    vkring_device_get_memory_use(attend->device, &attend->report.memory);
    return true;
}

bool attend_store(struct attend *attend, struct failure *failure)
{
    double start = now_seconds();
    uint64_t total = 0;
    for (int kind = TENSOR_OUTPUT; kind <= TENSOR_LSE; kind++)
        total += strip_elements(&attend->tensors[kind].strip);
    progress_phase(&attend->progress, "writing", total);
    for (int kind = TENSOR_OUTPUT; kind <= TENSOR_LSE; kind++) {
        if (!tensor_store(&attend->tensors[kind], &attend->piece, attend->buffers[kind], attend->ranks->rank, &attend->progress, failure))
            return false;
    }
    bool good = outputs_flush(&attend->outputs, failure);
    attend->report.store_seconds = now_seconds() - start;
    return good;
}

void attend_close_device(struct attend *attend)
{
    vkring_plan_destroy(&attend->plan);
    /* Freeing an MPI communicator may wait for the others. */
    if (!attend->ranks->broken)
        vkring_comm_destroy(&attend->comm);
    for (int kind = 0; kind < TENSOR_KINDS; kind++)
        vkring_buffer_destroy(&attend->buffers[kind]);
    vkring_device_destroy(&attend->device);
}
