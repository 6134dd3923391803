/* SPDX-License-Identifier: MIT */
#include "plan_options.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "option_counts.h"
#include "option_rules.h"
#include "option_values.h"

#define RANKS_MAX 65536

/* The takers of vkring attend know no more than the options that come first. */
static struct plan_options *options_of(struct parsing *parsing)
{
    return (struct plan_options *)parsing->options;
}

/* Values ------------------------------------------------------------------------------------------------------------------- */

static bool take_ranks(struct parsing *parsing, const char *text)
{
    return option_take_count(parsing, text, 1, RANKS_MAX, &options_of(parsing)->ranks);
}

static const struct {
    const char *name;
    size_t place;
    bool may_be_zero;
} amounts[] = {
    {"--flops", offsetof(struct plan_options, flops), false},   {"--backward-flops", offsetof(struct plan_options, backward_flops), false},
    {"--link", offsetof(struct plan_options, link), false},     {"--latency", offsetof(struct plan_options, latency), true},
    {"--task", offsetof(struct plan_options, task), true},      {"--copy", offsetof(struct plan_options, copy), false},
    {"--memory", offsetof(struct plan_options, memory), false},
};
#define AMOUNTS (sizeof(amounts) / sizeof(amounts[0]))

static struct plan_amounts *amounts_at(struct plan_options *options, size_t index)
{
    return (struct plan_amounts *)(void *)((char *)options + amounts[index].place);
}

static bool take_amounts(struct parsing *parsing, const char *text)
{
    size_t i = 0;
    while (strcmp(amounts[i].name, parsing->name) != 0)
        i++;
    struct plan_amounts *taken = amounts_at(options_of(parsing), i);
    free(taken->values);
    *taken = (struct plan_amounts){0};
    if (!value_amounts(text, &taken->values, &taken->count))
        return option_malformed(parsing, text, "a list of finite numbers with commas between them");
    for (uint32_t rank = 0; rank < taken->count; rank++)
        if (taken->values[rank] < 0 || (taken->values[rank] == 0 && !amounts[i].may_be_zero))
            return option_malformed(parsing, text, amounts[i].may_be_zero ? "a list of numbers >= 0" : "a list of numbers above 0");
    return true;
}

static bool take_backward(struct parsing *parsing, const char *text)
{
    (void)text;
    options_of(parsing)->backward = true;
    return true;
}

/* What is so where no copy is given. */
static bool take_unified(struct parsing *parsing, const char *text)
{
    (void)text;
    struct plan_amounts *copy = &options_of(parsing)->copy;
    free(copy->values);
    *copy = (struct plan_amounts){0};
    return true;
}

static bool take_from(struct parsing *parsing, const char *text)
{
    return option_take_path(parsing, text, &options_of(parsing)->from);
}

static bool take_json(struct parsing *parsing, const char *text)
{
    return option_take_path(parsing, text, &options_of(parsing)->json);
}

/* The table ---------------------------------------------------------------------------------------------------------------- */

static const struct option_rule rules[] = {
    {"--ranks", 0, required_argument, take_ranks},
    {"--batch", 0, required_argument, take_size},
    {"--q-len", 0, required_argument, take_size},
    {"--kv-len", 0, required_argument, take_size},
    {"--heads", 0, required_argument, take_size},
    {"--kv-heads", 0, required_argument, take_size},
    {"--head-dim", 0, required_argument, take_size},
    {"--value-dim", 0, required_argument, take_size},
    {"--dtype", 0, required_argument, take_type},
    {"--causal", 0, no_argument, take_causal},
    {"--causal-block", 0, required_argument, take_causal_block},
    {"--window", 0, required_argument, take_window},
    {"--query-offset", 0, required_argument, take_query_offset},
    {"--layout", 0, required_argument, take_layout},
    {"--shares", 0, required_argument, take_shares},
    {"--backward", 0, no_argument, take_backward},
    {"--flops", 0, required_argument, take_amounts},
    {"--backward-flops", 0, required_argument, take_amounts},
    {"--link", 0, required_argument, take_amounts},
    {"--latency", 0, required_argument, take_amounts},
    {"--task", 0, required_argument, take_amounts},
    {"--copy", 0, required_argument, take_amounts},
    {"--memory", 0, required_argument, take_amounts},
    {"--unified", 0, no_argument, take_unified},
    {"--from", 0, required_argument, take_from},
    {"--json", 0, required_argument, take_json},
    {"--help", 'h', no_argument, take_help},
};

static const struct option_table table = {"plan", "h", rules, sizeof(rules) / sizeof(rules[0])};

static bool check_counts(struct plan_options *options, struct failure *failure)
{
    for (size_t i = 0; i < AMOUNTS; i++) {
        const struct plan_amounts *given = amounts_at(options, i);
        if (given->count > 1 && given->count != options->ranks)
            return fail_usage(failure, "%s has %" PRIu32 " numbers for %" PRIu64 " ranks", amounts[i].name, given->count, options->ranks);
    }
    if (options->attend.shares && options->attend.share_count != options->ranks)
        return fail_usage(failure, "--shares has %" PRIu32 " numbers for %" PRIu64 " ranks", options->attend.share_count, options->ranks);
    return true;
}

static bool check_whole(struct plan_options *options, struct failure *failure)
{
    const struct problem_sizes *sizes = &options->attend.sizes;
    const char *missing = !options->ranks ? "--ranks" : !sizes->q_len ? "--q-len" : !sizes->head_dim ? "--head-dim" : NULL;
    if (missing)
        return fail_usage(failure, "option %s is missing; see vkring plan --help", missing);
    if (!options->flops.values && !options->from)
        return fail_usage(failure, "option --flops, or --from, is missing; see vkring plan --help");
    if (options->from && (options->flops.values || options->backward_flops.values))
        return fail_usage(failure, "--from and %s contradict each other", options->flops.values ? "--flops" : "--backward-flops");
    return check_counts(options, failure);
}

bool plan_options_parse(struct plan_options *options, int argc, char **argv, struct failure *failure)
{
    struct parsing parsing = {.options = &options->attend, .failure = failure};
    *options = (struct plan_options){
        .attend =
            {.causal_block = 1, .window_left = -1, .window_right = -1, .layout = VKRING_LAYOUT_AUTO, .sizes = {.batch = 1, .heads = 1}},
    };
    if (!option_table_take(&table, &parsing, argc, argv))
        return false;
    return options->attend.help || check_whole(options, failure);
}

void plan_options_free(struct plan_options *options)
{
    free(options->devices);
    options->devices = NULL;
    attend_options_free(&options->attend);
    for (size_t i = 0; i < AMOUNTS; i++) {
        free(amounts_at(options, i)->values);
        *amounts_at(options, i) = (struct plan_amounts){0};
    }
}
