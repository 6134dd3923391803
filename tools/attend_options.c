/* SPDX-License-Identifier: MIT */
#include "attend_options.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "option_takers.h"
#include "ranks.h"

const char attend_help[] = "usage: vkring attend -q Q.npy -k K.npy -v V.npy -o O.npy [options]\n"
                           "       mpirun -n N vkring attend ...\n"
                           "\n"
                           "Exact attention of every query to every key, on Vulkan devices, the sequence cut over the ranks.\n"
                           "\n"
                           "Files are NumPy's (.npy 1.0 to 3.0, C order, <f4 or <f2):\n"
                           "  -q, --query FILE       [batch, q_len, heads, head_dim]\n"
                           "  -k, --key FILE         [batch, kv_len, kv_heads, head_dim]; kv_heads divides heads\n"
                           "  -v, --value FILE       [batch, kv_len, kv_heads, value_dim]\n"
                           "  -o, --output FILE      written: [batch, q_len, heads, value_dim], type as the inputs'\n"
                           "      --lse FILE         also written: [batch, heads, q_len], <f4, natural logarithm of each row's sum\n"
                           "\n"
                           "What is computed:\n"
                           "      --causal           query i, at position i + offset, keeps keys up to that position\n"
                           "      --query-offset N   default: kv_len - q_len\n"
                           "      --scale X          default: 1/sqrt(head_dim)\n"
                           "      --dtype f32|f16|bf16   type on the device; default: the files'\n"
                           "\n"
                           "How:\n"
                           "      --layout contiguous|auto   how the sequence is cut over the ranks\n"
                           "      --shares W0,W1,... relative share of the queries of each rank, numbers >= 0; default: equal\n"
                           "      --device I         device I of `vkring devices`; default: the ranks of a host take them in turn\n"
                           "      --timeout S        give up when a peer makes no progress for S seconds; default: 300\n"
                           "      --report FILE      also written: devices, kernels, seconds, bytes and memory of each rank, as JSON\n"
                           "      --quiet            no progress bar (it shows on a terminal only)\n"
                           "  -h, --help             this text\n"
                           "\n"
                           "Exit status: 0 done; 1 failed; 2 wrong usage or input.\n";

struct rule {
    const char *name;
    int letter; /* 0 for none */
    int has_argument;
    bool (*take)(struct parsing *parsing, const char *text);
};

static const struct rule rules[] = {
    {"--query", 'q', required_argument, take_query},
    {"--key", 'k', required_argument, take_key},
    {"--value", 'v', required_argument, take_value},
    {"--output", 'o', required_argument, take_output},
    {"--lse", 0, required_argument, take_lse},
    {"--dtype", 0, required_argument, take_type},
    {"--causal", 0, no_argument, take_causal},
    {"--scale", 0, required_argument, take_scale},
    {"--query-offset", 0, required_argument, take_query_offset},
    {"--layout", 0, required_argument, take_layout},
    {"--shares", 0, required_argument, take_shares},
    {"--device", 0, required_argument, take_device},
    {"--timeout", 0, required_argument, take_timeout},
    {"--report", 0, required_argument, take_report},
    {"--quiet", 0, no_argument, take_quiet},
    {"--help", 'h', no_argument, take_help},
    {"--causal-block", 0, required_argument, refuse_block},
    {"--window", 0, required_argument, refuse_window},
    {"--segment-ids", 0, required_argument, refuse_segments},
    {"--key-segment-ids", 0, required_argument, refuse_key_segments},
    {"--bias", 0, required_argument, refuse_path},
    {"--alibi", 0, required_argument, refuse_path},
    {"--sinks", 0, required_argument, refuse_path},
    {"--softcap", 0, required_argument, refuse_softcap},
    {"--dropout", 0, required_argument, refuse_dropout},
    {"--seed", 0, required_argument, check_seed},
    {"--output-grad", 0, required_argument, refuse_output_gradient},
    {"--query-grad", 0, required_argument, refuse_gradient},
    {"--key-grad", 0, required_argument, refuse_gradient},
    {"--value-grad", 0, required_argument, refuse_gradient},
    {"--bias-grad", 0, required_argument, refuse_gradient},
    {"--sink-grad", 0, required_argument, refuse_gradient},
    {"--trace", 0, required_argument, refuse_path},
};
#define RULE_COUNT (sizeof(rules) / sizeof(rules[0]))
#define FIRST_LONG 256 /* above any letter */

/* A leading '+' ends options at the first argument that is none; a ':' after it tells a missing value from an unknown option. */
static const char letters[] = "+:q:k:v:o:h";

static void make_long_options(struct option *long_options)
{
    for (size_t i = 0; i < RULE_COUNT; i++)
        long_options[i] = (struct option){rules[i].name + 2, rules[i].has_argument, NULL, FIRST_LONG + (int)i};
    long_options[RULE_COUNT] = (struct option){0};
}

static const struct rule *rule_of(int code)
{
    for (size_t i = 0; i < RULE_COUNT; i++) {
        if (code == FIRST_LONG + (int)i || (code > 0 && code == rules[i].letter))
            return &rules[i];
    }
    return NULL;
}

/* The option as it was written, without a value: "--scale" or "-q". */
static void spell(const char *element, int code, char *name, size_t size)
{
    if (strncmp(element, "--", 2) == 0)
        snprintf(name, size, "%.*s", (int)strcspn(element, "="), element);
    else
        snprintf(name, size, "-%c", code);
}

/* getopt_long also takes the start of a name, which a later version may have to take for another. */
static bool is_exact(const struct rule *rule, const char *name)
{
    return strncmp(name, "--", 2) != 0 || strcmp(name, rule->name) == 0;
}

static bool refuse_code(struct parsing *parsing, int code, const char *element)
{
    char name[256];
    const struct rule *rule = rule_of(optopt);
    spell(element, optopt, name, sizeof(name));
    if (rule && !is_exact(rule, name))
        rule = NULL;
    if (rule && code == ':')
        return fail_usage(parsing->failure, "%s needs a value", name);
    if (rule)
        return fail_usage(parsing->failure, "%s takes no value", name);
    return fail_usage(parsing->failure, "unknown option %s; see vkring attend --help", name);
}

static bool take_all(struct parsing *parsing, int argc, char **argv)
{
    struct option long_options[RULE_COUNT + 1];
    char name[256];
    make_long_options(long_options);
    opterr = 0;
    optind = 0; /* glibc: start anew */
    for (;;) {
        int before = optind ? optind : 1;
        int code = getopt_long(argc, argv, letters, long_options, NULL);
        if (code == -1)
            break;
        const struct rule *rule = rule_of(code);
        if (rule)
            spell(argv[before], code, name, sizeof(name));
        if (!rule || !is_exact(rule, name))
            return refuse_code(parsing, code, argv[before]);
        parsing->name = rule->name;
        if (!rule->take(parsing, optarg))
            return false;
    }
    if (optind < argc)
        return fail_usage(parsing->failure, "unexpected argument '%s'; see vkring attend --help", argv[optind]);
    return true;
}

/* Refuses what is well formed and cannot be done. */
static bool check_whole(const struct parsing *parsing, uint32_t ranks)
{
    const struct attend_options *options = parsing->options;
    struct failure *failure = parsing->failure;
    const char *missing = !options->query    ? "-q, --query"
                          : !options->key    ? "-k, --key"
                          : !options->value  ? "-v, --value"
                          : !options->output ? "-o, --output"
                                             : NULL;
    if (missing)
        return fail_usage(failure, "option %s is missing; see vkring attend --help", missing);
    if (options->shares && options->share_count != ranks)
        return fail_usage(failure, "--shares has %" PRIu32 " numbers for %" PRIu32 " ranks", options->share_count, ranks);
    if (parsing->gradient && !parsing->has_output_gradient)
        return fail_usage(failure, "%s needs --output-grad", parsing->gradient);
    if (parsing->key_segments && !parsing->has_segments)
        return fail_usage(failure, "%s needs --segment-ids", parsing->key_segments);
    if (parsing->later)
        return fail_usage(failure, "%s is not yet supported", parsing->later);
    return true;
}

bool attend_options_parse(struct attend_options *options, int argc, char **argv, uint32_t ranks, struct failure *failure)
{
    struct parsing parsing = {.options = options, .failure = failure};
    *options = (struct attend_options){.timeout_seconds = DEFAULT_TIMEOUT_SECONDS};
    if (!take_all(&parsing, argc, argv))
        return false;
    return options->help || check_whole(&parsing, ranks);
}

void attend_options_free(struct attend_options *options)
{
    free(options->shares);
    options->shares = NULL;
}
