/* SPDX-License-Identifier: MIT */
#include "attend_options.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>

#include "option_rules.h"
#include "ranks.h"

static const struct option_rule rules[] = {
    {"--query", 'q', required_argument, take_file, FILE_QUERY},
    {"--key", 'k', required_argument, take_file, FILE_KEY},
    {"--value", 'v', required_argument, take_file, FILE_VALUE},
    {"--output", 'o', required_argument, take_file, FILE_OUTPUT},
    {"--lse", 0, required_argument, take_file, FILE_LSE},
    {"--dtype", 0, required_argument, take_type},
    {"--causal", 0, no_argument, take_causal},
    {"--causal-block", 0, required_argument, take_causal_block},
    {"--window", 0, required_argument, take_window},
    {"--segment-ids", 0, required_argument, take_file, FILE_QUERY_SEGMENTS},
    {"--key-segment-ids", 0, required_argument, take_file, FILE_KEY_SEGMENTS},
    {"--bias", 0, required_argument, take_file, FILE_BIAS},
    {"--alibi", 0, required_argument, take_file, FILE_SLOPES},
    {"--sinks", 0, required_argument, take_file, FILE_SINKS},
    {"--softcap", 0, required_argument, take_softcap},
    {"--scale", 0, required_argument, take_scale},
    {"--query-offset", 0, required_argument, take_query_offset},
    {"--dropout", 0, required_argument, take_dropout},
    {"--seed", 0, required_argument, take_seed},
    {"--output-grad", 0, required_argument, take_file, FILE_OUTPUT_GRAD},
    {"--query-grad", 0, required_argument, take_file, FILE_QUERY_GRAD},
    {"--key-grad", 0, required_argument, take_file, FILE_KEY_GRAD},
    {"--value-grad", 0, required_argument, take_file, FILE_VALUE_GRAD},
    {"--bias-grad", 0, required_argument, take_file, FILE_BIAS_GRAD},
    {"--sink-grad", 0, required_argument, take_file, FILE_SINK_GRAD},
    {"--layout", 0, required_argument, take_layout},
    {"--shares", 0, required_argument, take_shares},
    {"--device", 0, required_argument, take_device},
    {"--timeout", 0, required_argument, take_timeout},
    {"--report", 0, required_argument, take_file, FILE_REPORT},
    {"--trace", 0, required_argument, take_file, FILE_TRACE},
    {"--quiet", 0, no_argument, take_quiet},
    {"--help", 'h', no_argument, take_help},
};

static const struct option_table table = {"attend", "q:k:v:o:h", rules, sizeof(rules) / sizeof(rules[0])};

/* Files that say nothing without another. */
static const struct {
    enum file_kind file, needed;
} partners[] = {
    {FILE_KEY_SEGMENTS, FILE_QUERY_SEGMENTS},
    {FILE_QUERY_GRAD, FILE_OUTPUT_GRAD},
    {FILE_KEY_GRAD, FILE_OUTPUT_GRAD},
    {FILE_VALUE_GRAD, FILE_OUTPUT_GRAD},
    {FILE_BIAS_GRAD, FILE_OUTPUT_GRAD},
    {FILE_SINK_GRAD, FILE_OUTPUT_GRAD},
    {FILE_BIAS_GRAD, FILE_BIAS},
    {FILE_SINK_GRAD, FILE_SINKS},
};

static bool check_partners(const struct attend_options *options, struct failure *failure)
{
    for (size_t i = 0; i < sizeof(partners) / sizeof(partners[0]); i++) {
        if (options->files[partners[i].file] && !options->files[partners[i].needed])
            return fail_usage(failure, "%s needs %s", file_spec(partners[i].file)->option, file_spec(partners[i].needed)->option);
    }
    return true;
}

static bool check_backward(const struct attend_options *options, struct failure *failure)
{
    bool wanted = false;
    if (!attend_options_backward(options))
        return true;
    for (enum file_kind kind = FILE_READ_KINDS; kind < FILE_KINDS; kind++)
        wanted = wanted || (options->files[kind] && file_gradient_of(kind) != FILE_KINDS);
    if (!wanted)
        return fail_usage(failure, "--output-grad needs --query-grad, --key-grad, --value-grad, --bias-grad or --sink-grad");
    return true;
}

bool attend_options_check_files(const struct attend_options *options, const char *command, struct failure *failure)
{
    const char *missing = !options->files[FILE_QUERY]    ? "-q, --query"
                          : !options->files[FILE_KEY]    ? "-k, --key"
                          : !options->files[FILE_VALUE]  ? "-v, --value"
                          : !options->files[FILE_OUTPUT] ? "-o, --output"
                                                         : NULL;
    if (missing)
        return fail_usage(failure, "option %s is missing; see vkring %s --help", missing, command);
    return check_partners(options, failure);
}

/* Refuses what is well formed and cannot be done. */
static bool check_whole(const struct parsing *parsing, uint32_t ranks)
{
    const struct attend_options *options = parsing->options;
    struct failure *failure = parsing->failure;
    if (!attend_options_check_files(options, "attend", failure))
        return false;
    if (options->shares && options->share_count != ranks)
        return fail_usage(failure, "--shares has %" PRIu32 " numbers for %" PRIu32 " ranks", options->share_count, ranks);
    return check_backward(options, failure);
}

bool attend_options_parse(struct attend_options *options, int argc, char **argv, uint32_t ranks, struct failure *failure)
{
    struct parsing parsing = {.options = options, .failure = failure};
    *options = (struct attend_options){
        .causal_block = 1, .window_left = -1, .window_right = -1, .layout = VKRING_LAYOUT_AUTO, .timeout_seconds = DEFAULT_TIMEOUT_SECONDS};
    if (!option_table_take(&table, &parsing, argc, argv))
        return false;
    return options->help || check_whole(&parsing, ranks);
}

void attend_options_free(struct attend_options *options)
{
    free(options->shares);
    options->shares = NULL;
}

struct vkring_plan_params attend_options_problem(const struct attend_options *options)
{
    const struct problem_sizes *sizes = &options->sizes;
    return (struct vkring_plan_params){
        .batch = sizes->batch,
        .q_len = sizes->q_len,
        .kv_len = sizes->kv_len ? sizes->kv_len : sizes->q_len,
        .heads = sizes->heads,
        .kv_heads = sizes->kv_heads,
        .head_dim = sizes->head_dim,
        .value_dim = sizes->value_dim,
        .type = options->has_type ? element_library_type(options->type) : VKRING_TYPE_F32,
        .causal = options->causal,
        .causal_block = options->causal ? options->causal_block : 0,
        .has_window = true,
        .window_left = options->window_left,
        .window_right = options->window_right,
        .has_query_offset = options->has_query_offset,
        .query_offset = options->query_offset,
        .softcap = options->softcap,
        .dropout = options->dropout,
    };
}
