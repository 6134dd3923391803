/* SPDX-License-Identifier: MIT */
#include "option_takers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "layout_text.h"
#include "option_values.h"

bool option_malformed(struct parsing *parsing, const char *text, const char *wanted)
{
    return fail_usage(parsing->failure, "%s: '%s' is not %s", parsing->name, text, wanted);
}

static bool is_one_of(const char *text, const char *const *words, size_t count, size_t *out_index)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out_index = i;
            return true;
        }
    }
    return false;
}

bool option_take_path(struct parsing *parsing, const char *text, const char **out_path)
{
    *out_path = text;
    return *text ? true : fail_usage(parsing->failure, "%s: the name of the file is empty", parsing->name);
}

bool take_file(struct parsing *parsing, const char *text)
{
    return option_take_path(parsing, text, &parsing->options->files[parsing->file]);
}

bool take_type(struct parsing *parsing, const char *text)
{
    static const char *const names[] = {"f32", "f16", "bf16"};
    static const enum element_type types[] = {ELEMENT_F32, ELEMENT_F16, ELEMENT_BF16};
    size_t index;
    if (!is_one_of(text, names, 3, &index))
        return option_malformed(parsing, text, "f32, f16 or bf16");
    parsing->options->has_type = true;
    parsing->options->type = types[index];
    return true;
}

bool take_layout(struct parsing *parsing, const char *text)
{
    return layout_find(text, &parsing->options->layout) || option_malformed(parsing, text, LAYOUT_TEXTS);
}

static bool check_shares(struct parsing *parsing, const char *text)
{
    const struct attend_options *options = parsing->options;
    double largest = 0;
    for (uint32_t i = 0; i < options->share_count; i++) {
        if (options->shares[i] < 0)
            return option_malformed(parsing, text, "a list of numbers >= 0");
        largest = fmax(largest, options->shares[i]);
    }
    return largest > 0 ? true : option_malformed(parsing, text, "a list with a number above 0");
}

bool take_shares(struct parsing *parsing, const char *text)
{
    struct attend_options *options = parsing->options;
    free(options->shares);
    options->shares = NULL;
    options->share_count = 0;
    options->measured_shares = strcmp(text, "measured") == 0;
    if (options->measured_shares)
        return true;
    if (!value_reals(text, &options->shares, &options->share_count))
        return option_malformed(parsing, text, "a list of finite numbers with commas between them");
    return check_shares(parsing, text);
}

bool take_device(struct parsing *parsing, const char *text)
{
    uint64_t index;
    if (!value_unsigned(text, &index) || index > UINT32_MAX)
        return option_malformed(parsing, text, "the number of a device");
    parsing->options->has_device = true;
    parsing->options->device = (uint32_t)index;
    return true;
}

bool take_timeout(struct parsing *parsing, const char *text)
{
    double *seconds = &parsing->options->timeout_seconds;
    if (!value_real(text, seconds) || !(*seconds > 0))
        return option_malformed(parsing, text, "a finite number of seconds above 0");
    return true;
}

bool take_quiet(struct parsing *parsing, const char *text)
{
    (void)text;
    parsing->options->quiet = true;
    return true;
}

bool take_help(struct parsing *parsing, const char *text)
{
    (void)text;
    parsing->options->help = true;
    return true;
}
