/* SPDX-License-Identifier: MIT */
#include "run_report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host_devices.h"
#include "json_text.h"
#include "layout_text.h"
#include "verdict.h"

/* What all parts of a report look at. */
struct report {
    const struct attend_options *options;
    const struct attend_problem *problem;
    const struct rank_report *reports;
    uint32_t size;
};

/* null where the option was not given. */
static json_t *bias_json(const struct attend_problem *problem)
{
    const struct vkring_bias_params *bias = &problem->bias;
    const uint64_t *lengths = problem->lengths;
    if (!bias->present)
        return json_null();
    return json_pack("{s:s, s:[o, o, o, o]}", "type", element_text((enum element_type)bias->type), "shape",
                     json_size(bias->per_batch ? lengths[DIM_BATCH] : 1), json_size(bias->per_head ? lengths[DIM_HEADS] : 1),
                     json_size(bias->per_query ? lengths[DIM_Q_LEN] : 1), json_size(lengths[DIM_KV_LEN]));
}

static json_t *dropout_json(const struct attend_options *options)
{
    if (options->dropout == 0)
        return json_null();
    char seed[32];
    snprintf(seed, sizeof(seed), "%" PRIu64, options->seed); /* a number of JSON need not hold 64 bits */
    return json_pack("{s:o, s:s}", "probability", json_measure(options->dropout), "seed", seed);
}

static json_t *gradients_json(const struct attend_options *options)
{
    json_t *gradients = json_array();
    for (enum file_kind kind = FILE_READ_KINDS; kind < FILE_KINDS; kind++) {
        if (options->files[kind] && file_gradient_of(kind) != FILE_KINDS)
            json_array_append_new(gradients, json_string(file_spec(file_gradient_of(kind))->option + 2));
    }
    return gradients;
}

/* What says how scores are made and which of them are kept. */
static json_t *scores_json(const struct attend_options *options, const struct attend_problem *problem)
{
    return json_pack("{s:b, s:o, s:[I, I], s:b, s:o, s:o, s:b, s:o, s:b, s:o, s:I}", "causal", options->causal, "causal_block",
                     json_size(options->causal_block), "window", (json_int_t)options->window_left, (json_int_t)options->window_right,
                     "segment_ids", options->files[FILE_QUERY_SEGMENTS] != NULL, "scale", json_measure(problem->scale), "softcap",
                     json_measure(options->softcap), "alibi", options->files[FILE_SLOPES] != NULL, "bias", bias_json(problem), "sinks",
                     options->files[FILE_SINKS] != NULL, "dropout", dropout_json(options), "query_offset",
                     (json_int_t)problem->query_offset);
}

json_t *run_report_problem(const struct attend_options *options, const struct attend_problem *problem)
{
    json_t *json = json_pack("{s:s, s:s}", "type", element_text(problem->type), "file_type", element_text(problem->file_type));
    for (enum dimension dimension = 0; dimension < DIMENSIONS; dimension++)
        json_object_set_new(json, dimension_name(dimension), json_size(problem->lengths[dimension]));
    json_object_update_new(json, scores_json(options, problem));
    return json;
}

static json_t *problem_json(const struct report *report)
{
    json_t *json = run_report_problem(report->options, report->problem);
    json_object_set_new(json, "gradients", gradients_json(report->options));
    json_object_set_new(json, "layout", json_string(layout_text(report->reports[0].plan.rows.layout)));
    return json;
}

json_t *run_report_device(const struct rank_report *report)
{
    return json_pack("{s:I, s:o, s:o, s:s, s:I, s:b}", "index", (json_int_t)report->device_index, "name", json_text(report->device_name),
                     "driver", json_text(report->device_driver), "kind", device_kind_text(report->device_kind), "subgroup_size",
                     (json_int_t)report->device_subgroup_size, "unified_memory", report->device_unified_memory);
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

/* null where no gradients are wanted. */
static json_t *backward_json(const struct report *report, const struct vkring_run_stats *stats)
{
    if (!attend_options_backward(report->options))
        return json_null();
    return json_pack("{s:{s:o, s:o, s:o, s:o}, s:o, s:o, s:o}", "seconds", "run", json_measure(stats->total_seconds), "compute",
                     json_measure(stats->compute_seconds), "transfer", json_measure(stats->transfer_seconds), "exposed_wait",
                     json_measure(stats->exposed_wait_seconds), "flop", json_measure(stats->flop), "computed_flop",
                     json_measure(stats->computed_flop), "gflop_per_second", json_measure(stats->flop / stats->total_seconds * 1e-9));
}

static json_t *memory_json(const struct rank_report *report)
{
    const struct vkring_plan_memory *planned = &report->plan.memory;
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "tensor_bytes", json_size(report->tensor_bytes), "planned_device_bytes",
                     json_size(planned->device_bytes), "planned_host_bytes", json_size(planned->host_bytes), "peak_device_bytes",
                     json_size(report->memory.device_peak_bytes), "peak_host_bytes", json_size(report->memory.host_peak_bytes));
}

/* Those of a rank, in spans of the sequence. */
static json_t *rows_json(const struct vkring_span spans[VKRING_SPANS])
{
    json_t *json = json_array();
    for (int i = 0; i < VKRING_SPANS; i++)
        if (spans[i].rows > 0)
            json_array_append_new(json, json_pack("{s:o, s:o, s:o}", "first", json_size(spans[i].first), "count", json_size(spans[i].rows),
                                                  "stride", json_size(spans[i].stride)));
    return json;
}

/* null where shares were given. */
static json_t *speed_json(const struct rank_report *report)
{
    return report->measured_flops > 0 ? json_measure(report->measured_flops * 1e-9) : json_null();
}

static json_t *rank_json(const struct report *all, const struct rank_report *report)
{
    const struct vkring_plan_info *plan = &report->plan;
    const double q_len = (double)all->problem->lengths[DIM_Q_LEN];
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "rank", (json_int_t)plan->rank,
                     "host", json_text(report->host), "device", run_report_device(report), "kernel", json_text(plan->kernel), "share",
                     json_measure((double)plan->rows.query_rows / (q_len > 0 ? q_len : 1)), "measured_gflop_per_second", speed_json(report),
                     "query_rows", rows_json(plan->rows.query_spans), "key_rows", rows_json(plan->rows.key_spans), "seconds",
                     seconds_json(report), "steps", (json_int_t)report->stats.steps, "flop", json_measure(report->stats.flop),
                     "computed_flop", json_measure(report->stats.computed_flop), "gflop_per_second",
                     json_measure(report->stats.flop / report->stats.total_seconds * 1e-9), "backward",
                     backward_json(all, &report->backward_stats), "bytes", bytes_json(report), "memory", memory_json(report));
}

/* A ring takes as long as its slowest rank. */
static json_t *whole_json(const struct report *all)
{
    double seconds = 0, flop = 0;
    for (uint32_t rank = 0; rank < all->size; rank++) {
        const struct vkring_run_stats *stats = &all->reports[rank].stats;
        flop += stats->flop;
        seconds = stats->total_seconds > seconds ? stats->total_seconds : seconds;
    }
    return json_pack("{s:o, s:o, s:o}", "run_seconds", json_measure(seconds), "flop", json_measure(flop), "gflop_per_second",
                     json_measure(flop / seconds * 1e-9));
}

static json_t *report_json(const struct report *all)
{
    json_t *ranks = json_array();
    for (uint32_t rank = 0; rank < all->size; rank++)
        json_array_append_new(ranks, rank_json(all, &all->reports[rank]));
    return json_pack("{s:s, s:o, s:o, s:o}", "vkring", vkring_version(), "problem", problem_json(all), "total", whole_json(all), "ranks",
                     ranks);
}

bool run_report_put(json_t *report, int fd, const char *path, struct failure *failure)
{
    if (!report)
        return fail_memory(failure);
    const bool good = json_dumpfd(report, fd, JSON_INDENT(2) | JSON_REAL_PRECISION(7)) == 0 && write(fd, "\n", 1) == 1;
    json_decref(report);
    return good || fail_file(failure, "write", path);
}

bool run_report_write(struct ranks *ranks, const struct attend_options *options, const struct attend_problem *problem,
                      const struct rank_report *mine, int fd, const char *path, struct failure *failure)
{
    struct rank_report *reports = calloc(ranks->size, sizeof(*reports));
    if (!reports)
        return fail_memory(failure);
    bool good = verdict_gather(ranks, mine, sizeof(*mine), reports, failure);
    if (good && ranks->rank == 0) {
        const struct report all = {options, problem, reports, ranks->size};
        good = run_report_put(report_json(&all), fd, path, failure);
    }
    free(reports);
    return good;
}
