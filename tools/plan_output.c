/* SPDX-License-Identifier: MIT */
#include "plan_output.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "element.h"
#include "json_text.h"
#include "layout_text.h"

/* Of steps, or ranks, so many are shown: all, or the first ones and the last. */
#define SHOWN 8u

#define MIB 1048576.0

static double efficiency(const struct vkring_simulation *whole)
{
    return whole->total_seconds > 0 ? whole->ideal_seconds / whole->total_seconds : 1;
}

static double largest_wait(const struct plan_pass *pass, uint32_t ranks)
{
    double most = 0;
    for (uint32_t rank = 0; rank < ranks; rank++)
        most = pass->results[rank].exposed_wait_seconds > most ? pass->results[rank].exposed_wait_seconds : most;
    return most;
}

static uint32_t slowest_rank(const struct plan_pass *pass, uint32_t ranks)
{
    uint32_t slowest = 0;
    for (uint32_t rank = 1; rank < ranks; rank++)
        if (pass->results[rank].total_seconds > pass->results[slowest].total_seconds)
            slowest = rank;
    return slowest;
}

/* A line of a table that is shown, or, once, that some are not. */
static bool is_shown(FILE *out, uint32_t index, uint32_t count, uint32_t chosen)
{
    if (count <= SHOWN || index + 2 < SHOWN || index + 1 == count || index == chosen)
        return true;
    if (index + 2 == SHOWN)
        fprintf(out, "     …\n");
    return false;
}

static void print_problem(FILE *out, const struct plan_outcome *outcome)
{
    const struct vkring_plan_params *problem = outcome->problem;
    const struct vkring_simulation *whole = &outcome->passes[0].whole;
    fprintf(out,
            "%" PRIu32 " ranks, %s, %" PRIu32 " steps: %" PRIu64 " queries, %" PRIu64 " keys, %" PRIu64 " heads of %" PRIu64 ", %s%s\n",
            outcome->ranks, layout_text(whole->layout), whole->steps, problem->q_len, problem->kv_len, problem->heads, problem->head_dim,
            element_text((enum element_type)problem->type), problem->causal ? ", causal" : "");
}

static void print_passes(FILE *out, const struct plan_outcome *outcome)
{
    fprintf(out, "\n%-9s %12s %12s %11s %12s %11s\n", "", "seconds", "ideal", "efficiency", "exposed", "TFLOP/s");
    for (uint32_t i = 0; i < outcome->pass_count; i++) {
        const struct plan_pass *pass = &outcome->passes[i];
        fprintf(out, "%-9s %12.6g %12.6g %10.1f%% %12.6g %11.5g\n", pass->name, pass->whole.total_seconds, pass->whole.ideal_seconds,
                100 * efficiency(&pass->whole), largest_wait(pass, outcome->ranks), pass->whole.flop / pass->whole.total_seconds * 1e-12);
    }
}

static void print_turns(FILE *out, const struct plan_pass *pass)
{
    const uint32_t count = pass->whole.turns;
    fprintf(out, "\n%-14s %12s %12s %12s %12s\n", pass->name, "compute", "transfer", "exposed", "end");
    for (uint32_t i = 0; i < count; i++) {
        const struct vkring_simulated_turn *turn = &pass->turns[i];
        char label[32];
        if (!is_shown(out, i, count, count))
            continue;
        snprintf(label, sizeof(label), i < pass->whole.steps ? "  step %" PRIu32 : "  own keys", i);
        fprintf(out, "%-14s %12.6g %12.6g %12.6g %12.6g\n", label, turn->compute_seconds, turn->transfer_seconds,
                turn->exposed_wait_seconds, turn->end_seconds);
    }
}

static void print_ranks(FILE *out, const struct plan_outcome *outcome)
{
    const struct plan_pass *pass = &outcome->passes[outcome->pass_count - 1];
    const uint32_t slowest = slowest_rank(pass, outcome->ranks);
    fprintf(out, "\n%-9s %12s %12s %12s %12s %12s %12s %12s\n", "rank", "queries", "compute", "exposed", "sent MiB", "tensors MiB",
            "plan MiB", "host MiB");
    for (uint32_t rank = 0; rank < outcome->ranks; rank++) {
        const struct vkring_simulated_result *its = &pass->results[rank];
        if (!is_shown(out, rank, outcome->ranks, slowest))
            continue;
        fprintf(out, "%-9" PRIu32 " %12" PRIu64 " %12.6g %12.6g %12.1f %12.1f %12.1f %12.1f%s%s\n", rank, its->query_rows,
                its->compute_seconds, its->exposed_wait_seconds, its->sent_bytes / MIB, (double)its->tensor_bytes / MIB,
                (double)its->memory.device_bytes / MIB, (double)its->memory.host_bytes / MIB,
                rank == slowest && outcome->ranks > SHOWN ? "  slowest" : "", its->fits ? "" : "  does not fit");
    }
}

void plan_print(FILE *out, const struct plan_outcome *outcome)
{
    print_problem(out, outcome);
    print_passes(out, outcome);
    for (uint32_t i = 0; i < outcome->pass_count; i++)
        print_turns(out, &outcome->passes[i]);
    print_ranks(out, outcome);
    if (outcome->has_limit)
        fprintf(out, "\nlongest sequence that fits: %" PRIu64 " keys\n", outcome->longest);
}

/* JSON --------------------------------------------------------------------------------------------------------------------- */

static json_t *turn_json(const struct vkring_simulated_turn *turn)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "compute", json_measure(turn->compute_seconds), "transfer",
                     json_measure(turn->transfer_seconds), "exposed_wait", json_measure(turn->exposed_wait_seconds), "end",
                     json_measure(turn->end_seconds));
}

static json_t *result_json(const struct vkring_simulated_result *result)
{
    return json_pack("{s:o, s:o, s:{s:o, s:o, s:o}, s:{s:o, s:o}, s:{s:o, s:o, s:o}, s:b}", "query_rows", json_size(result->query_rows),
                     "key_rows", json_size(result->key_rows), "seconds", "run", json_measure(result->total_seconds), "compute",
                     json_measure(result->compute_seconds), "exposed_wait", json_measure(result->exposed_wait_seconds), "bytes", "sent",
                     json_measure(result->sent_bytes), "received", json_measure(result->received_bytes), "memory", "tensor_bytes",
                     json_size(result->tensor_bytes), "planned_device_bytes", json_size(result->memory.device_bytes), "planned_host_bytes",
                     json_size(result->memory.host_bytes), "fits", result->fits);
}

static json_t *pass_json(const struct plan_pass *pass, uint32_t ranks)
{
    json_t *turns = json_array(), *results = json_array();
    for (uint32_t i = 0; i < pass->whole.turns; i++)
        json_array_append_new(turns, turn_json(&pass->turns[i]));
    for (uint32_t rank = 0; rank < ranks; rank++)
        json_array_append_new(results, result_json(&pass->results[rank]));
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "run_seconds", json_measure(pass->whole.total_seconds), "ideal_seconds",
                     json_measure(pass->whole.ideal_seconds), "efficiency", json_measure(efficiency(&pass->whole)), "flop",
                     json_measure(pass->whole.flop), "steps", turns, "ranks", results);
}

static json_t *outcome_json(const struct plan_outcome *outcome)
{
    json_t *root = json_pack("{s:s, s:I, s:s, s:I, s:o}", "vkring", vkring_version(), "ranks", (json_int_t)outcome->ranks, "layout",
                             layout_text(outcome->passes[0].whole.layout), "ring_steps", (json_int_t)outcome->passes[0].whole.steps,
                             "longest_kv_len", outcome->has_limit ? json_size(outcome->longest) : json_null());
    for (uint32_t i = 0; root && i < outcome->pass_count; i++)
        json_object_set_new(root, outcome->passes[i].name, pass_json(&outcome->passes[i], outcome->ranks));
    return root;
}

bool plan_write_json(struct report_file *file, const struct plan_outcome *outcome, struct failure *failure)
{
    json_t *root = file->name ? outcome_json(outcome) : NULL;
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    const bool good = !file->name || (text ? report_file_write(file, text, strlen(text), failure) : fail_memory(failure));
    free(text);
    json_decref(root);
    return good;
}
