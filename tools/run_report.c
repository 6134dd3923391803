/* SPDX-License-Identifier: MIT */
#include "run_report.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "host_devices.h"
#include "json_text.h"
#include "verdict.h"

static const char *type_text(enum vkring_type type)
{
    return type == VKRING_TYPE_F32 ? "f32" : type == VKRING_TYPE_F16 ? "f16" : "bf16";
}

static json_t *problem_json(const struct attend_problem *problem)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:I, s:s}", "type", type_text(problem->type), "file_type",
                     type_text(problem->file_type), "batch", json_size(problem->batch), "q_len", json_size(problem->q_len), "kv_len",
                     json_size(problem->kv_len), "heads", json_size(problem->heads), "kv_heads", json_size(problem->kv_heads), "head_dim",
                     json_size(problem->head_dim), "value_dim", json_size(problem->value_dim), "causal", problem->causal, "scale",
                     json_measure(problem->scale), "query_offset", (json_int_t)problem->query_offset, "layout", "contiguous");
}

static json_t *device_json(const struct rank_report *report)
{
    return json_pack("{s:I, s:o, s:o, s:s}", "index", (json_int_t)report->device_index, "name", json_text(report->device_name), "driver",
                     json_text(report->device_driver), "kind", device_kind_text(report->device_kind));
}

static json_t *seconds_json(const struct rank_report *report)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "check", json_measure(report->check_seconds), "prepare",
                     json_measure(report->prepare_seconds), "read", json_measure(report->load_seconds), "run",
                     json_measure(report->stats.total_seconds), "compute", json_measure(report->stats.compute_seconds), "transfer",
                     json_measure(report->stats.transfer_seconds), "exposed_wait", json_measure(report->stats.exposed_wait_seconds),
                     "write", json_measure(report->store_seconds));
}

static json_t *bytes_json(const struct rank_report *report)
{
    return json_pack("{s:o, s:o, s:o}", "sent", json_size(report->stats.sent_bytes), "received", json_size(report->stats.received_bytes),
                     "packet", json_size(report->plan.packet_bytes));
}

static json_t *memory_json(const struct rank_report *report)
{
    const struct vkring_plan_memory *planned = &report->plan.memory;
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "tensor_bytes", json_size(report->tensor_bytes), "planned_device_bytes",
                     json_size(planned->device_bytes), "planned_host_bytes", json_size(planned->host_bytes), "peak_device_bytes",
                     json_size(report->memory.device_peak_bytes), "peak_host_bytes", json_size(report->memory.host_peak_bytes));
}

static json_t *rows_json(uint64_t first, uint64_t rows)
{
    return json_pack("{s:o, s:o}", "first", json_size(first), "count", json_size(rows));
}

static json_t *rank_json(const struct rank_report *report, const struct attend_problem *problem)
{
    const struct vkring_plan_info *plan = &report->plan;
    const double q_len = (double)problem->q_len;
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o}", "rank", (json_int_t)plan->rank, "host",
                     json_text(report->host), "device", device_json(report), "kernel", json_text(plan->kernel), "share",
                     json_measure((double)plan->query_rows / (q_len > 0 ? q_len : 1)), "query_rows",
                     rows_json(plan->first_query_row, plan->query_rows), "key_rows", rows_json(plan->first_key_row, plan->key_rows),
                     "seconds", seconds_json(report), "steps", (json_int_t)report->stats.steps, "flop", json_measure(report->stats.flop),
                     "gflop_per_second", json_measure(report->stats.flop / report->stats.total_seconds * 1e-9), "bytes", bytes_json(report),
                     "memory", memory_json(report));
}

/* A ring takes as long as its slowest rank. */
static json_t *whole_json(const struct rank_report *reports, uint32_t size)
{
    double seconds = 0, flop = 0;
    for (uint32_t rank = 0; rank < size; rank++) {
        flop += reports[rank].stats.flop;
        seconds = reports[rank].stats.total_seconds > seconds ? reports[rank].stats.total_seconds : seconds;
    }
    return json_pack("{s:o, s:o, s:o}", "run_seconds", json_measure(seconds), "flop", json_measure(flop), "gflop_per_second",
                     json_measure(flop / seconds * 1e-9));
}

static json_t *report_json(const struct rank_report *reports, uint32_t size, const struct attend_problem *problem)
{
    json_t *ranks = json_array();
    for (uint32_t rank = 0; rank < size; rank++)
        json_array_append_new(ranks, rank_json(&reports[rank], problem));
    return json_pack("{s:s, s:o, s:o, s:o}", "vkring", vkring_version(), "problem", problem_json(problem), "total",
                     whole_json(reports, size), "ranks", ranks);
}

static bool write_json(json_t *report, int fd, const char *path, struct failure *failure)
{
    if (!report)
        return fail_memory(failure);
    if (json_dumpfd(report, fd, JSON_INDENT(2) | JSON_REAL_PRECISION(7)) != 0 || write(fd, "\n", 1) != 1)
        return fail_file(failure, "write", path);
    return true;
}

bool run_report_write(struct ranks *ranks, const struct attend_problem *problem, const struct rank_report *mine, int fd, const char *path,
                      struct failure *failure)
{
    struct rank_report *reports = calloc(ranks->size, sizeof(*reports));
    if (!reports)
        return fail_memory(failure);
    bool good = verdict_gather(ranks, mine, sizeof(*mine), reports, failure);
    if (good && ranks->rank == 0) {
        json_t *report = report_json(reports, ranks->size, problem);
        good = write_json(report, fd, path, failure);
        json_decref(report);
    }
    free(reports);
    return good;
}
