/* SPDX-License-Identifier: MIT */
#include "option_takers.h"

#include <string.h>

#include "option_values.h"

static bool refuse(struct parsing *parsing)
{
    if (!parsing->later)
        parsing->later = parsing->name;
    return true;
}

bool refuse_path(struct parsing *parsing, const char *text)
{
    const char *path;
    return option_take_path(parsing, text, &path) && refuse(parsing);
}

bool refuse_segments(struct parsing *parsing, const char *text)
{
    parsing->has_segments = true;
    return refuse_path(parsing, text);
}

bool refuse_key_segments(struct parsing *parsing, const char *text)
{
    parsing->key_segments = parsing->name;
    return refuse_path(parsing, text);
}

bool refuse_output_gradient(struct parsing *parsing, const char *text)
{
    parsing->has_output_gradient = true;
    return refuse_path(parsing, text);
}

bool refuse_gradient(struct parsing *parsing, const char *text)
{
    if (!parsing->gradient)
        parsing->gradient = parsing->name;
    return refuse_path(parsing, text);
}

bool refuse_block(struct parsing *parsing, const char *text)
{
    uint64_t block;
    if (!value_unsigned(text, &block) || block < 1)
        return option_malformed(parsing, text, "an integer >= 1");
    parsing->options->causal = true;
    return block == 1 ? true : refuse(parsing);
}

bool refuse_window(struct parsing *parsing, const char *text)
{
    char copy[64] = "";
    int64_t left, right;
    const char *comma = strchr(text, ',');
    size_t length = comma ? (size_t)(comma - text) : sizeof(copy);
    if (length < sizeof(copy))
        memcpy(copy, text, length);
    if (!comma || !value_signed(copy, &left) || !value_signed(comma + 1, &right) || left < -1 || right < -1)
        return option_malformed(parsing, text, "two integers >= -1 with a comma between them");
    return left == -1 && right == -1 ? true : refuse(parsing);
}

bool refuse_softcap(struct parsing *parsing, const char *text)
{
    double softcap;
    if (!value_real(text, &softcap) || softcap < 0)
        return option_malformed(parsing, text, "a finite number >= 0");
    return softcap > 0 ? refuse(parsing) : true;
}

bool refuse_dropout(struct parsing *parsing, const char *text)
{
    double dropout;
    if (!value_real(text, &dropout) || dropout < 0 || dropout >= 1)
        return option_malformed(parsing, text, "a number >= 0 and < 1");
    return dropout > 0 ? refuse(parsing) : true;
}

/* It says nothing without dropout. */
bool check_seed(struct parsing *parsing, const char *text)
{
    uint64_t seed;
    return value_unsigned(text, &seed) ? true : option_malformed(parsing, text, "an unsigned integer (of 64 bits)");
}
