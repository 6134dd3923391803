/* SPDX-License-Identifier: MIT */
#include <vkring/simulate.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../attention/forward_choice.h"
#include "../base/checked.h"
#include "plan.h"
#include "schedule.h"
#include "tensor_bytes.h"
#include "timeline.h"
#include "work.h"

/* Of a device that nothing is known about, and what no description tells. */
enum { USUAL_SUBGROUP = 32, USUAL_REGISTERS = 256, USUAL_INVOCATIONS = 1024, USUAL_WORKGROUPS = 65535 };

/* Parameters, checked and resolved. */
struct simulation {
    struct problem problem;
    struct layout layout;
    const struct vkring_simulated_rank **ranks; /* [ranks] */
    struct kernel_choice *choices;              /* [ranks] */
    double dispatch_seconds;
    vkring_device *described; /* one at a time */
};

/* Parameters ------------------------------------------------------------------------------------------------------------- */

static bool is_measure(double value)
{
    return isfinite(value) && value >= 0;
}

static enum vkring_status check_rank(const struct vkring_simulated_rank *rank, uint32_t index)
{
    const struct {
        const char *name;
        double value;
        bool good;
    } numbers[] = {
        {"forward_flops", rank->forward_flops, isfinite(rank->forward_flops) && rank->forward_flops > 0},
        {"backward_flops", rank->backward_flops, is_measure(rank->backward_flops)},
        {"task_seconds", rank->task_seconds, is_measure(rank->task_seconds)},
        {"copy_bytes_per_second", rank->copy_bytes_per_second, is_measure(rank->copy_bytes_per_second)},
        {"link_bytes_per_second", rank->link_bytes_per_second, is_measure(rank->link_bytes_per_second)},
        {"link_latency_seconds", rank->link_latency_seconds, is_measure(rank->link_latency_seconds)},
    };
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (!numbers[i].good)
            return status_fail_at(VKRING_ERROR_INVALID_ARGUMENT, index, VKRING_NONE, "%s of rank %u is %g", numbers[i].name, index,
                                  numbers[i].value);
    return VKRING_OK;
}

static enum vkring_status find_ranks(const struct vkring_simulation_params *params, struct simulation *simulation)
{
    enum vkring_status status;
    if (params->ranks == 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "there are no ranks to simulate");
    if (params->rank_count != 1 && params->rank_count != params->ranks)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "rank_count is %u for %u ranks", params->rank_count, params->ranks);
    for (uint32_t rank = 0; rank < params->rank_count; rank++)
        TRY(check_rank(&params->rank[rank], rank), fail);
    simulation->ranks = calloc(params->ranks, sizeof(const struct vkring_simulated_rank *));
    simulation->choices = calloc(params->ranks, sizeof(*simulation->choices));
    simulation->described = calloc(1, sizeof(*simulation->described));
    if (!simulation->ranks || !simulation->choices || !simulation->described)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory to simulate %u ranks", params->ranks);
    for (uint32_t rank = 0; rank < params->ranks; rank++)
        simulation->ranks[rank] = &params->rank[params->rank_count > 1 ? rank : 0];
    return VKRING_OK;
fail:
    return status;
}

static void finish(struct simulation *simulation)
{
    layout_free(&simulation->layout);
    free(simulation->ranks);
    free(simulation->choices);
    free(simulation->described);
    *simulation = (struct simulation){0};
}

static enum vkring_status resolve(const struct vkring_simulation_params *params, const struct vkring_plan_params *problem,
                                  struct simulation *out_simulation)
{
    enum vkring_status status;
    struct simulation simulation = {.dispatch_seconds = problem->dispatch_seconds};
    TRY(find_ranks(params, &simulation), fail);
    TRY(problem_resolve(problem, &simulation.problem), fail);
    TRY(layout_make(0, params->ranks, problem, &simulation.layout), fail);
    if (params->backward && !problem->backward) {
        status = status_fail(VKRING_ERROR_INVALID_ARGUMENT, "backward of a problem without it");
        goto fail;
    }
    *out_simulation = simulation;
    return VKRING_OK;
fail:
    finish(&simulation);
    return status;
}

/* Memory ----------------------------------------------------------------------------------------------------------------- */

static void describe(const struct vkring_simulated_rank *rank, vkring_device *described)
{
    struct vk_limits *limits = &described->limits;
    struct vkring_device_info *info = &described->info;
    *described = (vkring_device){0};
    *info = (struct vkring_device_info){.kind = VKRING_DEVICE_DISCRETE, .subgroup_size = USUAL_SUBGROUP};
    info->unified_memory = rank->unified_memory;
    if (rank->device)
        *info = *rank->device;
    const uint32_t least_subgroup = info->min_subgroup_size ? info->min_subgroup_size : info->subgroup_size;
    *limits = (struct vk_limits){
        .max_workgroup_count = {USUAL_WORKGROUPS, USUAL_WORKGROUPS, USUAL_WORKGROUPS},
        .max_workgroup_invocations = USUAL_INVOCATIONS,
        .shared_memory_bytes = info->shared_memory_bytes,
        .subgroup_size = info->subgroup_size,
        .min_subgroup_size = least_subgroup,
        .max_subgroup_size = info->subgroup_size,
        .subgroup_size_control = least_subgroup < info->subgroup_size,
        .subgroup_shuffle = true,
        .integers_64bit = true,
        .storage_16bit = true,
        .unified_memory = info->unified_memory,
        .max_buffer_bytes = UINT64_MAX,
        .lane_registers = info->lane_registers ? info->lane_registers : USUAL_REGISTERS,
        .matrix_shape_count = info->matrix_shape_count,
    };
    memcpy(limits->matrix_shapes, info->matrix_shapes, sizeof(limits->matrix_shapes));
}

/* Of kernels that nobody knows, only what is kept counts. */
static struct kernel_choice choose(const struct vkring_simulated_rank *rank, const vkring_device *described, const struct problem *problem)
{
    const struct kernel_choice best = kernel_choice_best(described, problem);
    struct kernel_choice choice = forward_choice(described, problem, &best);
    if (!rank->device)
        choice.workgroup_size = choice.lanes_per_row = choice.rows_per_lane = choice.keys_per_step = choice.packed_heads = 1;
    return choice;
}

static enum vkring_status weigh(struct simulation *simulation, uint32_t rank, uint32_t steps, struct vkring_simulated_result *result)
{
    enum vkring_status status;
    const struct vkring_simulated_rank *its = simulation->ranks[rank];
    struct layout layout = simulation->layout;
    layout.rank = rank;
    describe(its, simulation->described);
    simulation->choices[rank] = choose(its, simulation->described, &simulation->problem);
    result->query_rows = layout_query_rows(&layout, rank);
    result->key_rows = layout_key_rows(&layout, rank);
    result->tensor_bytes = tensor_bytes(&simulation->problem, result->query_rows, result->key_rows);
    TRY(plan_measure_described(simulation->described, &simulation->problem, &layout, steps, simulation->dispatch_seconds, &result->memory),
        fail);
    result->fits = its->memory_bytes == 0 ||
                   (result->tensor_bytes <= its->memory_bytes && result->memory.device_bytes <= its->memory_bytes - result->tensor_bytes);
    return VKRING_OK;
fail:
    return status;
}

/* A run ---------------------------------------------------------------------------------------------------------------------- */

static double flop_of_run(const struct simulation *simulation, bool backward)
{
    const struct problem *problem = &simulation->problem;
    const double pairs = mask_kept_pairs(problem, &(struct mask_block){0, problem->q_len, 0, problem->kv_len});
    return work_flop(problem, pairs) * (backward ? BACKWARD_FLOP_FACTOR : 1);
}

static void summarise(const struct simulation *simulation, uint32_t steps, bool backward, const struct vkring_simulated_result *results,
                      struct vkring_simulation *out)
{
    double flops = 0;
    *out = (struct vkring_simulation){
        .flop = flop_of_run(simulation, backward),
        .steps = steps,
        .turns = program_turns(steps, backward ? PROGRAM_BACKWARD : PROGRAM_FORWARD),
        .layout = simulation->layout.kind,
    };
    for (uint32_t rank = 0; rank < simulation->layout.ranks; rank++) {
        const struct vkring_simulated_rank *its = simulation->ranks[rank];
        out->total_seconds = fmax(out->total_seconds, results[rank].total_seconds);
        flops += backward && its->backward_flops > 0 ? its->backward_flops : its->forward_flops;
    }
    out->ideal_seconds = out->flop / flops;
}

static enum vkring_status run(struct simulation *simulation, bool backward, struct vkring_simulation *out_simulation,
                              struct vkring_simulated_turn *out_turns, struct vkring_simulated_result *results)
{
    enum vkring_status status;
    struct timeline_input input = {
        .problem = &simulation->problem,
        .layout = &simulation->layout,
        .backward = backward,
        .ranks = simulation->ranks,
        .choices = simulation->choices,
    };
    TRY(schedule_steps(&simulation->problem, &simulation->layout, &input.steps), fail);
    for (uint32_t rank = 0; rank < simulation->layout.ranks; rank++)
        TRY(weigh(simulation, rank, input.steps, &results[rank]), fail);
    TRY(timeline_run(&input, out_turns, results), fail);
    summarise(simulation, input.steps, backward, results, out_simulation);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_simulate(const struct vkring_simulation_params *params, struct vkring_simulation *out_simulation,
                                   struct vkring_simulated_turn *out_turns, struct vkring_simulated_result *out_results)
{
    enum vkring_status status;
    struct simulation simulation = {0};
    struct vkring_simulated_result *results = NULL;
    TRY(resolve(params, params->problem, &simulation), fail);
    results = calloc(params->ranks, sizeof(*results));
    if (!results)
        status = status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for the results of %u ranks", params->ranks);
    else
        status = run(&simulation, params->backward, out_simulation, out_turns, results);
    if (status == VKRING_OK && out_results)
        memcpy(out_results, results, params->ranks * sizeof(*results));
    free(results);
fail:
    finish(&simulation);
    return status;
}

/* The longest sequence -------------------------------------------------------------------------------------------------- */

/* Of ranks that are known to be alike, one weighs no more than the one before it if it has no more rows on either side. */
static bool is_worth_weighing(const struct simulation *simulation, uint32_t rank)
{
    const struct layout *layout = &simulation->layout;
    return rank == 0 || simulation->ranks[rank] != simulation->ranks[rank - 1] ||
           layout_query_rows(layout, rank) > layout_query_rows(layout, rank - 1) ||
           layout_key_rows(layout, rank) > layout_key_rows(layout, rank - 1);
}

static bool all_fit(struct simulation *simulation)
{
    bool fit = true;
    const uint32_t ranks = simulation->layout.ranks;
    for (uint32_t rank = 0; fit && rank < ranks; rank++) {
        struct vkring_simulated_result result;
        if (is_worth_weighing(simulation, rank))
            fit = weigh(simulation, rank, ranks, &result) == VKRING_OK && result.fits;
    }
    return fit;
}

/* In double precision: shares, of rows that may be many. Of no rows they are equal ones. */
static enum vkring_status cut_like(uint64_t rows, uint32_t ranks, const uint64_t *like, uint64_t *out_rows)
{
    double *shares = NULL;
    enum vkring_status status = VKRING_OK;
    bool any = false;
    if (like && !(shares = calloc(ranks, sizeof(*shares))))
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for the shares of %u ranks", ranks);
    for (uint32_t rank = 0; like && rank < ranks; rank++) {
        shares[rank] = (double)like[rank];
        any = any || like[rank] > 0;
    }
    status = vkring_cut_rows(rows, ranks, any ? shares : NULL, out_rows);
    free(shares);
    return status;
}

/* Whether it does with so many keys; not if that is too many to count. rows: [2][ranks]. */
static bool fits_with(const struct vkring_simulation_params *params, uint64_t kv_len, uint64_t *rows)
{
    struct vkring_plan_params problem = *params->problem;
    struct simulation simulation = {0};
    const double ratio = problem.kv_len ? (double)problem.q_len / (double)problem.kv_len : 1;
    problem.kv_len = kv_len;
    problem.q_len = (uint64_t)ceil(ratio * (double)kv_len);
    problem.query_rows_of_rank = rows;
    problem.key_rows_of_rank = rows + params->ranks;
    const bool fit = cut_like(problem.q_len, params->ranks, params->problem->query_rows_of_rank, rows) == VKRING_OK &&
                     cut_like(kv_len, params->ranks, params->problem->key_rows_of_rank, rows + params->ranks) == VKRING_OK &&
                     resolve(params, &problem, &simulation) == VKRING_OK && all_fit(&simulation);
    finish(&simulation);
    return fit;
}

/* Beyond this no memory holds a sequence. */
#define MOST_KEYS ((uint64_t)1 << 48)

static uint64_t find_longest(const struct vkring_simulation_params *params, uint64_t *rows)
{
    uint64_t fits = 0, too_long = 1;
    while (too_long < MOST_KEYS && fits_with(params, too_long, rows)) {
        fits = too_long;
        too_long *= 2;
    }
    while (too_long - fits > 1) {
        const uint64_t middle = fits + (too_long - fits) / 2;
        if (fits_with(params, middle, rows))
            fits = middle;
        else
            too_long = middle;
    }
    return fits;
}

enum vkring_status vkring_simulate_longest(const struct vkring_simulation_params *params, uint64_t *out_kv_len)
{
    enum vkring_status status;
    struct simulation simulation = {0};
    bool limited = false;
    TRY(resolve(params, params->problem, &simulation), fail);
    for (uint32_t rank = 0; rank < params->rank_count; rank++)
        limited = limited || params->rank[rank].memory_bytes > 0;
    uint64_t *rows = calloc(params->ranks, 2 * sizeof(*rows));
    if (!rows)
        status = status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for the rows of %u ranks", params->ranks);
    else
        *out_kv_len = limited ? find_longest(params, rows) : UINT64_MAX;
    free(rows);
fail:
    finish(&simulation);
    return status;
}
