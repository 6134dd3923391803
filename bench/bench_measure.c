/* SPDX-License-Identifier: MIT */
#include "bench_measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../tools/verdict.h"
#include "bench_inputs.h"

struct bench {
    const struct bench_setting *setting;
    const struct bench_case *which;
    vkring_plan *plan;
    struct vkring_plan_info info;
    struct bench_inputs inputs;
    uint64_t bytes_before_plan;
    struct bench_result *result;
};

/* What a rank tells the others of one run. */
struct run_figures {
    double total, compute, transfer, exposed, sent;
};

static uint32_t rank_of(const struct bench *bench)
{
    return bench->setting->ranks->rank;
}

static bool make_plan(struct bench *bench, struct failure *failure)
{
    const struct bench_setting *setting = bench->setting;
    struct vkring_plan_params problem = bench->which->problem;
    struct vkring_memory_use use;
    vkring_device_get_memory_use(setting->device, &use);
    bench->bytes_before_plan = use.device_bytes;
    if (vkring_plan_create(setting->device, setting->comm, &problem, &bench->plan) != VKRING_OK)
        return fail_library(failure, rank_of(bench));
    vkring_plan_get_info(bench->plan, &bench->info);
    vkring_device_get_memory_use(setting->device, &use);
    bench->result->planned_bytes = (double)bench->info.memory.device_bytes;
    bench->result->taken_bytes = (double)(use.device_bytes - bench->bytes_before_plan);
    memcpy(bench->result->kernel, bench->info.kernel, sizeof(bench->result->kernel));
    return true;
}

static bool run_once(struct bench *bench, struct run_figures *out_figures, struct failure *failure)
{
    struct vkring_run_stats stats;
    if (vkring_forward(bench->plan, &bench->inputs.io) != VKRING_OK)
        return fail_library(failure, rank_of(bench));
    vkring_plan_get_stats(bench->plan, &stats);
    *out_figures = (struct run_figures){
        .total = stats.total_seconds,
        .compute = stats.compute_seconds,
        .transfer = stats.transfer_seconds,
        .exposed = stats.exposed_wait_seconds,
        .sent = (double)stats.sent_bytes,
    };
    return true;
}

/* Also so that ranks start the next run together. */
static bool largest_over_ranks(struct bench *bench, const struct run_figures *mine, struct run_figures *out, struct failure *failure)
{
    const uint32_t size = bench->setting->ranks->size;
    struct run_figures *all = calloc(size, sizeof(*all));
    bool good = all != NULL || fail_memory(failure);
    good = good && verdict_gather(bench->setting->ranks, mine, sizeof(*mine), all, failure);
    *out = (struct run_figures){0};
    for (uint32_t rank = 0; good && rank < size; rank++) {
        out->total = fmax(out->total, all[rank].total);
        out->compute = fmax(out->compute, all[rank].compute);
        out->transfer = fmax(out->transfer, all[rank].transfer);
        out->exposed = fmax(out->exposed, all[rank].exposed);
        out->sent += all[rank].sent;
    }
    free(all);
    return good;
}

static bool validate(struct bench *bench, struct failure *failure)
{
    struct bench_result *result = bench->result;
    struct run_figures mine = {0}, largest;
    bool good = true;
    if (bench->setting->options->no_validate)
        return true;
    if (!bench_inputs_compare(&bench->inputs, bench->setting->progress, &result->error_rms, &result->error_maximum, &good, failure))
        return false;
    if (!good)
        return fail_run(failure, "%s is wrong: error %.3g (RMS), %.3g (largest) over the RMS of float64", bench->which->name,
                        result->error_rms, result->error_maximum);
    mine.total = result->error_rms;
    mine.compute = result->error_maximum;
    if (!largest_over_ranks(bench, &mine, &largest, failure))
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
    result->gflops = bench_case_flop(&bench->which->problem) / median->total * 1e-9;
    result->compute_seconds = median->compute;
    result->transfer_seconds = median->transfer;
    result->exposed_wait_seconds = median->exposed;
    result->sent_bytes = median->sent;
}

static bool time_runs(struct bench *bench, struct failure *failure)
{
    static struct run_figures runs[BENCH_REPEATS_MAX];
    const uint32_t repeats = bench->setting->options->repeats;
    for (uint32_t i = 0; i < repeats; i++) {
        struct run_figures mine;
        if (!run_once(bench, &mine, failure) || !largest_over_ranks(bench, &mine, &runs[i], failure))
            return false;
    }
    summarise(bench, runs, repeats);
    return true;
}

static bool measure(struct bench *bench, struct failure *failure)
{
    struct run_figures warm, largest;
    struct progress *progress = bench->setting->progress;
    if (!make_plan(bench, failure))
        return false;
    if (!bench_inputs_make(bench->setting->device, &bench->which->problem, &bench->info, &bench->inputs, failure))
        return false;
    progress_watch(progress, bench->which->name, bench->plan);
    if (!run_once(bench, &warm, failure) || !largest_over_ranks(bench, &warm, &largest, failure))
        return false;
    return validate(bench, failure) && (progress_watch(progress, bench->which->name, bench->plan), time_runs(bench, failure));
}

bool bench_measure(const struct bench_setting *setting, const struct bench_case *which, struct bench_result *out_result,
                   struct failure *failure)
{
    struct bench bench = {.setting = setting, .which = which, .result = out_result};
    struct vkring_device_info info;
    bool good = true;
    *out_result = (struct bench_result){.name = which->name, .problem = which->problem};
    vkring_device_get_info(setting->device, &info);
    out_result->unsupported = which->problem.type != VKRING_TYPE_F32 && !info.f16;
    if (!out_result->unsupported)
        good = measure(&bench, failure);
    progress_phase(setting->progress, NULL, 0);
    bench_inputs_free(&bench.inputs);
    vkring_plan_destroy(&bench.plan);
    return good;
}
