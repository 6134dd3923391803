/* SPDX-License-Identifier: MIT */
/** One function for each option of vkring attend: it checks the text of its value and keeps what it says. */
#ifndef VKRING_TOOLS_OPTION_TAKERS_H
#define VKRING_TOOLS_OPTION_TAKERS_H

#include "attend_options.h"

struct parsing {
    struct attend_options *options;
    struct failure *failure;
    const char *name;         /**< of the option at hand */
    const char *later;        /**< the first option that asks for something not yet supported */
    const char *gradient;     /**< the first option that asks for a gradient */
    const char *key_segments; /**< --key-segment-ids, if given */
    bool has_output_gradient;
    bool has_segments;
};

/** Fails with "<option>: '<text>' is not <wanted>". */
bool option_malformed(struct parsing *parsing, const char *text, const char *wanted);
bool option_take_path(struct parsing *parsing, const char *text, const char **out_path);

bool take_query(struct parsing *parsing, const char *text);
bool take_key(struct parsing *parsing, const char *text);
bool take_value(struct parsing *parsing, const char *text);
bool take_output(struct parsing *parsing, const char *text);
bool take_lse(struct parsing *parsing, const char *text);
bool take_report(struct parsing *parsing, const char *text);
bool take_type(struct parsing *parsing, const char *text);
bool take_causal(struct parsing *parsing, const char *text);
bool take_scale(struct parsing *parsing, const char *text);
bool take_query_offset(struct parsing *parsing, const char *text);
bool take_layout(struct parsing *parsing, const char *text);
bool take_shares(struct parsing *parsing, const char *text);
bool take_device(struct parsing *parsing, const char *text);
bool take_timeout(struct parsing *parsing, const char *text);
bool take_quiet(struct parsing *parsing, const char *text);
bool take_help(struct parsing *parsing, const char *text);

/**
 * Options of later work. A value that asks for nothing is taken; any other that is well formed is noted in `later`, to be refused once
 * all options are known to be well formed.
 */
bool refuse_path(struct parsing *parsing, const char *text);
bool refuse_segments(struct parsing *parsing, const char *text);
bool refuse_key_segments(struct parsing *parsing, const char *text);
bool refuse_output_gradient(struct parsing *parsing, const char *text);
bool refuse_gradient(struct parsing *parsing, const char *text);
bool refuse_block(struct parsing *parsing, const char *text);
bool refuse_window(struct parsing *parsing, const char *text);
bool refuse_softcap(struct parsing *parsing, const char *text);
bool refuse_dropout(struct parsing *parsing, const char *text);
bool check_seed(struct parsing *parsing, const char *text);

#endif
