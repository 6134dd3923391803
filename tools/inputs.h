/* SPDX-License-Identifier: MIT */
/** The files that vkring attend reads, and the problem that their headers pose. */
#ifndef VKRING_TOOLS_INPUTS_H
#define VKRING_TOOLS_INPUTS_H

#include "attend_options.h"
#include "npy.h"

struct input {
    const char *path;
    int fd;
    struct npy_header header; /**< 4 dimensions */
};

struct inputs {
    struct input query, key, value;
};

/** What is to be computed: the options' say where they have one, else the defaults. */
struct attend_problem {
    enum vkring_type file_type; /**< of inputs and output */
    enum vkring_type type;      /**< on the device */
    uint64_t batch, q_len, kv_len, heads, kv_heads, head_dim, value_dim;
    bool causal;
    double scale;
    int64_t query_offset;
};

/** Makes closing right at any time. */
void inputs_init(struct inputs *inputs);
/** Opens the files, and checks each header and how they fit together. */
bool inputs_open(struct inputs *inputs, const struct attend_options *options, struct attend_problem *out_problem, struct failure *failure);
void inputs_close(struct inputs *inputs);

#endif
