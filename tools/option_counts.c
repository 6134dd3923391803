/* SPDX-License-Identifier: MIT */
#include "option_counts.h"

#include <inttypes.h>
#include <string.h>

#include "option_values.h"

bool option_take_count(struct parsing *parsing, const struct option_count *table, const char *text)
{
    double value;
    while (strcmp(table->name, parsing->name) != 0)
        table++;
    if (!value_amount(text, &value) || value < (double)table->least || value > (double)table->most || value != (double)(uint64_t)value)
        return fail_usage(parsing->failure, "%s: '%s' is not a whole number from %" PRIu64 " to %" PRIu64, parsing->name, text,
                          table->least, table->most);
    const uint64_t whole = (uint64_t)value;
    memcpy((char *)parsing->options + table->place, &whole, sizeof(whole));
    return true;
}
