/* SPDX-License-Identifier: MIT */
/* vkring decode: files in, a cache filled piece by piece and attended to, files out. Its phases are those of vkring attend but for the
 * device's work. */
#include <inttypes.h>
#include <stdlib.h>

#include "cleanup.h"
#include "commands.h"
#include "decode.h"
#include "verdict.h"

static bool parse_options(struct attend *attend, struct failure *failure)
{
    struct decode_options *options = &decode_of(attend)->options;
    if (!decode_options_parse(options, attend->argc, attend->argv, failure))
        return false;
    attend->options = options->attend;
    attend->ranks->timeout_seconds = options->attend.timeout_seconds;
    return true;
}

static bool tell_help(struct attend *attend, struct failure *failure)
{
    return attend_tell_help(attend, decode_help, failure);
}

static bool compare_replays(struct attend *attend, struct failure *failure)
{
    const struct decode_options *options = &decode_of(attend)->options;
    const struct verdict_field fields[] = {
        {"--steps", options->steps},     {"--step-rows", options->step_rows}, {"--prefill-rows", options->prefill_rows},
        {"--storage", options->storage}, {"--pass", options->pass},
    };
    return verdict_compare(attend->ranks, fields, sizeof(fields) / sizeof(fields[0]), failure);
}

/* Steps that nobody asked for are as many as there are rows for. */
static bool fit_steps(struct attend *attend, struct failure *failure)
{
    struct decode_options *options = &decode_of(attend)->options;
    const uint64_t *lengths = attend->problem.lengths;
    const uint64_t most = lengths[DIM_KV_LEN] / options->step_rows;
    if (lengths[DIM_Q_LEN] > lengths[DIM_KV_LEN])
        return fail_usage(failure, "q_len is %" PRIu64 " and kv_len %" PRIu64 ": each query stands at the position of a key",
                          lengths[DIM_Q_LEN], lengths[DIM_KV_LEN]);
    if (options->has_steps && options->steps > most)
        return fail_usage(failure, "--steps %" PRIu64 ": kv_len is %" PRIu64 ", for %" PRIu64 " of %" PRIu64 " rows", options->steps,
                          lengths[DIM_KV_LEN], most, options->step_rows);
    if (options->steps > most)
        options->steps = most;
    return true;
}

static const attend_phase phases[] = {
    parse_options,         tell_help,
    attend_meet,           attend_compare_options,
    compare_replays,       attend_open_inputs,
    attend_compare_inputs, fit_steps,
    attend_name_outputs,   attend_create_outputs,
    attend_join_outputs,   attend_cut,
    attend_check,          attend_open_device,
    decode_make_buffers,   decode_make_cache,
    decode_prefill,        decode_steps,
    decode_write_report,   attend_commit_outputs,
};

enum exit_status decode_command(struct ranks *ranks, int argc, char **argv)
{
    struct decode decode = {.attend = {.ranks = ranks, .argc = argc, .argv = argv}};
    attend_init(&decode.attend);
    enum exit_status status = attend_run_phases(&decode.attend, phases, sizeof(phases) / sizeof(phases[0]));
    progress_stop(&decode.attend.progress);
    vkring_cache_destroy(&decode.cache);
    attend_close_device(&decode.attend);
    attend_free(&decode.attend);
    free(decode.step_seconds);
    return status;
}
