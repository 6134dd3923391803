/* SPDX-License-Identifier: MIT */
#include "file_kinds.h"

#define BIAS_SHAPE                                                                                                                         \
    {                                                                                                                                      \
        DIM_BATCH, DIM_HEADS, DIM_Q_LEN, DIM_KV_LEN                                                                                        \
    }
#define QUERY_SHAPE                                                                                                                        \
    {                                                                                                                                      \
        DIM_BATCH, DIM_Q_LEN, DIM_HEADS, DIM_HEAD_DIM                                                                                      \
    }
#define KEY_SHAPE                                                                                                                          \
    {                                                                                                                                      \
        DIM_BATCH, DIM_KV_LEN, DIM_KV_HEADS, DIM_HEAD_DIM                                                                                  \
    }
#define VALUE_SHAPE                                                                                                                        \
    {                                                                                                                                      \
        DIM_BATCH, DIM_KV_LEN, DIM_KV_HEADS, DIM_VALUE_DIM                                                                                 \
    }
#define OUTPUT_SHAPE                                                                                                                       \
    {                                                                                                                                      \
        DIM_BATCH, DIM_Q_LEN, DIM_HEADS, DIM_VALUE_DIM                                                                                     \
    }

static const struct file_spec specs[FILE_KINDS] = {
    [FILE_QUERY] = {"--query", 4, QUERY_SHAPE},
    [FILE_KEY] = {"--key", 4, KEY_SHAPE},
    [FILE_VALUE] = {"--value", 4, VALUE_SHAPE},
    [FILE_QUERY_SEGMENTS] = {"--segment-ids", 2, {DIM_BATCH, DIM_Q_LEN}, .type = FILE_TYPE_I32},
    [FILE_KEY_SEGMENTS] = {"--key-segment-ids", 2, {DIM_BATCH, DIM_KV_LEN}, .type = FILE_TYPE_I32},
    [FILE_BIAS] = {"--bias", 4, BIAS_SHAPE, .repeats = true, .type = FILE_TYPE_F32_OR_QUERY},
    [FILE_SLOPES] = {"--alibi", 1, {DIM_HEADS}, .type = FILE_TYPE_F32},
    [FILE_SINKS] = {"--sinks", 1, {DIM_HEADS}, .type = FILE_TYPE_F32},
    [FILE_OUTPUT_GRAD] = {"--output-grad", 4, OUTPUT_SHAPE},
    [FILE_LSE] = {"--lse", 3, {DIM_BATCH, DIM_HEADS, DIM_Q_LEN}, .type = FILE_TYPE_F32},
    [FILE_QUERY_GRAD] = {"--query-grad", 4, QUERY_SHAPE},
    [FILE_KEY_GRAD] = {"--key-grad", 4, KEY_SHAPE},
    [FILE_VALUE_GRAD] = {"--value-grad", 4, VALUE_SHAPE},
    [FILE_BIAS_GRAD] = {"--bias-grad", 4, BIAS_SHAPE, .repeats = true, .type = FILE_TYPE_F32_OR_QUERY},
    [FILE_SINK_GRAD] = {"--sink-grad", 1, {DIM_HEADS}, .type = FILE_TYPE_F32},
    [FILE_REPORT] = {"--report"},
    [FILE_TRACE] = {.option = "--trace"},
    [FILE_OUTPUT] = {"--output", 4, OUTPUT_SHAPE},
};

static const struct {
    const char *name;
    enum file_kind source;
    uint32_t axis;
} dimensions[DIMENSIONS] = {
    [DIM_BATCH] = {"batch", FILE_QUERY, 0},         [DIM_Q_LEN] = {"q_len", FILE_QUERY, 1},
    [DIM_KV_LEN] = {"kv_len", FILE_KEY, 1},         [DIM_HEADS] = {"heads", FILE_QUERY, 2},
    [DIM_KV_HEADS] = {"kv_heads", FILE_KEY, 2},     [DIM_HEAD_DIM] = {"head_dim", FILE_QUERY, 3},
    [DIM_VALUE_DIM] = {"value_dim", FILE_VALUE, 3},
};

const struct file_spec *file_spec(enum file_kind kind)
{
    return &specs[kind];
}

enum file_kind file_gradient_of(enum file_kind kind)
{
    switch (kind) {
    case FILE_QUERY_GRAD:
        return FILE_QUERY;
    case FILE_KEY_GRAD:
        return FILE_KEY;
    case FILE_VALUE_GRAD:
        return FILE_VALUE;
    case FILE_BIAS_GRAD:
        return FILE_BIAS;
    case FILE_SINK_GRAD:
        return FILE_SINKS;
    default:
        return FILE_KINDS;
    }
}

const char *dimension_name(enum dimension dimension)
{
    return dimensions[dimension].name;
}

enum file_kind dimension_source(enum dimension dimension, uint32_t *out_axis)
{
    *out_axis = dimensions[dimension].axis;
    return dimensions[dimension].source;
}
