/* SPDX-License-Identifier: MIT */
/* vkring plan: what a run would take, on ranks that need not be there. */
#include <stdlib.h>

#include "cleanup.h"
#include "commands.h"
#include "plan_output.h"
#include "plan_speeds.h"
#include "report_file.h"
#include "verdict.h"

struct plan {
    struct plan_options options;
    struct vkring_plan_params problem;
    struct vkring_simulated_rank *ranks; /**< rank_count */
    uint32_t rank_count;
    uint64_t *query_rows; /**< of each rank; null: equal */
    struct plan_outcome outcome;
    struct report_file json;
};

static void pose_problem(struct plan *plan)
{
    plan->problem = attend_options_problem(&plan->options.attend);
    plan->problem.backward = plan->options.backward;
    plan->problem.layout = plan->options.attend.layout;
}

/* Ranks all alike are one. */
static uint32_t count_unlike(const struct plan_options *options)
{
    const struct plan_amounts *all[] = {&options->flops, &options->backward_flops, &options->link,  &options->latency,
                                        &options->task,  &options->copy,           &options->memory};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i]->count > 1)
            return (uint32_t)options->ranks;
    return 1;
}

static bool describe_ranks(struct plan *plan, struct failure *failure)
{
    const struct plan_options *options = &plan->options;
    plan->rank_count = count_unlike(options);
    plan->ranks = calloc(plan->rank_count, sizeof(*plan->ranks));
    if (!plan->ranks)
        return fail_memory(failure);
    for (uint32_t rank = 0; rank < plan->rank_count; rank++) {
        const double memory = plan_amount(&options->memory, rank, 0);
        plan->ranks[rank] = (struct vkring_simulated_rank){
            .forward_flops = plan_amount(&options->flops, rank, 0),
            .backward_flops = plan_amount(&options->backward_flops, rank, 0),
            .task_seconds = plan_amount(&options->task, rank, 0),
            .copy_bytes_per_second = plan_amount(&options->copy, rank, 0),
            .link_bytes_per_second = plan_amount(&options->link, rank, 0),
            .link_latency_seconds = plan_amount(&options->latency, rank, 0),
            .unified_memory = !options->copy.values,
            .memory_bytes = memory < 0x1p63 ? (uint64_t)memory : UINT64_MAX,
            .device = options->devices ? &options->devices[options->flops.count > 1 ? rank : 0] : NULL,
        };
    }
    return true;
}

/* Speeds of forward and backward together, as vkring_shares_measure has them. */
static double whole_speed(const struct plan *plan, uint32_t rank)
{
    const double forward = plan_amount(&plan->options.flops, rank, 0), backward = plan_amount(&plan->options.backward_flops, rank, 0);
    if (!plan->options.backward || backward == 0)
        return forward;
    return 3.5 / (1 / forward + 2.5 / backward);
}

static bool cut(struct plan *plan, struct failure *failure)
{
    const struct attend_options *attend = &plan->options.attend;
    const uint32_t ranks = (uint32_t)plan->options.ranks;
    enum vkring_status status;
    if (!attend->shares && !attend->measured_shares)
        return true;
    double *speeds = calloc(ranks, sizeof(*speeds));
    plan->query_rows = calloc(ranks, sizeof(*plan->query_rows));
    if (!speeds || !plan->query_rows) {
        free(speeds);
        return fail_memory(failure);
    }
    for (uint32_t rank = 0; rank < ranks; rank++)
        speeds[rank] = whole_speed(plan, rank);
    status = attend->shares ? vkring_cut_rows(plan->problem.q_len, ranks, attend->shares, plan->query_rows)
                            : vkring_shares_cut(&plan->problem, ranks, speeds, NULL, plan->query_rows);
    free(speeds);
    plan->problem.query_rows_of_rank = plan->query_rows;
    return status == VKRING_OK || fail_library(failure, 0);
}

static bool simulate_pass(struct plan *plan, bool backward, struct failure *failure)
{
    struct plan_outcome *outcome = &plan->outcome;
    struct plan_pass *pass = &outcome->passes[outcome->pass_count++];
    const struct vkring_simulation_params params = {
        .problem = &plan->problem,
        .ranks = outcome->ranks,
        .rank = plan->ranks,
        .rank_count = plan->rank_count,
        .backward = backward,
    };
    pass->name = backward ? "backward" : "forward";
    pass->turns = calloc((size_t)outcome->ranks + 1, sizeof(*pass->turns));
    pass->results = calloc(outcome->ranks, sizeof(*pass->results));
    if (!pass->turns || !pass->results)
        return fail_memory(failure);
    if (vkring_simulate(&params, &pass->whole, pass->turns, pass->results) != VKRING_OK)
        return fail_library(failure, 0);
    outcome->has_limit = plan->options.memory.values != NULL;
    if (outcome->has_limit && !backward && vkring_simulate_longest(&params, &outcome->longest) != VKRING_OK)
        return fail_library(failure, 0);
    return true;
}

static bool print(const struct plan_outcome *outcome, const struct ranks *ranks, struct failure *failure)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return fail_memory(failure);
    plan_print(out, outcome);
    const bool good = fclose(out) == 0 ? command_print(ranks, text, failure) : fail_memory(failure);
    free(text);
    return good;
}

/* Before the report is read, so that none is written over it. */
static bool place_json(struct plan *plan, struct failure *failure)
{
    const char *const files[] = {plan->options.from, plan->options.json};
    return output_files_apart(files, 1, 2, failure) && report_file_place(&plan->json, plan->options.json, failure);
}

static bool run(struct plan *plan, const struct ranks *ranks, struct failure *failure)
{
    cleanup_on_signals(ranks);
    if (!place_json(plan, failure))
        return false;
    plan->outcome.problem = &plan->problem;
    plan->outcome.ranks = (uint32_t)plan->options.ranks;
    if (plan->options.from && !plan_speeds_read(&plan->options, failure))
        return false;
    pose_problem(plan);
    if (!describe_ranks(plan, failure) || !cut(plan, failure) || !simulate_pass(plan, false, failure))
        return false;
    if (plan->options.backward && !simulate_pass(plan, true, failure))
        return false;
    return plan_write_json(&plan->json, &plan->outcome, failure) && print(&plan->outcome, ranks, failure);
}

static void release(struct plan *plan)
{
    for (uint32_t i = 0; i < plan->outcome.pass_count; i++) {
        free(plan->outcome.passes[i].turns);
        free(plan->outcome.passes[i].results);
    }
    free(plan->query_rows);
    free(plan->ranks);
    report_file_release(&plan->json);
    plan_options_free(&plan->options);
}

/* Rank 0 does it alone. */
enum exit_status plan_command(struct ranks *ranks, int argc, char **argv)
{
    struct plan plan = {.json.file.fd = -1};
    struct failure failure = {0};
    if (plan_options_parse(&plan.options, argc, argv, &failure)) {
        if (plan.options.attend.help)
            command_print(ranks, plan_help, &failure);
        else if (ranks->rank == 0)
            run(&plan, ranks, &failure);
    }
    if (failure.status == EXIT_STATUS_DONE)
        cleanup_forget();
    release(&plan);
    return verdict_agree(ranks, &failure, false);
}
