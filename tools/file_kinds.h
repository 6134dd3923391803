/* SPDX-License-Identifier: MIT */
/** The files of vkring attend: what each is called on the command line, and what tensor it holds. */
#ifndef VKRING_TOOLS_FILE_KINDS_H
#define VKRING_TOOLS_FILE_KINDS_H

#include "element.h"

enum file_kind {
    /* read */
    FILE_QUERY,
    FILE_KEY,
    FILE_VALUE,
    FILE_QUERY_SEGMENTS,
    FILE_KEY_SEGMENTS,
    FILE_BIAS,
    FILE_SLOPES,
    FILE_SINKS,
    FILE_OUTPUT_GRAD,
    FILE_READ_KINDS,
    /* written, in the order in which they get their names: who waits for the output to appear finds the others there */
    FILE_LSE = FILE_READ_KINDS,
    FILE_QUERY_GRAD,
    FILE_KEY_GRAD,
    FILE_VALUE_GRAD,
    FILE_BIAS_GRAD,
    FILE_SINK_GRAD,
    FILE_REPORT, /* no tensors, these two */
    FILE_TRACE,
    FILE_OUTPUT,
    FILE_KINDS
};
#define FILE_WRITTEN_KINDS (FILE_KINDS - FILE_READ_KINDS)

enum dimension { DIM_BATCH, DIM_Q_LEN, DIM_KV_LEN, DIM_HEADS, DIM_KV_HEADS, DIM_HEAD_DIM, DIM_VALUE_DIM, DIMENSIONS };

#define FILE_DIMS_MAX 4

enum file_type_rule { FILE_TYPE_QUERY, FILE_TYPE_F32, FILE_TYPE_F32_OR_QUERY, FILE_TYPE_I32 };

struct file_spec {
    const char *option;
    uint32_t dims; /**< 0: no tensor */
    enum dimension shape[FILE_DIMS_MAX];
    bool repeats; /**< any dimension but the last may be 1 instead */
    enum file_type_rule type;
};

/** A gradient has shape and type of what it belongs to. */
const struct file_spec *file_spec(enum file_kind kind);

/** The input whose gradient this output is; FILE_KINDS: it is none. */
enum file_kind file_gradient_of(enum file_kind kind);

/** As the contract calls it: "batch" … */
const char *dimension_name(enum dimension dimension);

/** The tensor that says how long a dimension is, and which of its dimensions it is. */
enum file_kind dimension_source(enum dimension dimension, uint32_t *out_axis);

#endif
