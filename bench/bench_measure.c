/* SPDX-License-Identifier: MIT */
#include "bench_measure.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../tools/verdict.h"
#include "bench_inputs.h"

#define GPU_WARM_UP_SECONDS 0.3
#define LEAST_RUN_SECONDS 1e-4

struct bench {
    const struct bench_setting *setting;
    const struct bench_case *which;
    vkring_plan *plan;
    struct vkring_plan_info info;
    struct bench_inputs inputs;
    uint64_t *query_rows;  /* of each rank; null: equal */
    uint64_t bytes_before; /* of device memory, before anything was made */
    struct bench_result *result;
};

/* What a rank tells the others of one run. */
struct run_figures {
    double total, compute, transfer, exposed, computed_flop, sent;
};

/* What a rank tells the others of what it did since they last met. */
struct report {
    bool good;
    struct run_figures figures;
};

static uint32_t rank_of(const struct bench *bench)
{
    return bench->setting->ranks->rank;
}

/* By the shares of the command line, if there are any. */
static bool cut_queries(struct bench *bench, struct vkring_plan_params *problem, struct failure *failure)
{
    const struct bench_setting *setting = bench->setting;
    const struct bench_options *options = setting->options;
    enum vkring_status status;
    if (!options->shares && !options->measured_shares)
        return true;
    bench->query_rows = calloc(setting->ranks->size, sizeof(*bench->query_rows));
    if (!bench->query_rows)
        return fail_memory(failure);
    if (options->shares)
        status = vkring_cut_rows(problem->q_len, setting->ranks->size, options->shares, bench->query_rows);
    else
        status = vkring_shares_measure(setting->device, setting->comm, problem, bench->query_rows, NULL);
    problem->query_rows_of_rank = bench->query_rows;
    return status == VKRING_OK || fail_library(failure, rank_of(bench));
}

static bool make_plan(struct bench *bench, struct failure *failure)
{
    const struct bench_setting *setting = bench->setting;
    struct vkring_plan_params problem = bench->result->problem;
    struct vkring_memory_use use;
    vkring_device_get_memory_use(setting->device, &use);
    bench->bytes_before = use.device_bytes;
    if (!cut_queries(bench, &problem, failure))
        return false;
    vkring_device_reset_memory_peak(setting->device);
    if (vkring_plan_create(setting->device, setting->comm, &problem, &bench->plan) != VKRING_OK)
        return fail_library(failure, rank_of(bench));
    vkring_plan_get_info(bench->plan, &bench->info);
    vkring_device_get_memory_use(setting->device, &use);
    bench->result->problem.layout = bench->info.rows.layout;
    bench->result->planned_bytes = (double)bench->info.memory.device_bytes;
    bench->result->taken_bytes = (double)(use.device_peak_bytes - bench->bytes_before);
    memcpy(bench->result->kernel, bench->info.kernel, sizeof(bench->result->kernel));
    return true;
}

/* Meets the other ranks: they go on together, or none does. */
static bool meet(struct bench *bench, bool good, const struct run_figures *mine, struct run_figures *out_largest, struct failure *failure)
{
    const uint32_t size = bench->setting->ranks->size;
    struct report report = {.good = good, .figures = *mine}, *all = calloc(size, sizeof(*all));
    if (!all)
        return fail_memory(failure);
    bool all_good = verdict_gather(bench->setting->ranks, &report, sizeof(report), all, failure);
    *out_largest = (struct run_figures){0};
    for (uint32_t rank = 0; all_good && rank < size; rank++) {
        const struct run_figures *its = &all[rank].figures;
        out_largest->total = fmax(out_largest->total, its->total);
        out_largest->compute = fmax(out_largest->compute, its->compute);
        out_largest->transfer = fmax(out_largest->transfer, its->transfer);
        out_largest->exposed = fmax(out_largest->exposed, its->exposed);
        out_largest->computed_flop = fmax(out_largest->computed_flop, its->computed_flop);
        out_largest->sent += its->sent;
        if (!all[rank].good && good)
            failure->of_peer = !fail_run(failure, "rank %" PRIu32 " failed", rank);
        all_good = all[rank].good;
    }
    free(all);
    return all_good;
}

static bool run_once(struct bench *bench, struct run_figures *out_largest, struct failure *failure)
{
    struct vkring_run_stats stats = {0};
    const bool backward = bench->which->problem.backward;
    const bool good = vkring_forward(bench->plan, &bench->inputs.io.forward) == VKRING_OK &&
                      (!backward || vkring_backward(bench->plan, &bench->inputs.io) == VKRING_OK);
    if (!good)
        fail_library(failure, rank_of(bench));
    if (good)
        vkring_plan_get_stats(bench->plan, &stats);
    const struct run_figures mine = {
        .total = stats.total_seconds,
        .compute = stats.compute_seconds,
        .transfer = stats.transfer_seconds,
        .exposed = stats.exposed_wait_seconds,
        .computed_flop = stats.computed_flop,
        .sent = (double)stats.sent_bytes,
    };
    return meet(bench, good, &mine, out_largest, failure);
}

static bool validate(struct bench *bench, struct failure *failure)
{
    struct bench_result *result = bench->result;
    struct bench_error mine = {0};
    struct run_figures largest;
    if (bench->setting->options->no_validate)
        return true;
    bool good = bench_inputs_compare(&bench->inputs, bench->setting->progress, &mine, failure);
    if (good && !mine.within_gates)
        good = fail_run(failure, "%s is wrong: error %.3g (RMS), %.3g (largest) over the RMS of float64", bench->which->name, mine.rms,
                        mine.maximum);
    if (!meet(bench, good, &(struct run_figures){.total = mine.rms, .compute = mine.maximum}, &largest, failure))
        return false;
    result->error_rms = largest.total;
    result->error_maximum = largest.compute;
    result->validated = true;
    return true;
}

static int by_total(const void *a, const void *b)
{
    const double x = ((const struct run_figures *)a)->total, y = ((const struct run_figures *)b)->total;
    return (x > y) - (x < y);
}

static void summarise(struct bench *bench, struct run_figures *runs, uint32_t count)
{
    struct bench_result *result = bench->result;
    qsort(runs, count, sizeof(*runs), by_total);
    const struct run_figures *median = &runs[count / 2];
    result->repeats = count;
    result->seconds_median = median->total;
    result->seconds_least = runs[0].total;
    result->seconds_most = runs[count - 1].total;
    result->gflops = bench_case_flop(bench->which) / median->total * 1e-9;
    result->compute_seconds = median->compute;
    result->transfer_seconds = median->transfer;
    result->exposed_wait_seconds = median->exposed;
    result->computed_flop = median->computed_flop;
    result->sent_bytes = median->sent;
}

static bool time_runs(struct bench *bench, struct failure *failure)
{
    static struct run_figures runs[BENCH_REPEATS_MAX];
    const uint32_t repeats = bench->setting->options->repeats;
    for (uint32_t i = 0; i < repeats; i++) {
        if (!run_once(bench, &runs[i], failure))
            return false;
    }
    summarise(bench, runs, repeats);
    return true;
}

static bool prepare(struct bench *bench, struct failure *failure)
{
    vkring_device *device = bench->setting->device;
    struct run_figures none = {0};
    const bool good = make_plan(bench, failure) && bench_inputs_make(device, bench->which, &bench->info, &bench->inputs, failure);
    vkring_device_reset_memory_peak(device);
    return meet(bench, good, &none, &none, failure);
}

/* The most that the device held during the runs, beside the tensors: against what the plan promised. */
static bool weigh_memory(struct bench *bench, struct failure *failure)
{
    struct bench_result *result = bench->result;
    struct vkring_memory_use use;
    struct run_figures largest;
    vkring_device_get_memory_use(bench->setting->device, &use);
    const double peak = (double)(use.device_peak_bytes - bench->bytes_before);
    const struct run_figures mine = {
        .total = result->planned_bytes,
        .compute = fmax(result->taken_bytes, peak - bench->inputs.device_bytes),
        .transfer = fmax(peak, result->taken_bytes),
    };
    if (!meet(bench, true, &mine, &largest, failure))
        return false;
    result->planned_bytes = largest.total;
    result->taken_bytes = largest.compute;
    result->peak_bytes = largest.transfer;
    return true;
}

/* GPUs that had nothing to do are slow at first. All ranks do as many runs as one of them wants. */
static bool warm_up(struct bench *bench, struct failure *failure)
{
    struct vkring_device_info info;
    struct run_figures largest;
    vkring_device_get_info(bench->setting->device, &info);
    const struct run_figures mine = {.total = info.kind == VKRING_DEVICE_CPU ? 0 : GPU_WARM_UP_SECONDS};
    if (!meet(bench, true, &mine, &largest, failure))
        return false;
    for (double left = largest.total; left > 0; left -= fmax(largest.total, LEAST_RUN_SECONDS)) {
        if (!run_once(bench, &largest, failure))
            return false;
    }
    return true;
}

static bool measure(struct bench *bench, struct failure *failure)
{
    struct run_figures warm;
    struct progress *progress = bench->setting->progress;
    if (!prepare(bench, failure))
        return false;
    progress_watch(progress, bench->which->name, bench->plan);
    if (!run_once(bench, &warm, failure) || !validate(bench, failure))
        return false;
    progress_watch(progress, bench->which->name, bench->plan);
    return warm_up(bench, failure) && time_runs(bench, failure) && weigh_memory(bench, failure);
}

bool bench_measure(const struct bench_setting *setting, const struct bench_case *which, struct bench_result *out_result,
                   struct failure *failure)
{
    struct bench bench = {.setting = setting, .which = which, .result = out_result};
    struct vkring_device_info info;
    bool good = true;
    *out_result = (struct bench_result){.name = which->name, .problem = which->problem};
    out_result->problem.layout = setting->options->layout;
    vkring_device_get_info(setting->device, &info);
    if (which->problem.type != VKRING_TYPE_F32 && !info.f16)
        out_result->unsupported = "the device has no 16-bit storage";
    if (!out_result->unsupported)
        good = measure(&bench, failure);
    progress_phase(setting->progress, NULL, 0);
    bench_inputs_free(&bench.inputs);
    vkring_plan_destroy(&bench.plan);
    free(bench.query_rows);
    return good;
}
