/* SPDX-License-Identifier: MIT */
/* Looking for faster kernels: a walk from choice to choice, each measured beside the best so far. */
#include <vkring/tune.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../attention/choose.h"
#include "../attention/remembered.h"
#include "../attention/self_test.h"
#include "../base/checked.h"
#include "../base/clock.h"
#include "speed_trial.h"

#define RUNS 3
/* One run tells enough of a choice that is so much slower. */
#define HOPELESS 1.3
/* What is not faster by so much may as well be noise. */
#define BETTER 0.98
/* No second change is tried with one that by itself made runs so much slower. */
#define FAR_OFF 3.0
#define MOST_TRIED 4096u

struct tried_choice {
    struct kernel_choice choice;
    bool far_off;
};

struct tuning {
    vkring_device *device;
    const struct vkring_plan_params *params;
    const struct vkring_tune_params *how;
    struct problem problem;
    uint64_t queries, keys; /* of a run */
    struct kernel_choice by_kind, best;
    struct speed_trial trial_by_kind, best_trial;
    double best_seconds, best_flop;
    struct tried_choice *tried; /* [MOST_TRIED] */
    uint32_t tried_count, refused;
    double begun_seconds, budget_seconds;
    bool stopped; /* by who watches */
};

static bool is_over(const struct tuning *tuning)
{
    if (tuning->stopped)
        return true;
    return !tuning->how->exhaustive && clock_seconds() - tuning->begun_seconds > tuning->budget_seconds;
}

_Static_assert(sizeof(((struct vkring_tune_trial *)NULL)->words) == CHOICE_TEXT, "a trial has room for its choice");

static void tell(struct tuning *tuning, const struct kernel_choice *choice, double seconds)
{
    struct vkring_tune_trial trial = {
        .seconds = seconds,
        .best_seconds = tuning->best_seconds,
        .tried = tuning->tried_count,
        .spent_seconds = clock_seconds() - tuning->begun_seconds,
        .budget_seconds = tuning->budget_seconds,
    };
    choice_describe(choice, trial.words);
    if (tuning->how->trial)
        tuning->stopped = !tuning->how->trial(tuning->how->user, &trial) || tuning->stopped;
}

/* By what choices say: whatever else is in them follows from that. */
static bool same(const struct kernel_choice *a, const struct kernel_choice *b)
{
    char words_a[CHOICE_TEXT], words_b[CHOICE_TEXT];
    choice_describe(a, words_a);
    choice_describe(b, words_b);
    return strcmp(words_a, words_b) == 0;
}

/* False: it was tried before, or there were too many. */
static bool note(struct tuning *tuning, const struct kernel_choice *choice)
{
    for (uint32_t i = 0; i < tuning->tried_count; i++)
        if (same(&tuning->tried[i].choice, choice))
            return false;
    if (tuning->tried_count == MOST_TRIED)
        return false;
    tuning->tried[tuning->tried_count++].choice = *choice;
    return true;
}

/* From the best so far it is beyond one that was. */
static bool is_beyond_far_off(const struct tuning *tuning, const struct kernel_choice *choice)
{
    for (uint32_t i = 0; i < tuning->tried_count; i++)
        if (tuning->tried[i].far_off && choice_lies_between(&tuning->best, &tuning->tried[i].choice, choice))
            return true;
    return false;
}

/* Measuring ---------------------------------------------------------------------------------------------------------------- */

static enum vkring_status run_once(struct speed_trial *trial, double *least_seconds, double *out_flop)
{
    double seconds = 0;
    *out_flop = 0;
    const enum vkring_status status = speed_trial_run(trial, out_flop, &seconds);
    *least_seconds = fmin(*least_seconds, seconds);
    return status;
}

/* In turns with another; the least seconds of each. */
static enum vkring_status compare(struct speed_trial *a, struct speed_trial *b, double *out_a, double *out_b, double *out_flop_b)
{
    enum vkring_status status;
    double flop_a;
    *out_a = *out_b = INFINITY;
    for (int run = 0; run < RUNS && !(run > 0 && *out_b > HOPELESS * *out_a); run++) {
        TRY(run_once(a, out_a, &flop_a), fail);
        TRY(run_once(b, out_b, out_flop_b), fail);
    }
    return VKRING_OK;
fail:
    return status;
}

/* What a driver refuses is no reason to give up. */
static bool is_refusal(enum vkring_status status)
{
    return status == VKRING_ERROR_DEVICE || status == VKRING_ERROR_UNSUPPORTED || status == VKRING_ERROR_OUT_OF_DEVICE_MEMORY;
}

static enum vkring_status measure(struct tuning *tuning, const struct kernel_choice *choice, struct speed_trial *trial, double *out_seconds,
                                  bool *out_better)
{
    enum vkring_status status;
    double best_seconds, flop = 0;
    TRY(speed_trial_create_of(tuning->device, tuning->params, choice, tuning->queries, tuning->keys, trial), fail);
    /* twice, as others may use the device, too */
    *out_better = true;
    for (int time = 0; time < 2 && *out_better; time++) {
        TRY(compare(&tuning->best_trial, trial, &best_seconds, out_seconds, &flop), fail);
        *out_better = *out_seconds < BETTER * best_seconds;
    }
    if (*out_better)
        TRY(self_test_try(tuning->device, &tuning->problem, choice, out_better), fail);
    tuning->best_seconds = fmin(tuning->best_seconds, best_seconds);
    if (*out_better) {
        tuning->best_seconds = *out_seconds;
        tuning->best_flop = flop;
    }
    return VKRING_OK;
fail:
    return status;
}

/* Whether nothing better was found. */
static bool is_by_kind(const struct tuning *tuning)
{
    return tuning->best_trial.plan == tuning->trial_by_kind.plan;
}

static void take(struct tuning *tuning, const struct kernel_choice *choice, struct speed_trial *trial)
{
    if (!is_by_kind(tuning))
        speed_trial_destroy(&tuning->best_trial);
    tuning->best_trial = *trial;
    tuning->best = *choice;
}

/* In the place of the best, if it is faster. */
static enum vkring_status try_choice(struct tuning *tuning, const struct kernel_choice *choice, bool *out_better)
{
    struct speed_trial trial = {0};
    double seconds = 0;
    *out_better = false;
    if (!note(tuning, choice))
        return VKRING_OK;
    const enum vkring_status status = measure(tuning, choice, &trial, &seconds, out_better);
    const bool refused = is_refusal(status);
    tuning->refused += refused;
    tell(tuning, choice, refused ? 0 : seconds);
    tuning->tried[tuning->tried_count - 1].far_off = seconds > FAR_OFF * tuning->best_seconds;
    if (status == VKRING_OK && *out_better)
        take(tuning, choice, &trial);
    else
        speed_trial_destroy(&trial);
    return refused ? VKRING_OK : status;
}

/* Walking ------------------------------------------------------------------------------------------------------------------ */

/* To a faster neighbour, if there is one. */
static enum vkring_status step(struct tuning *tuning, bool *out_better)
{
    struct kernel_choice neighbours[CHOICE_NEIGHBOURS];
    const uint32_t count = choice_neighbours(tuning->device, &tuning->problem, &tuning->best, neighbours);
    enum vkring_status status = VKRING_OK;
    *out_better = false;
    for (uint32_t i = 0; i < count && !*out_better && status == VKRING_OK && !is_over(tuning); i++)
        if (!is_beyond_far_off(tuning, &neighbours[i]))
            status = try_choice(tuning, &neighbours[i], out_better);
    return status;
}

static enum vkring_status walk(struct tuning *tuning)
{
    enum vkring_status status = VKRING_OK;
    bool better = true;
    while (better && status == VKRING_OK)
        status = step(tuning, &better);
    return status;
}

static enum vkring_status try_all(struct tuning *tuning)
{
    enum vkring_status status = VKRING_OK;
    struct kernel_choice neighbours[CHOICE_NEIGHBOURS];
    bool better;
    for (uint32_t at = 0; at < tuning->tried_count; at++) {
        const struct kernel_choice from = tuning->tried[at].choice;
        const uint32_t count = choice_neighbours(tuning->device, &tuning->problem, &from, neighbours);
        for (uint32_t i = 0; i < count && status == VKRING_OK && !is_over(tuning); i++)
            status = try_choice(tuning, &neighbours[i], &better);
    }
    return status;
}

/* What the device has by its kind, and after it what was found before. */
static enum vkring_status begin(struct tuning *tuning)
{
    enum vkring_status status;
    bool portable, better;
    TRY(self_test_choose(tuning->device, &tuning->problem, &tuning->by_kind, &portable), fail);
    TRY(speed_trial_create(tuning->device, tuning->params, &tuning->by_kind, max_u64(tuning->problem.q_len, 1),
                           max_u64(tuning->problem.kv_len, 1), &tuning->trial_by_kind),
        fail);
    tuning->queries = tuning->trial_by_kind.params.q_len;
    tuning->keys = tuning->trial_by_kind.params.kv_len;
    tuning->best_trial = tuning->trial_by_kind;
    tuning->best = tuning->by_kind;
    tuning->best_seconds = INFINITY;
    TRY(run_once(&tuning->best_trial, &tuning->best_seconds, &tuning->best_flop), fail);
    note(tuning, &tuning->by_kind);
    tell(tuning, &tuning->by_kind, tuning->best_seconds);
    struct kernel_choice before = tuning->by_kind;
    if (remembered_find(tuning->device, &tuning->problem, &before))
        TRY(try_choice(tuning, &before, &better), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status finish(struct tuning *tuning, struct vkring_tune_result *out_result)
{
    enum vkring_status status;
    double by_kind_seconds, seconds, flop;
    const bool complete = !is_over(tuning);
    TRY(compare(&tuning->trial_by_kind, &tuning->best_trial, &by_kind_seconds, &seconds, &flop), fail);
    if (is_by_kind(tuning))
        seconds = by_kind_seconds = fmin(seconds, by_kind_seconds);
    if (by_kind_seconds <= seconds) { /* it only seemed to be better */
        seconds = by_kind_seconds;
        tuning->best = tuning->by_kind;
    }
    struct vkring_tune_result result = {
        .choice = {.source = VKRING_KERNELS_TUNED},
        .flops = flop / seconds,
        .flops_by_kind = flop / by_kind_seconds,
        .tried = tuning->tried_count,
        .refused = tuning->refused,
        .kept = !tuning->how->forget && remembered_put(tuning->device, &tuning->problem, &tuning->best),
        .seconds = clock_seconds() - tuning->begun_seconds,
        .complete = complete,
    };
    choice_describe(&tuning->best, result.choice.words);
    *out_result = result;
    return VKRING_OK;
fail:
    return status;
}

static void release(struct tuning *tuning)
{
    if (!is_by_kind(tuning))
        speed_trial_destroy(&tuning->best_trial);
    speed_trial_destroy(&tuning->trial_by_kind);
    free(tuning->tried);
}

enum vkring_status vkring_tune(vkring_device *device, const struct vkring_plan_params *problem, const struct vkring_tune_params *params,
                               struct vkring_tune_result *out_result)
{
    enum vkring_status status;
    const struct vkring_tune_params defaults = {0};
    struct tuning tuning = {
        .device = device,
        .params = problem,
        .how = params ? params : &defaults,
        .begun_seconds = clock_seconds(),
        .tried = calloc(MOST_TRIED, sizeof(*tuning.tried)),
    };
    tuning.budget_seconds = tuning.how->budget_seconds == 0 ? VKRING_TUNE_DEFAULT_SECONDS : tuning.how->budget_seconds;
    if (!tuning.tried) {
        status = status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for choices of kernels");
        goto fail;
    }
    if (!(tuning.budget_seconds > 0)) {
        status = status_fail(VKRING_ERROR_INVALID_ARGUMENT, "budget_seconds is %g, below 0 or no number", tuning.budget_seconds);
        goto fail;
    }
    TRY(problem_resolve(problem, &tuning.problem), fail);
    TRY(begin(&tuning), fail);
    TRY(tuning.how->exhaustive ? try_all(&tuning) : walk(&tuning), fail);
    TRY(finish(&tuning, out_result), fail);
fail:
    release(&tuning);
    return status;
}
