/* SPDX-License-Identifier: MIT */
/* vkring tune: looks for faster kernels, and remembers them. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <vkring/tune.h>

#include "cleanup.h"
#include "commands.h"
#include "json_text.h"
#include "progress.h"
#include "report_file.h"
#include "tune_options.h"
#include "verdict.h"

#define GIGA 1e9
/* Of the progress bar. */
#define UNITS_PER_SECOND 100.0

struct tune {
    struct tune_options options;
    struct vkring_plan_params problem;
    struct vkring_device_info device;
    struct vkring_tune_result result;
    struct progress progress;
    uint64_t shown; /* units of progress */
    json_t *trials;
    struct report_file json;
};

static bool watch(void *user, const struct vkring_tune_trial *trial)
{
    struct tune *tune = user;
    const uint64_t spent = (uint64_t)(fmin(trial->spent_seconds, trial->budget_seconds) * UNITS_PER_SECOND);
    progress_advance(&tune->progress, spent - tune->shown);
    tune->shown = spent;
    json_array_append_new(tune->trials,
                          json_pack("{s:s, s:o, s:b}", "kernels", trial->words, "seconds",
                                    trial->seconds > 0 ? json_measure(trial->seconds) : json_null(), "refused", trial->seconds == 0));
    return !cleanup_signal_waits();
}

/* The search is for what counts without them; words that are wrong are refused as by other commands. */
static enum vkring_status check_words(vkring_device *device, const struct vkring_plan_params *problem)
{
    struct vkring_kernel_choice unused;
    return getenv("VKRING_KERNELS") ? vkring_kernels_choose(device, problem, &unused) : VKRING_OK;
}

static bool search(struct tune *tune, struct failure *failure)
{
    const struct tune_options *options = &tune->options;
    const struct vkring_device_params device_params = {.index = options->attend.device};
    const struct vkring_tune_params params = {
        .budget_seconds = options->seconds,
        .exhaustive = options->exhaustive,
        .forget = options->forget,
        .trial = watch,
        .user = tune,
    };
    vkring_device *device = NULL;
    if (vkring_device_create(&device_params, &device) != VKRING_OK)
        return fail_library(failure, 0);
    vkring_device_get_info(device, &tune->device);
    const bool good =
        (check_words(device, &tune->problem) == VKRING_OK && vkring_tune(device, &tune->problem, &params, &tune->result) == VKRING_OK) ||
        fail_library(failure, 0);
    vkring_device_destroy(&device);
    return good;
}

static bool write_json(struct tune *tune, struct failure *failure)
{
    const struct vkring_tune_result *result = &tune->result;
    json_t *whole =
        json_pack("{s:o, s:o, s:s, s:o, s:o, s:I, s:I, s:o, s:b, s:b, s:O}", "device", json_text(tune->device.name), "driver",
                  json_text(tune->device.driver), "kernels", result->choice.words, "flops", json_measure(result->flops), "flops_by_kind",
                  json_measure(result->flops_by_kind), "tried", (json_int_t)result->tried, "refused", (json_int_t)result->refused,
                  "seconds", json_measure(result->seconds), "kept", result->kept, "complete", result->complete, "trials", tune->trials);
    return report_file_write_json(&tune->json, whole, failure);
}

static bool print(const struct tune *tune, const struct ranks *ranks, struct failure *failure)
{
    const struct vkring_tune_result *result = &tune->result;
    char text[1024];
    snprintf(text, sizeof(text),
             "%s\n%s\n%.3f GFLOP/s, %.2f times the %.3f of what devices of its kind get\n%" PRIu32 " choices tried, %" PRIu32
             " refused, in %.1f s%s; %s\n",
             tune->device.name, result->choice.words, result->flops / GIGA, result->flops / result->flops_by_kind,
             result->flops_by_kind / GIGA, result->tried, result->refused, result->seconds, cleanup_signal_waits() ? ", ended early" : "",
             result->kept ? "remembered" : "not remembered");
    return command_print(ranks, text, failure);
}

static bool run(struct tune *tune, struct ranks *ranks, struct failure *failure)
{
    if (!report_file_place(&tune->json, tune->options.json, failure))
        return false;
    const double seconds = tune->options.seconds > 0 ? tune->options.seconds : VKRING_TUNE_DEFAULT_SECONDS;
    tune->problem = tune_options_problem(&tune->options);
    tune->trials = json_array();
    progress_start(&tune->progress, ranks, tune->options.attend.quiet);
    progress_phase(&tune->progress, "tuning", tune->options.exhaustive ? 0 : (uint64_t)(seconds * UNITS_PER_SECOND));
    const bool good = search(tune, failure);
    progress_stop(&tune->progress);
    return good && write_json(tune, failure) && print(tune, ranks, failure);
}

/* A signal that wishes an end gets it with what was found until then. */
static void run_until_signal(struct tune *tune, struct ranks *ranks, struct failure *failure)
{
    cleanup_on_signals(ranks);
    cleanup_hold_first_signal();
    run(tune, ranks, failure);
    cleanup_release_signals();
}

/* Rank 0 does it alone. */
enum exit_status tune_command(struct ranks *ranks, int argc, char **argv)
{
    struct tune tune = {.json.file.fd = -1};
    struct failure failure = {0};
    if (tune_options_parse(&tune.options, argc, argv, &failure)) {
        if (tune.options.attend.help)
            command_print(ranks, tune_help, &failure);
        else if (ranks->rank == 0)
            run_until_signal(&tune, ranks, &failure);
    }
    if (failure.status == EXIT_STATUS_DONE)
        cleanup_forget();
    json_decref(tune.trials);
    report_file_release(&tune.json);
    const enum exit_status status = verdict_agree(ranks, &failure, false);
    tune_options_free(&tune.options);
    return status;
}
