/* SPDX-License-Identifier: MIT */
#include "option_rules.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define FIRST_LONG 256 /* above any letter */

static void make_long_options(const struct option_table *table, struct option *long_options)
{
    for (size_t i = 0; i < table->count; i++)
        long_options[i] = (struct option){table->rules[i].name + 2, table->rules[i].has_argument, NULL, FIRST_LONG + (int)i};
    long_options[table->count] = (struct option){0};
}

static const struct option_rule *rule_of(const struct option_table *table, int code)
{
    for (size_t i = 0; i < table->count; i++) {
        if (code == FIRST_LONG + (int)i || (code > 0 && code == table->rules[i].letter))
            return &table->rules[i];
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
static bool is_exact(const struct option_rule *rule, const char *name)
{
    return strncmp(name, "--", 2) != 0 || strcmp(name, rule->name) == 0;
}

static bool refuse_code(const struct option_table *table, struct parsing *parsing, int code, const char *element)
{
    char name[256];
    const struct option_rule *rule = rule_of(table, optopt);
    spell(element, optopt, name, sizeof(name));
    if (rule && !is_exact(rule, name))
        rule = NULL;
    if (rule && code == ':')
        return fail_usage(parsing->failure, "%s needs a value", name);
    if (rule)
        return fail_usage(parsing->failure, "%s takes no value", name);
    return fail_usage(parsing->failure, "unknown option %s; see vkring %s --help", name, table->command);
}

bool option_table_take(const struct option_table *table, struct parsing *parsing, int argc, char **argv)
{
    struct option long_options[OPTION_RULES_MAX + 1];
    char letters[64];
    char name[256];
    /* a leading '+' ends options at the first argument that is none; a ':' after it tells a missing value from an unknown option */
    snprintf(letters, sizeof(letters), "+:%s", table->letters);
    make_long_options(table, long_options);
    opterr = 0;
    optind = 0; /* glibc: start anew */
    for (;;) {
        int before = optind ? optind : 1;
        int code = getopt_long(argc, argv, letters, long_options, NULL);
        if (code == -1)
            break;
        const struct option_rule *rule = rule_of(table, code);
        if (rule)
            spell(argv[before], code, name, sizeof(name));
        if (!rule || !is_exact(rule, name))
            return refuse_code(table, parsing, code, argv[before]);
        parsing->name = rule->name;
        parsing->file = rule->file;
        if (!rule->take(parsing, optarg))
            return false;
    }
    if (optind < argc)
        return fail_usage(parsing->failure, "unexpected argument '%s'; see vkring %s --help", argv[optind], table->command);
    return true;
}
