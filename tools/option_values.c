/* SPDX-License-Identifier: MIT */
#include "option_values.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* strtod and its kin skip blanks and take "nan"; a number here starts with a digit, a point or a sign. */
static bool starts_number(const char *text)
{
    if (*text == '-' || *text == '+')
        text++;
    return isdigit((unsigned char)*text) || (*text == '.' && isdigit((unsigned char)text[1]));
}

static bool real_until(const char *text, char end, double *out)
{
    char *stop;
    if (!starts_number(text))
        return false;
    double value = strtod(text, &stop);
    if (*stop != end || !isfinite(value))
        return false;
    *out = value;
    return true;
}

bool value_real(const char *text, double *out)
{
    return real_until(text, '\0', out);
}

/* *out_rest is what follows the number. */
static bool signed_until(const char *text, char end, int64_t *out, const char **out_rest)
{
    char *stop;
    if (!starts_number(text))
        return false;
    errno = 0;
    long long value = strtoll(text, &stop, 10);
    if (*stop != end || errno)
        return false;
    *out = value;
    *out_rest = stop;
    return true;
}

bool value_signed(const char *text, int64_t *out)
{
    const char *rest;
    return signed_until(text, '\0', out, &rest);
}

bool value_signed_pair(const char *text, int64_t *out_first, int64_t *out_second)
{
    const char *comma;
    int64_t first;
    if (!signed_until(text, ',', &first, &comma) || !value_signed(comma + 1, out_second))
        return false;
    *out_first = first;
    return true;
}

bool value_unsigned(const char *text, uint64_t *out)
{
    char *stop;
    if (!starts_number(text) || *text == '-')
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &stop, 10);
    if (*stop || errno)
        return false;
    *out = value;
    return true;
}

static uint32_t count_items(const char *text)
{
    uint32_t count = 1;
    for (; *text; text++)
        count += *text == ',';
    return count;
}

/* What a number may end in: thousands, or, with an i behind, powers of 1024. */
static double unit_of(const char **text)
{
    static const char letters[] = "KMGTP";
    const char *letter = **text ? strchr(letters, **text) : NULL;
    if (!letter)
        return 1;
    const bool binary = (*text)[1] == 'i';
    *text += binary ? 2 : 1;
    return pow(binary ? 1024 : 1000, (double)(letter - letters) + 1);
}

static bool amount_until(const char *text, char end, double *out)
{
    char *stop;
    if (!starts_number(text))
        return false;
    double value = strtod(text, &stop);
    const char *rest = stop;
    value *= unit_of(&rest);
    if (*rest != end || !isfinite(value))
        return false;
    *out = value;
    return true;
}

bool value_amount(const char *text, double *out)
{
    return amount_until(text, '\0', out);
}

static bool list(const char *text, bool (*item)(const char *text, char end, double *out), double **out, uint32_t *out_count)
{
    uint32_t count = count_items(text);
    double *values = calloc(count, sizeof(*values));
    bool good = values != NULL;
    for (uint32_t i = 0; good && i < count; i++) {
        good = item(text, i + 1 < count ? ',' : '\0', &values[i]);
        text += strcspn(text, ",") + 1;
    }
    if (!good) {
        free(values);
        return false;
    }
    *out = values;
    *out_count = count;
    return true;
}

bool value_reals(const char *text, double **out, uint32_t *out_count)
{
    return list(text, real_until, out, out_count);
}

bool value_amounts(const char *text, double **out, uint32_t *out_count)
{
    return list(text, amount_until, out, out_count);
}
