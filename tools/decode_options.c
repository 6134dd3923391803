/* SPDX-License-Identifier: MIT */
#include "decode_options.h"

#include <getopt.h>
#include <string.h>

#include "option_counts.h"
#include "option_rules.h"
#include "ranks.h"

#define DEFAULT_STEPS 16
#define DEFAULT_PREFILL_ROWS 1024
#define MOST_ROWS 65536

#define TEXT_OF_ARGUMENT(argument) #argument
#define TEXT_OF(macro) TEXT_OF_ARGUMENT(macro)

const char decode_help[] =
    "usage: vkring decode -q Q.npy -k K.npy -v V.npy -o O.npy [options]\n"
    "       mpirun -n N vkring decode ...\n"
    "\n"
    "Causal attention as inference does it: keys and values enter a cache that is sharded over the ranks, first many rows\n"
    "at a time, then a few at each step, and queries attend to what is there. The output is that of vkring attend --causal.\n"
    "\n"
    "Files are NumPy's (.npy 1.0 to 3.0, C order), of type <f4 or <f2 where nothing else is said:\n"
    "  -q, --query FILE       [batch, q_len, heads, head_dim]: of the last q_len positions, at most kv_len\n"
    "  -k, --key FILE         [batch, kv_len, kv_heads, head_dim]; kv_heads divides heads\n"
    "  -v, --value FILE       [batch, kv_len, kv_heads, value_dim]\n"
    "  -o, --output FILE      written: [batch, q_len, heads, value_dim], type as the inputs'\n"
    "      --lse FILE         also written: [batch, heads, q_len], <f4, natural logarithm of each row's sum\n"
    "\n"
    "The replay:\n"
    "      --steps N          how many steps end it; default: " TEXT_OF(
        DEFAULT_STEPS) ", or as many as there are rows for\n"
                       "      --step-rows N      rows of each sequence in a step; default: 1\n"
                       "      --prefill-rows N   the same before the steps; default: " TEXT_OF(
                           DEFAULT_PREFILL_ROWS) "\n"
                                                 "      --storage type|int8    of the cache: as --dtype, or integers of 8 bits with a "
                                                 "scale for each row and head\n"
                                                 "      --pass queries|keys|auto   what travels between ranks; default: auto\n"
                                                 "\n"
                                                 "Which keys a query keeps, beside the causal mask (--causal, always on), and how scores "
                                                 "are made:\n"
                                                 "      --window LEFT,RIGHT    keys at most so far before and after the query; -1 for "
                                                 "unlimited\n"
                                                 "      --segment-ids FILE, --key-segment-ids FILE, --bias FILE, --scale X, --softcap X,\n"
                                                 "      --alibi FILE, --sinks FILE, --dropout P, --seed S      as of vkring attend\n"
                                                 "      --dtype f32|f16|bf16   type on the device; default: the files'\n"
                                                 "\n"
                                                 "How:\n"
                                                 "      --device I         device I of `vkring devices`; default: the ranks of a host take "
                                                 "them in turn\n"
                                                 "      --timeout S        give up when a peer makes no progress for S seconds; default: "
                                                 "300\n"
                                                 "      --report FILE      also written: seconds of prefill and steps, bytes of the cache "
                                                 "on each rank, as JSON\n"
                                                 "      --quiet            no progress bar (it shows on a terminal only)\n"
                                                 "  -h, --help             this text\n"
                                                 "\n"
                                                 "Exit status: 0 done; 1 failed; 2 wrong usage or input.\n";

static const char *const storages[] = {[VKRING_CACHE_AS_TYPE] = "type", [VKRING_CACHE_INT8] = "int8"};
static const char *const passes[] = {
    [VKRING_CACHE_PASS_AUTO] = "auto", [VKRING_CACHE_PASS_QUERIES] = "queries", [VKRING_CACHE_PASS_KEYS] = "keys"};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

const char *decode_storage_text(enum vkring_cache_storage storage)
{
    return storages[storage];
}

const char *decode_pass_text(enum vkring_cache_pass pass)
{
    return passes[pass];
}

static struct decode_options *options_of(struct parsing *parsing)
{
    return (struct decode_options *)parsing->options;
}

/* The place of a word among others; count where it is none of them. */
static size_t place_of(const char *word, const char *const *words, size_t count)
{
    size_t place = 0;
    while (place < count && strcmp(word, words[place]) != 0)
        place++;
    return place;
}

static bool take_storage(struct parsing *parsing, const char *text)
{
    const size_t place = place_of(text, storages, COUNT_OF(storages));
    options_of(parsing)->storage = (enum vkring_cache_storage)place;
    return place < COUNT_OF(storages) || option_malformed(parsing, text, "type or int8");
}

static bool take_pass(struct parsing *parsing, const char *text)
{
    const size_t place = place_of(text, passes, COUNT_OF(passes));
    options_of(parsing)->pass = (enum vkring_cache_pass)place;
    return place < COUNT_OF(passes) || option_malformed(parsing, text, "queries, keys or auto");
}

static bool take_steps(struct parsing *parsing, const char *text)
{
    options_of(parsing)->has_steps = true;
    return option_take_count(parsing, text, 0, UINT32_MAX, &options_of(parsing)->steps);
}

static bool take_step_rows(struct parsing *parsing, const char *text)
{
    return option_take_count(parsing, text, 1, MOST_ROWS, &options_of(parsing)->step_rows);
}

static bool take_prefill_rows(struct parsing *parsing, const char *text)
{
    return option_take_count(parsing, text, 1, MOST_ROWS, &options_of(parsing)->prefill_rows);
}

static const struct option_rule rules[] = {
    {"--query", 'q', required_argument, take_file, FILE_QUERY},
    {"--key", 'k', required_argument, take_file, FILE_KEY},
    {"--value", 'v', required_argument, take_file, FILE_VALUE},
    {"--output", 'o', required_argument, take_file, FILE_OUTPUT},
    {"--lse", 0, required_argument, take_file, FILE_LSE},
    {"--steps", 0, required_argument, take_steps},
    {"--step-rows", 0, required_argument, take_step_rows},
    {"--prefill-rows", 0, required_argument, take_prefill_rows},
    {"--storage", 0, required_argument, take_storage},
    {"--pass", 0, required_argument, take_pass},
    {"--dtype", 0, required_argument, take_type},
    {"--causal", 0, no_argument, take_causal},
    {"--window", 0, required_argument, take_window},
    {"--segment-ids", 0, required_argument, take_file, FILE_QUERY_SEGMENTS},
    {"--key-segment-ids", 0, required_argument, take_file, FILE_KEY_SEGMENTS},
    {"--bias", 0, required_argument, take_file, FILE_BIAS},
    {"--alibi", 0, required_argument, take_file, FILE_SLOPES},
    {"--sinks", 0, required_argument, take_file, FILE_SINKS},
    {"--softcap", 0, required_argument, take_softcap},
    {"--scale", 0, required_argument, take_scale},
    {"--dropout", 0, required_argument, take_dropout},
    {"--seed", 0, required_argument, take_seed},
    {"--device", 0, required_argument, take_device},
    {"--timeout", 0, required_argument, take_timeout},
    {"--report", 0, required_argument, take_file, FILE_REPORT},
    {"--quiet", 0, no_argument, take_quiet},
    {"--help", 'h', no_argument, take_help},
};

static const struct option_table table = {"decode", "q:k:v:o:h", rules, COUNT_OF(rules)};

bool decode_options_parse(struct decode_options *options, int argc, char **argv, struct failure *failure)
{
    struct parsing parsing = {.options = &options->attend, .failure = failure};
    *options = (struct decode_options){
        .attend = {.causal = true,
                   .causal_block = 1,
                   .window_left = -1,
                   .window_right = -1,
                   .layout = VKRING_LAYOUT_CONTIGUOUS,
                   .timeout_seconds = DEFAULT_TIMEOUT_SECONDS},
        .steps = DEFAULT_STEPS,
        .step_rows = 1,
        .prefill_rows = DEFAULT_PREFILL_ROWS,
    };
    if (!option_table_take(&table, &parsing, argc, argv))
        return false;
    return options->attend.help || attend_options_check_files(&options->attend, "decode", failure);
}
