/* SPDX-License-Identifier: MIT */
#include "tune_options.h"

#include <getopt.h>
#include <string.h>
#include <vkring/tune.h>

#include "option_counts.h"
#include "option_rules.h"
#include "option_values.h"

#define DEFAULT_LENGTH 4096
#define DEFAULT_HEADS 8
#define DEFAULT_HEAD_DIM 64

#define TEXT_OF_ARGUMENT(argument) #argument
#define TEXT_OF(macro) TEXT_OF_ARGUMENT(macro)

const char tune_help[] =
    "usage: vkring tune [options]\n"
    "\n"
    "Looks for faster kernels for a class of problems on a device, by measuring, and remembers them for it, its driver and\n"
    "this build: plans of the class have them from then on.\n"
    "\n"
    "The problem; its class is all of it but lengths and numbers of heads, though it counts whether query rows are few:\n"
    "      --dtype f32|f16|bf16       default: f32\n"
    "      --head-dim N, --value-dim N    default: 64; of the second: as the first\n"
    "      --heads N, --kv-heads N    default: 8; of the second: as the first\n"
    "      --q-len N, --kv-len N      default: 4096; of the second: as the first\n"
    "      --causal, --causal-block B, --window LEFT,RIGHT, --softcap C, --dropout P    as of vkring attend\n"
    "      --segments, --alibi, --sinks   with segment ids, slopes, sinks\n"
    "      --backward                 gradients too\n"
    "\n"
    "The search:\n"
    "      --device I         default: the best\n"
    "      --seconds S        about how long; default: " TEXT_OF(VKRING_TUNE_DEFAULT_SECONDS) "\n"
    "      --exhaustive       all choices there are, however long it takes\n"
    "                         Either way a first signal (Ctrl-C) ends the search with the best so far, a later one at once\n"
    "      --forget           what is found is not remembered\n"
    "      --json FILE        also written: every choice and what it took\n"
    "      --quiet            no progress\n"
    "  -h, --help             this text\n"
    "\n"
    "VKRING_KERNELS, if it is set, counts before what is remembered: see vkring/tune.h for its words.\n"
    "\n"
    "Exit status: 0 done; 1 failed; 2 wrong usage.\n";

static struct tune_options *options_of(struct parsing *parsing)
{
    return (struct tune_options *)parsing->options;
}

static const struct {
    const char *name;
    size_t place;
} flags[] = {
    {"--backward", offsetof(struct tune_options, backward)},     {"--segments", offsetof(struct tune_options, segments)},
    {"--alibi", offsetof(struct tune_options, alibi)},           {"--sinks", offsetof(struct tune_options, sinks)},
    {"--exhaustive", offsetof(struct tune_options, exhaustive)}, {"--forget", offsetof(struct tune_options, forget)},
};

static bool take_flag(struct parsing *parsing, const char *text)
{
    size_t i = 0;
    (void)text;
    while (strcmp(flags[i].name, parsing->name) != 0)
        i++;
    *(bool *)((char *)parsing->options + flags[i].place) = true;
    return true;
}

static bool take_seconds(struct parsing *parsing, const char *text)
{
    double *seconds = &options_of(parsing)->seconds;
    if (!value_real(text, seconds) || !(*seconds > 0))
        return option_malformed(parsing, text, "a finite number of seconds above 0");
    return true;
}

static bool take_json(struct parsing *parsing, const char *text)
{
    return option_take_path(parsing, text, &options_of(parsing)->json);
}

static const struct option_rule rules[] = {
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
    {"--softcap", 0, required_argument, take_softcap},
    {"--dropout", 0, required_argument, take_dropout},
    {"--segments", 0, no_argument, take_flag},
    {"--alibi", 0, no_argument, take_flag},
    {"--sinks", 0, no_argument, take_flag},
    {"--backward", 0, no_argument, take_flag},
    {"--device", 0, required_argument, take_device},
    {"--seconds", 0, required_argument, take_seconds},
    {"--exhaustive", 0, no_argument, take_flag},
    {"--forget", 0, no_argument, take_flag},
    {"--json", 0, required_argument, take_json},
    {"--quiet", 0, no_argument, take_quiet},
    {"--help", 'h', no_argument, take_help},
};

static const struct option_table table = {"tune", "h", rules, sizeof(rules) / sizeof(rules[0])};

bool tune_options_parse(struct tune_options *options, int argc, char **argv, struct failure *failure)
{
    struct parsing parsing = {.options = &options->attend, .failure = failure};
    *options = (struct tune_options){
        .attend = {.causal_block = 1,
                   .window_left = -1,
                   .window_right = -1,
                   .sizes = {.batch = 1, .q_len = DEFAULT_LENGTH, .heads = DEFAULT_HEADS, .head_dim = DEFAULT_HEAD_DIM}},
    };
    if (!option_table_take(&table, &parsing, argc, argv))
        return false;
    if (!options->attend.help && options->exhaustive && options->seconds > 0)
        return fail_usage(failure, "--exhaustive and --seconds contradict each other");
    return true;
}

void tune_options_free(struct tune_options *options)
{
    attend_options_free(&options->attend);
}

struct vkring_plan_params tune_options_problem(const struct tune_options *options)
{
    struct vkring_plan_params problem = attend_options_problem(&options->attend);
    problem.segment_ids = options->segments;
    problem.alibi = options->alibi;
    problem.sinks = options->sinks;
    problem.backward = options->backward;
    return problem;
}
