/* SPDX-License-Identifier: MIT */
/*
 * vkring attend: files in, attention, files out.
 *
 * Phases, each ended by all ranks agreeing that it went well on every one: so no rank waits in a phase that another never reaches.
 * What can be refused is refused before the first of them that touches a device.
 */
#include "attend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cleanup.h"
#include "commands.h"
#include "now.h"
#include "verdict.h"

typedef bool (*attend_phase)(struct attend *attend, struct failure *failure);

static bool parse_options(struct attend *attend, struct failure *failure)
{
    struct ranks *ranks = attend->ranks;
    if (!attend_options_parse(&attend->options, attend->argc, attend->argv, ranks->size, failure))
        return false;
    ranks->timeout_seconds = attend->options.timeout_seconds;
    return attend->options.help ? command_print(ranks, attend_help, failure) : true;
}

/* Meeting the other ranks ---------------------------------------------------------------------------------------------- */

/* Hosts may share a name, and containers a kernel. */
static uint64_t hash_host(void)
{
    char text[512] = "";
    gethostname(text, 256);
    size_t length = strlen(text);
    FILE *boot_id = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (boot_id) {
        length += fread(text + length, 1, sizeof(text) - length, boot_id);
        fclose(boot_id);
    }
    return verdict_hash(text, length);
}

struct meeting {
    uint64_t token;
    uint64_t host;
};

static bool meet(struct attend *attend, struct failure *failure)
{
    struct ranks *ranks = attend->ranks;
    struct meeting mine = {.host = hash_host()};
    struct meeting *all = calloc(ranks->size, sizeof(*all));
    if (!all)
        return fail_memory(failure);
    if (getrandom(&mine.token, sizeof(mine.token), 0) != (ssize_t)sizeof(mine.token))
        mine.token = (uint64_t)(now_seconds() * 1e9) ^ (uint64_t)getpid() << 40;
    bool good = verdict_gather(ranks, &mine, sizeof(mine), all, failure);
    attend->token = all[0].token;
    for (uint32_t rank = 0; rank < ranks->rank; rank++)
        attend->host_turn += all[rank].host == mine.host;
    free(all);
    return good;
}

static uint64_t hash_text(const char *text)
{
    return text ? verdict_hash(text, strlen(text)) : 0;
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* Inputs may have other names on another host. */
static bool compare_options(struct attend *attend, struct failure *failure)
{
    const struct attend_options *options = &attend->options;
    const struct verdict_field fields[] = {
        {"--output", hash_text(options->output)},
        {"--lse", hash_text(options->lse)},
        {"--report", hash_text(options->report)},
        {"--dtype", options->has_type ? options->type + 1u : 0},
        {"--causal", options->causal},
        {"--query-offset", options->has_query_offset},
        {"--query-offset", (uint64_t)options->query_offset},
        {"--scale", options->has_scale},
        {"--scale", bits_of(options->scale)},
        {"--shares", options->shares ? verdict_hash(options->shares, options->share_count * sizeof(double)) : 0},
        {"--timeout", bits_of(options->timeout_seconds)},
    };
    return verdict_compare(attend->ranks, fields, sizeof(fields) / sizeof(fields[0]), failure);
}

/* Files --------------------------------------------------------------------------------------------------------------------- */

static bool open_inputs(struct attend *attend, struct failure *failure)
{
    return inputs_open(&attend->inputs, &attend->options, &attend->problem, failure) &&
           outputs_plan(&attend->outputs, &attend->options, &attend->problem, failure);
}

static bool compare_inputs(struct attend *attend, struct failure *failure)
{
    const struct attend_problem *problem = &attend->problem;
    const struct verdict_field fields[] = {
        {"the files' type", problem->file_type},
        {"batch", problem->batch},
        {"q_len", problem->q_len},
        {"kv_len", problem->kv_len},
        {"the number of heads", problem->heads},
        {"the number of key and value heads", problem->kv_heads},
        {"head_dim", problem->head_dim},
        {"value_dim", problem->value_dim},
    };
    return verdict_compare(attend->ranks, fields, sizeof(fields) / sizeof(fields[0]), failure);
}

static bool name_outputs(struct attend *attend, struct failure *failure)
{
    cleanup_on_signals(attend->ranks);
    progress_start(&attend->progress, attend->ranks, attend->options.quiet);
    return outputs_name(&attend->outputs, attend->token, failure);
}

static bool create_outputs(struct attend *attend, struct failure *failure)
{
    return attend->ranks->rank > 0 || outputs_create(&attend->outputs, failure);
}

static bool join_outputs(struct attend *attend, struct failure *failure)
{
    cleanup_expect_files();
    return attend->ranks->rank == 0 || outputs_join(&attend->outputs, failure);
}

/* Each rank looks at what it will read: together, at all. */
static bool check_inputs(struct attend *attend, struct failure *failure)
{
    double start = now_seconds();
    uint64_t total = 0;
    if (!attend_cut(attend, failure) || !tensor_piece_create(&attend->piece, failure))
        return false;
    for (int kind = TENSOR_QUERY; kind <= TENSOR_VALUE; kind++)
        total += strip_elements(&attend->tensors[kind].strip);
    progress_phase(&attend->progress, "checking", total);
    for (int kind = TENSOR_QUERY; kind <= TENSOR_VALUE; kind++) {
        if (!tensor_check(&attend->tensors[kind], &attend->piece, &attend->progress, failure))
            return false;
    }
    attend->report.check_seconds = now_seconds() - start;
    return true;
}

static bool write_report(struct attend *attend, struct failure *failure)
{
    const struct output_file *file = &attend->outputs.files[OUTPUT_REPORT];
    if (!file->path)
        return true;
    return run_report_write(attend->ranks, &attend->problem, &attend->report, file->fd, file->name, failure) &&
           outputs_flush(&attend->outputs, failure);
}

static bool commit_outputs(struct attend *attend, struct failure *failure)
{
    return attend->ranks->rank > 0 || outputs_commit(&attend->outputs, failure);
}

/* The command -------------------------------------------------------------------------------------------------------------- */

static const attend_phase phases[] = {
    parse_options,  meet,         compare_options, open_inputs,        compare_inputs,   name_outputs,
    create_outputs, join_outputs, check_inputs,    attend_open_device, attend_make_plan, attend_load,
    attend_run,     attend_store, write_report,    commit_outputs,
};

static enum exit_status run_phases(struct attend *attend)
{
    enum exit_status status = EXIT_STATUS_DONE;
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        struct failure failure = {0};
        bool draws = attend->progress.draws;
        if (!phases[i](attend, &failure))
            progress_stop(&attend->progress);
        status = verdict_agree(attend->ranks, &failure, draws);
        if (status != EXIT_STATUS_DONE || attend->options.help)
            break;
    }
    if (status == EXIT_STATUS_DONE)
        cleanup_forget();
    return status;
}

enum exit_status attend_command(struct ranks *ranks, int argc, char **argv)
{
    struct attend attend = {.ranks = ranks, .argc = argc, .argv = argv};
    inputs_init(&attend.inputs);
    outputs_init(&attend.outputs);
    enum exit_status status = run_phases(&attend);
    progress_stop(&attend.progress);
    attend_close_device(&attend);
    tensor_piece_free(&attend.piece);
    outputs_free(&attend.outputs);
    inputs_close(&attend.inputs);
    attend_options_free(&attend.options);
    free(attend.query_rows);
    free(attend.key_rows);
    return status;
}
