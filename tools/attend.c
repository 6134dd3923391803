/* SPDX-License-Identifier: MIT */
/*
 * vkring attend: files in, attention, files out.
 *
 * Phases, each ended by all ranks agreeing that it went well on every one: so no rank waits in a phase that another never reaches.
 * What can be refused is refused before the first of them that touches a device.
 */
#include "attend.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cleanup.h"
#include "commands.h"
#include "verdict.h"

static bool parse_options(struct attend *attend, struct failure *failure)
{
    struct ranks *ranks = attend->ranks;
    if (!attend_options_parse(&attend->options, attend->argc, attend->argv, ranks->size, failure))
        return false;
    ranks->timeout_seconds = attend->options.timeout_seconds;
    return true;
}

static bool tell_help(struct attend *attend, struct failure *failure)
{
    return attend_tell_help(attend, attend_help, failure);
}

static bool write_report(struct attend *attend, struct failure *failure)
{
    const struct output_file *file = outputs_file(&attend->outputs, FILE_REPORT);
    if (!file->path)
        return true;
    return run_report_write(attend->ranks, &attend->options, &attend->problem, &attend->report, file->fd, file->name, failure) &&
           outputs_flush(&attend->outputs, failure);
}

static bool write_trace(struct attend *attend, struct failure *failure)
{
    const struct output_file *file = outputs_file(&attend->outputs, FILE_TRACE);
    const struct rank_report *report = &attend->report;
    char name[sizeof(report->host) + sizeof(report->device_name) + 32];
    if (!file->path)
        return true;
    snprintf(name, sizeof(name), "rank %" PRIu32 ": %s, %s", attend->ranks->rank, report->host, report->device_name);
    return trace_write(attend->ranks, &attend->trace, name, file->fd, file->name, failure) && outputs_flush(&attend->outputs, failure);
}

/* The command -------------------------------------------------------------------------------------------------------------- */

static const attend_phase phases[] = {
    parse_options,         tell_help,
    attend_meet,           attend_compare_options,
    attend_open_inputs,    attend_compare_inputs,
    attend_name_outputs,   attend_create_outputs,
    attend_join_outputs,   attend_cut,
    attend_check,          attend_open_device,
    attend_measure_shares, attend_make_buffers,
    attend_make_plan,      attend_load,
    attend_run_forward,    attend_run_backward,
    attend_store,          write_report,
    write_trace,           attend_commit_outputs,
};

enum exit_status attend_run_phases(struct attend *attend, const attend_phase *list, size_t count)
{
    enum exit_status status = EXIT_STATUS_DONE;
    for (size_t i = 0; i < count; i++) {
        struct failure failure = {0};
        bool draws = attend->progress.draws;
        if (!list[i](attend, &failure))
            progress_stop(&attend->progress);
        status = verdict_agree(attend->ranks, &failure, draws);
        if (status != EXIT_STATUS_DONE || attend->told_help)
            break;
    }
    if (status == EXIT_STATUS_DONE)
        cleanup_forget();
    return status;
}

void attend_init(struct attend *attend)
{
    inputs_init(&attend->inputs);
    outputs_init(&attend->outputs);
}

void attend_free(struct attend *attend)
{
    trace_free(&attend->trace);
    tensor_piece_free(&attend->piece);
    outputs_free(&attend->outputs);
    inputs_close(&attend->inputs);
    attend_options_free(&attend->options);
    free(attend->query_rows);
}

enum exit_status attend_command(struct ranks *ranks, int argc, char **argv)
{
    struct attend attend = {.ranks = ranks, .argc = argc, .argv = argv};
    attend_init(&attend);
    enum exit_status status = attend_run_phases(&attend, phases, sizeof(phases) / sizeof(phases[0]));
    progress_stop(&attend.progress);
    attend_close_device(&attend);
    attend_free(&attend);
    return status;
}
