/* SPDX-License-Identifier: MIT */
/* The options that say which keys a query keeps and how scores are made. */
#include <math.h>
#include <string.h>

#include "option_takers.h"
#include "option_values.h"

bool take_causal(struct parsing *parsing, const char *text)
{
    (void)text;
    parsing->options->causal = true;
    return true;
}

bool take_causal_block(struct parsing *parsing, const char *text)
{
    uint64_t *block = &parsing->options->causal_block;
    if (!value_unsigned(text, block) || *block < 1)
        return option_malformed(parsing, text, "an integer >= 1");
    parsing->options->causal = true;
    return true;
}

bool take_window(struct parsing *parsing, const char *text)
{
    struct attend_options *options = parsing->options;
    if (!value_signed_pair(text, &options->window_left, &options->window_right) || options->window_left < -1 || options->window_right < -1)
        return option_malformed(parsing, text, "two integers >= -1 with a comma between them");
    return true;
}

bool take_query_offset(struct parsing *parsing, const char *text)
{
    if (!value_signed(text, &parsing->options->query_offset))
        return option_malformed(parsing, text, "an integer (of 64 bits)");
    parsing->options->has_query_offset = true;
    return true;
}

bool take_scale(struct parsing *parsing, const char *text)
{
    if (!value_real(text, &parsing->options->scale) || !isfinite((float)parsing->options->scale))
        return option_malformed(parsing, text, "a finite number (of 32 bits)");
    parsing->options->has_scale = true;
    return true;
}

bool take_softcap(struct parsing *parsing, const char *text)
{
    double *softcap = &parsing->options->softcap;
    if (!value_real(text, softcap) || *softcap < 0 || !isfinite((float)*softcap))
        return option_malformed(parsing, text, "a finite number >= 0 (of 32 bits)");
    return true;
}

bool take_dropout(struct parsing *parsing, const char *text)
{
    double *dropout = &parsing->options->dropout;
    if (!value_real(text, dropout) || *dropout < 0 || *dropout >= 1)
        return option_malformed(parsing, text, "a number >= 0 and < 1");
    return true;
}

bool take_seed(struct parsing *parsing, const char *text)
{
    return value_unsigned(text, &parsing->options->seed) ? true : option_malformed(parsing, text, "an unsigned integer (of 64 bits)");
}
