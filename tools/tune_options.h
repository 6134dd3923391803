/* SPDX-License-Identifier: MIT */
/** The command line of vkring tune. */
#ifndef VKRING_TOOLS_TUNE_OPTIONS_H
#define VKRING_TOOLS_TUNE_OPTIONS_H

#include "attend_options.h"

struct tune_options {
    struct attend_options attend; /**< of it: sizes, type, mask, scores, device, quiet, help. First, so that its takers serve here */
    bool backward, segments, alibi, sinks;
    double seconds; /**< 0 where not given */
    bool exhaustive, forget;
    const char *json; /**< borrowed from argv */
};

/** argv[0] is the command's name. Free the options whatever is returned. */
bool tune_options_parse(struct tune_options *options, int argc, char **argv, struct failure *failure);
void tune_options_free(struct tune_options *options);

/** The problem that they pose. */
struct vkring_plan_params tune_options_problem(const struct tune_options *options);

extern const char tune_help[];

#endif
