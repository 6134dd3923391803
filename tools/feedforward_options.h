/* SPDX-License-Identifier: MIT */
/** The command line of vkring feedforward. */
#ifndef VKRING_TOOLS_FEEDFORWARD_OPTIONS_H
#define VKRING_TOOLS_FEEDFORWARD_OPTIONS_H

#include <vkring/feedforward.h>

#include "attend_options.h"

enum feedforward_file {
    /* read; named as the matrices of the library */
    FEEDFORWARD_X,
    FEEDFORWARD_W1,
    FEEDFORWARD_WG,
    FEEDFORWARD_W2,
    FEEDFORWARD_B1,
    FEEDFORWARD_BG,
    FEEDFORWARD_B2,
    FEEDFORWARD_OUTPUT_GRAD,
    FEEDFORWARD_READ,
    /* written: gradients in the order of what they belong to */
    FEEDFORWARD_X_GRAD = FEEDFORWARD_READ,
    FEEDFORWARD_W1_GRAD,
    FEEDFORWARD_WG_GRAD,
    FEEDFORWARD_W2_GRAD,
    FEEDFORWARD_B1_GRAD,
    FEEDFORWARD_BG_GRAD,
    FEEDFORWARD_B2_GRAD,
    FEEDFORWARD_REPORT,
    FEEDFORWARD_OUTPUT, /* last: who waits for it to appear finds the others there */
    FEEDFORWARD_FILES
};

struct feedforward_options {
    struct attend_options attend;         /* first; of it type, device, timeout and quiet */
    const char *files[FEEDFORWARD_FILES]; /**< borrowed from argv; null for those that were not given */
    enum vkring_activation activation;
    uint64_t chunk_rows; /**< 0: the library's */
};

bool feedforward_options_parse(struct feedforward_options *options, int argc, char **argv, struct failure *failure);

/** As it is spelled, with its dashes. */
const char *feedforward_option_name(enum feedforward_file file);

extern const char feedforward_help[];

#endif
