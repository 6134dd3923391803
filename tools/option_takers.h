/* SPDX-License-Identifier: MIT */
/** One function for each option of vkring attend: it checks the text of its value and keeps what it says. */
#ifndef VKRING_TOOLS_OPTION_TAKERS_H
#define VKRING_TOOLS_OPTION_TAKERS_H

#include "attend_options.h"

struct parsing {
    struct attend_options *options;
    struct failure *failure;
    const char *name;    /**< of the option at hand */
    enum file_kind file; /**< that it names */
};

/** Fails with "<option>: '<text>' is not <wanted>". */
bool option_malformed(struct parsing *parsing, const char *text, const char *wanted);

/** Takes the name of a file: any but an empty one. */
bool option_take_path(struct parsing *parsing, const char *text, const char **out_path);

bool take_file(struct parsing *parsing, const char *text);
bool take_type(struct parsing *parsing, const char *text);
bool take_layout(struct parsing *parsing, const char *text);
bool take_shares(struct parsing *parsing, const char *text);
bool take_device(struct parsing *parsing, const char *text);
bool take_timeout(struct parsing *parsing, const char *text);
bool take_quiet(struct parsing *parsing, const char *text);
bool take_help(struct parsing *parsing, const char *text);

/* Of masks and scores. */
bool take_causal(struct parsing *parsing, const char *text);
bool take_causal_block(struct parsing *parsing, const char *text);
bool take_window(struct parsing *parsing, const char *text);
bool take_query_offset(struct parsing *parsing, const char *text);
bool take_scale(struct parsing *parsing, const char *text);
bool take_softcap(struct parsing *parsing, const char *text);
bool take_dropout(struct parsing *parsing, const char *text);
bool take_seed(struct parsing *parsing, const char *text);

#endif
