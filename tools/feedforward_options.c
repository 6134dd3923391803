/* SPDX-License-Identifier: MIT */
#include "feedforward_options.h"

#include <getopt.h>
#include <string.h>

#include "option_counts.h"
#include "option_rules.h"
#include "ranks.h"

#define CHUNK_ROWS_MAX ((uint64_t)1 << 20)

const char feedforward_help[] = "usage: vkring feedforward -x X.npy --w1 W1.npy --w2 W2.npy -o Y.npy [options]\n"
                                "\n"
                                "The feed-forward layer of a transformer on one device, whatever the number of rows:\n"
                                "    y = act(x W1 + b1) W2 + b2, or with a gate (act(x Wg + bg) * (x W1 + b1)) W2 + b2\n"
                                "\n"
                                "Files are NumPy's .npy, C order, <f4 or <f2, all alike:\n"
                                "  -x, --input FILE       [rows, model_dim]\n"
                                "      --w1 FILE          [model_dim, hidden_dim]\n"
                                "      --wg FILE          as W1; makes it gated\n"
                                "      --w2 FILE          [hidden_dim, output_dim]\n"
                                "      --b1, --bg, --b2 FILE      [hidden_dim], [hidden_dim], [output_dim]; default: no bias\n"
                                "  -o, --output FILE      [rows, output_dim], of the type of the inputs\n"
                                "      --act NAME         none, relu, gelu, gelu-tanh or silu; default: silu with --wg, else gelu\n"
                                "      --dtype f32|f16|bf16   on the device; default: that of the files. Sums are f32 in any\n"
                                "\n"
                                "Gradients, of which any may be left out:\n"
                                "      --output-grad FILE     [rows, output_dim], read\n"
                                "      --input-grad FILE      of the type of the inputs\n"
                                "      --w1-grad, --wg-grad, --w2-grad, --b1-grad, --bg-grad, --b2-grad FILE      <f4, summed over rows\n"
                                "\n"
                                "How:\n"
                                "      --chunk-rows N     how many rows are taken at a time; default: 1024\n"
                                "      --device I         default: the best\n"
                                "      --timeout S        give up when the device makes no progress for S seconds; default: 300\n"
                                "      --report FILE      also written: device, problem, seconds and memory, as JSON\n"
                                "      --quiet            no progress bar\n"
                                "  -h, --help             this text\n"
                                "\n"
                                "Exit status: 0 done; 1 failed; 2 wrong usage or input.\n";

static struct feedforward_options *options_of(struct parsing *parsing)
{
    return (struct feedforward_options *)parsing->options;
}

static const char *const names[FEEDFORWARD_FILES] = {
    [FEEDFORWARD_X] = "--input",
    [FEEDFORWARD_W1] = "--w1",
    [FEEDFORWARD_WG] = "--wg",
    [FEEDFORWARD_W2] = "--w2",
    [FEEDFORWARD_B1] = "--b1",
    [FEEDFORWARD_BG] = "--bg",
    [FEEDFORWARD_B2] = "--b2",
    [FEEDFORWARD_OUTPUT_GRAD] = "--output-grad",
    [FEEDFORWARD_X_GRAD] = "--input-grad",
    [FEEDFORWARD_W1_GRAD] = "--w1-grad",
    [FEEDFORWARD_WG_GRAD] = "--wg-grad",
    [FEEDFORWARD_W2_GRAD] = "--w2-grad",
    [FEEDFORWARD_B1_GRAD] = "--b1-grad",
    [FEEDFORWARD_BG_GRAD] = "--bg-grad",
    [FEEDFORWARD_B2_GRAD] = "--b2-grad",
    [FEEDFORWARD_REPORT] = "--report",
    [FEEDFORWARD_OUTPUT] = "--output",
};

const char *feedforward_option_name(enum feedforward_file file)
{
    return names[file];
}

static bool take_matrix(struct parsing *parsing, const char *text)
{
    int file = 0;
    while (strcmp(names[file], parsing->name) != 0)
        file++;
    return option_take_path(parsing, text, &options_of(parsing)->files[file]);
}

static bool take_activation(struct parsing *parsing, const char *text)
{
    for (enum vkring_activation activation = 0; vkring_activation_string(activation); activation++)
        if (strcmp(text, vkring_activation_string(activation)) == 0) {
            options_of(parsing)->activation = activation;
            return true;
        }
    return option_malformed(parsing, text, "none, relu, gelu, gelu-tanh or silu");
}

static bool take_chunk_rows(struct parsing *parsing, const char *text)
{
    return option_take_count(parsing, text, 1, CHUNK_ROWS_MAX, &options_of(parsing)->chunk_rows);
}

static const struct option_rule rules[] = {
    {"--input", 'x', required_argument, take_matrix},
    {"--w1", 0, required_argument, take_matrix},
    {"--wg", 0, required_argument, take_matrix},
    {"--w2", 0, required_argument, take_matrix},
    {"--b1", 0, required_argument, take_matrix},
    {"--bg", 0, required_argument, take_matrix},
    {"--b2", 0, required_argument, take_matrix},
    {"--output", 'o', required_argument, take_matrix},
    {"--act", 0, required_argument, take_activation},
    {"--dtype", 0, required_argument, take_type},
    {"--output-grad", 0, required_argument, take_matrix},
    {"--input-grad", 0, required_argument, take_matrix},
    {"--w1-grad", 0, required_argument, take_matrix},
    {"--wg-grad", 0, required_argument, take_matrix},
    {"--w2-grad", 0, required_argument, take_matrix},
    {"--b1-grad", 0, required_argument, take_matrix},
    {"--bg-grad", 0, required_argument, take_matrix},
    {"--b2-grad", 0, required_argument, take_matrix},
    {"--chunk-rows", 0, required_argument, take_chunk_rows},
    {"--device", 0, required_argument, take_device},
    {"--timeout", 0, required_argument, take_timeout},
    {"--report", 0, required_argument, take_matrix},
    {"--quiet", 0, no_argument, take_quiet},
    {"--help", 'h', no_argument, take_help},
};

static const struct option_table table = {"feedforward", "x:o:h", rules, sizeof(rules) / sizeof(rules[0])};

/* Files that say nothing without another. */
static bool check_partners(const struct feedforward_options *options, struct failure *failure)
{
    const char *const *files = options->files;
    if (files[FEEDFORWARD_BG] && !files[FEEDFORWARD_WG])
        return fail_usage(failure, "--bg needs --wg");
    bool wanted = false;
    for (enum feedforward_file file = FEEDFORWARD_X_GRAD; file <= FEEDFORWARD_B2_GRAD; file++) {
        wanted = wanted || files[file];
        const enum feedforward_file of = file - FEEDFORWARD_X_GRAD;
        if (files[file] && !files[FEEDFORWARD_OUTPUT_GRAD])
            return fail_usage(failure, "%s needs --output-grad", names[file]);
        if (files[file] && !files[of])
            return fail_usage(failure, "%s needs %s", names[file], names[of]);
    }
    if (files[FEEDFORWARD_OUTPUT_GRAD] && !wanted)
        return fail_usage(failure, "--output-grad needs --input-grad, --w1-grad, --wg-grad, --w2-grad, --b1-grad, --bg-grad or --b2-grad");
    return true;
}

static bool check_needed(const struct feedforward_options *options, struct failure *failure)
{
    static const struct {
        enum feedforward_file file;
        const char *spelled;
    } needed[] = {{FEEDFORWARD_X, "-x, --input"}, {FEEDFORWARD_W1, "--w1"}, {FEEDFORWARD_W2, "--w2"}, {FEEDFORWARD_OUTPUT, "-o, --output"}};
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
        if (!options->files[needed[i].file])
            return fail_usage(failure, "option %s is missing; see vkring feedforward --help", needed[i].spelled);
    return true;
}

bool feedforward_options_parse(struct feedforward_options *options, int argc, char **argv, struct failure *failure)
{
    const enum vkring_activation not_given = (enum vkring_activation) - 1;
    struct parsing parsing = {.options = &options->attend, .failure = failure};
    *options = (struct feedforward_options){.attend = {.timeout_seconds = DEFAULT_TIMEOUT_SECONDS}, .activation = not_given};
    if (!option_table_take(&table, &parsing, argc, argv))
        return false;
    if (options->activation == not_given)
        options->activation = options->files[FEEDFORWARD_WG] ? VKRING_ACTIVATION_SILU : VKRING_ACTIVATION_GELU;
    return options->attend.help || (check_needed(options, failure) && check_partners(options, failure));
}
