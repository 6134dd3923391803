/* SPDX-License-Identifier: MIT */
#include "bench_options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../tools/layout_text.h"
#include "../tools/option_values.h"

const char bench_help[] =
    "usage: vkring-bench [options]         under mpirun: the ring\n"
    "\n"
    "  --list               names of the cases; those marked long are only run when --case names them\n"
    "  --case PATTERN       those whose names match, as in 'f32-*-n4k*'\n"
    "  --repeat N           timed runs of a case, after one to warm up, and more on GPUs (default 5)\n"
    "  --device I           which Vulkan device (default: ranks of a host take them in turn)\n"
    "  --shares W0,W1,...   relative share of the queries of each rank (default: equal)\n"
    "  --shares measured    times each device first; a case is then timed with those shares\n"
    "  --layout contiguous|zigzag|striped|auto   how the sequence is cut over the ranks (default: contiguous)\n"
    "  --peak               the most arithmetic that the device does, in f32 and on matrix units, and this host's cores; no case\n"
    "  --feedforward        layers of vkring/feedforward.h, and which part of the peak in f32 they reach; no case\n"
    "  --cache              caches of vkring/cache.h: filled, and attended by few queries, beside a copy; no case\n"
    "  --no-validate        skip the comparison with float64\n"
    "  --csv FILE, --json FILE   also write the table there\n"
    "  --quiet              no progress bar\n"
    "\n"
    "A case of your own; --q-len and --head-dim make it one:\n"
    "  --type f32|f16|bf16 --batch N --q-len N --kv-len N --heads N --kv-heads N --head-dim N --value-dim N --causal --backward\n";

enum option_value {
    OPTION_HELP = 256,
    OPTION_LIST,
    OPTION_CASE,
    OPTION_REPEAT,
    OPTION_SHARES,
    OPTION_LAYOUT,
    OPTION_DEVICE,
    OPTION_PEAK,
    OPTION_FEEDFORWARD,
    OPTION_CACHE,
    OPTION_NO_VALIDATE,
    OPTION_QUIET,
    OPTION_CSV,
    OPTION_JSON,
    OPTION_CAUSAL,
    OPTION_BACKWARD,
    OPTION_TYPE,
    OPTION_BATCH,
    OPTION_Q_LEN,
    OPTION_KV_LEN,
    OPTION_HEADS,
    OPTION_KV_HEADS,
    OPTION_HEAD_DIM,
    OPTION_VALUE_DIM,
};

static const struct option long_options[] = {
    {"help", no_argument, NULL, OPTION_HELP},
    {"list", no_argument, NULL, OPTION_LIST},
    {"case", required_argument, NULL, OPTION_CASE},
    {"repeat", required_argument, NULL, OPTION_REPEAT},
    {"shares", required_argument, NULL, OPTION_SHARES},
    {"layout", required_argument, NULL, OPTION_LAYOUT},
    {"device", required_argument, NULL, OPTION_DEVICE},
    {"peak", no_argument, NULL, OPTION_PEAK},
    {"feedforward", no_argument, NULL, OPTION_FEEDFORWARD},
    {"cache", no_argument, NULL, OPTION_CACHE},
    {"no-validate", no_argument, NULL, OPTION_NO_VALIDATE},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"csv", required_argument, NULL, OPTION_CSV},
    {"json", required_argument, NULL, OPTION_JSON},
    {"causal", no_argument, NULL, OPTION_CAUSAL},
    {"backward", no_argument, NULL, OPTION_BACKWARD},
    {"type", required_argument, NULL, OPTION_TYPE},
    {"batch", required_argument, NULL, OPTION_BATCH},
    {"q-len", required_argument, NULL, OPTION_Q_LEN},
    {"kv-len", required_argument, NULL, OPTION_KV_LEN},
    {"heads", required_argument, NULL, OPTION_HEADS},
    {"kv-heads", required_argument, NULL, OPTION_KV_HEADS},
    {"head-dim", required_argument, NULL, OPTION_HEAD_DIM},
    {"value-dim", required_argument, NULL, OPTION_VALUE_DIM},
    {NULL, 0, NULL, 0},
};

static bool take_number(const char *name, const char *text, uint64_t low, uint64_t high, uint64_t *out, struct failure *failure)
{
    char *end;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end || end == text || strchr(text, '-') || value < low || value > high)
        return fail_usage(failure, "--%s %s is not a whole number from %llu to %llu", name, text, (unsigned long long)low,
                          (unsigned long long)high);
    *out = value;
    return true;
}

static bool take_size(const char *name, const char *text, uint64_t *out, struct bench_options *options, struct failure *failure)
{
    options->own = true;
    return take_number(name, text, 1, (uint64_t)1 << 40, out, failure);
}

static bool take_problem(int option, const char *name, struct bench_options *options, struct failure *failure)
{
    struct vkring_plan_params *problem = &options->problem;
    switch (option) {
    case OPTION_CAUSAL:
        problem->causal = true;
        return true;
    case OPTION_BACKWARD:
        problem->backward = true;
        return true;
    case OPTION_TYPE:
        return bench_type_find(optarg, &problem->type) || fail_usage(failure, "--type %s is not f32, f16 or bf16", optarg);
    case OPTION_BATCH:
        return take_size(name, optarg, &problem->batch, options, failure);
    case OPTION_Q_LEN:
        return take_size(name, optarg, &problem->q_len, options, failure);
    case OPTION_KV_LEN:
        return take_size(name, optarg, &problem->kv_len, options, failure);
    case OPTION_HEADS:
        return take_size(name, optarg, &problem->heads, options, failure);
    case OPTION_KV_HEADS:
        return take_size(name, optarg, &problem->kv_heads, options, failure);
    case OPTION_HEAD_DIM:
        return take_size(name, optarg, &problem->head_dim, options, failure);
    default:
        return take_size(name, optarg, &problem->value_dim, options, failure);
    }
}

/* What else they must be, vkring_cut_rows says. */
static bool take_shares(const char *text, struct bench_options *options, struct failure *failure)
{
    free(options->shares);
    options->shares = NULL;
    options->share_count = 0;
    options->measured_shares = strcmp(text, "measured") == 0;
    return options->measured_shares || value_reals(text, &options->shares, &options->share_count) ||
           fail_usage(failure, "--shares: '%s' is neither measured nor a list of finite numbers with commas between them", text);
}

static bool take(int option, const char *name, struct bench_options *options, struct failure *failure)
{
    uint64_t number = 0;
    switch (option) {
    case OPTION_HELP:
        options->help = true;
        return true;
    case OPTION_LIST:
        options->list = true;
        return true;
    case OPTION_CASE:
        options->pattern = optarg;
        return true;
    case OPTION_REPEAT:
        if (!take_number(name, optarg, 1, BENCH_REPEATS_MAX, &number, failure))
            return false;
        options->repeats = (uint32_t)number;
        return true;
    case OPTION_SHARES:
        return take_shares(optarg, options, failure);
    case OPTION_LAYOUT:
        return layout_find(optarg, &options->layout) || fail_usage(failure, "--layout %s is not " LAYOUT_TEXTS, optarg);
    case OPTION_DEVICE:
        if (!take_number(name, optarg, 0, UINT32_MAX, &number, failure))
            return false;
        options->has_device = true;
        options->device = (uint32_t)number;
        return true;
    case OPTION_PEAK:
        options->peak = true;
        return true;
    case OPTION_FEEDFORWARD:
        options->feedforward = true;
        return true;
    case OPTION_CACHE:
        options->cache = true;
        return true;
    case OPTION_NO_VALIDATE:
        options->no_validate = true;
        return true;
    case OPTION_QUIET:
        options->quiet = true;
        return true;
    case OPTION_CSV:
        options->csv = optarg;
        return true;
    case OPTION_JSON:
        options->json = optarg;
        return true;
    default:
        return take_problem(option, name, options, failure);
    }
}

/* What was not said of a problem of one's own. */
static bool complete(struct bench_options *options, struct failure *failure)
{
    struct vkring_plan_params *problem = &options->problem;
    if (options->peak && (options->own || options->pattern || options->csv))
        return fail_usage(failure, "--peak measures no case and writes no --csv");
    if (options->feedforward && (options->peak || options->own || options->pattern || options->csv))
        return fail_usage(failure, "--feedforward measures neither a case nor --peak, and writes no --csv");
    if (options->cache && (options->peak || options->feedforward || options->own || options->pattern || options->csv))
        return fail_usage(failure, "--cache measures neither a case nor --peak nor --feedforward, and writes no --csv");
    if (!options->own && (problem->causal || problem->backward || problem->type))
        return fail_usage(
            failure, "--type, --causal and --backward are for a case of your own: give --q-len and --head-dim, or choose one by --case");
    if (!options->own)
        return true;
    if (!problem->q_len || !problem->head_dim)
        return fail_usage(failure, "a case of your own needs --q-len and --head-dim");
    if (options->pattern)
        return fail_usage(failure, "--case and a case of your own contradict each other");
    problem->batch = problem->batch ? problem->batch : 1;
    problem->heads = problem->heads ? problem->heads : 1;
    problem->kv_len = problem->kv_len ? problem->kv_len : problem->q_len;
    return true;
}

void bench_options_free(struct bench_options *options)
{
    free(options->shares);
    options->shares = NULL;
}

bool bench_options_parse(int argc, char **argv, uint32_t ranks, struct bench_options *out_options, struct failure *failure)
{
    struct bench_options *options = out_options;
    int option, index = 0;
    *options = (struct bench_options){.repeats = 5};
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (option == '?' && optopt > 0 && optopt < OPTION_HELP)
            return fail_usage(failure, "-%c is unknown; see vkring-bench --help", optopt);
        if (option == '?')
            return fail_usage(failure, "%s is unknown or lacks its value; see vkring-bench --help", argv[optind - 1]);
        if (!take(option, long_options[index].name, options, failure))
            return false;
    }
    if (optind < argc)
        return fail_usage(failure, "%s is not an option; see vkring-bench --help", argv[optind]);
    if (options->shares && options->share_count != ranks)
        return fail_usage(failure, "--shares has %" PRIu32 " numbers for %" PRIu32 " ranks", options->share_count, ranks);
    return complete(options, failure);
}
