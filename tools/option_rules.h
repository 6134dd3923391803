/* SPDX-License-Identifier: MIT */
/** Going through a command line by a table of its options. */
#ifndef VKRING_TOOLS_OPTION_RULES_H
#define VKRING_TOOLS_OPTION_RULES_H

#include "option_takers.h"

struct option_rule {
    const char *name; /**< with its dashes */
    int letter;       /**< 0 for none */
    int has_argument; /**< of getopt_long */
    bool (*take)(struct parsing *parsing, const char *text);
    enum file_kind file; /**< for take_file */
};

/** The options of a command. */
struct option_table {
    const char *command; /**< "attend" */
    const char *letters; /**< as getopt has them, but for what tells errors apart */
    const struct option_rule *rules;
    size_t count; /**< at most OPTION_RULES_MAX */
};

#define OPTION_RULES_MAX 64

/** Takes all options; argv[0] is the command's name. Names are taken whole; what is no option is refused. */
bool option_table_take(const struct option_table *table, struct parsing *parsing, int argc, char **argv);

#endif
