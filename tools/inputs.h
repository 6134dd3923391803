/* SPDX-License-Identifier: MIT */
/** The files that vkring attend reads, and the problem that their headers pose. */
#ifndef VKRING_TOOLS_INPUTS_H
#define VKRING_TOOLS_INPUTS_H

#include "attend_options.h"
#include "npy.h"

struct input {
    const char *path; /**< null for those that are not there */
    int fd;
    struct npy_header header;
};

/** Opens the file at its path. */
bool input_open_file(struct input *input, struct failure *failure);

/** Without --key-segment-ids those of the queries are opened a second time. */
struct inputs {
    struct input files[FILE_READ_KINDS];
};

/** What the files' headers say is to be computed, and defaults for what the options do not say. */
struct attend_problem {
    enum element_type file_type; /**< of most inputs, and of the output */
    enum element_type type;      /**< on the device */
    uint64_t lengths[DIMENSIONS];
    struct vkring_bias_params bias; /**< on the device */
    double scale;
    int64_t query_offset;
};

/** Makes closing right at any time. */
void inputs_init(struct inputs *inputs);
/** Opens the files, and checks each header and how they fit together. */
bool inputs_open(struct inputs *inputs, const struct attend_options *options, struct attend_problem *out_problem, struct failure *failure);
void inputs_close(struct inputs *inputs);

#endif
