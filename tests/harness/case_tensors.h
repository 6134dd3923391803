/* SPDX-License-Identifier: MIT */
/** The tensors that a case has: what a rank holds of each, and how the API takes it. */
#ifndef VKRING_TESTS_CASE_TENSORS_H
#define VKRING_TESTS_CASE_TENSORS_H

#include "attention_case.h"

enum case_tensor {
    /* read */
    QUERY,
    KEY,
    VALUE,
    QUERY_SEGMENT_IDS,
    KEY_SEGMENT_IDS,
    BIAS,
    ALIBI_SLOPES,
    SINKS,
    OUTPUT_GRAD,
    /* written */
    OUTPUT,
    LSE,
    LSE_RESIDUAL,
    OUTPUT_RESIDUAL,
    QUERY_GRAD,
    KEY_GRAD,
    VALUE_GRAD,
    BIAS_GRAD,
    SINK_GRAD,
    TENSORS
};

/** [blocks][whole_rows][width] elements make the whole packed tensor; of each block the rank holds these spans, of `rows` rows together. */
struct case_slice {
    uint64_t blocks, whole_rows, rows, width;
    struct vkring_span spans[VKRING_SPANS];
};

const char *case_tensor_name(enum case_tensor tensor);
/** What the API may write. */
bool case_writes(enum case_tensor tensor);
/** Whether the case gives it to the API. */
bool case_has(const struct attention_case *c, enum case_tensor tensor);
enum vkring_type case_tensor_type(const struct attention_case *c, enum case_tensor tensor);
/** Its shape in memory, of the rank's slice. That of a bias is [batch][heads][queries][keys], under the names of tensor_shape_of_test. */
struct tensor_shape_of_test case_tensor_shape(const struct attention_case *c, const struct vkring_plan_info *info, enum case_tensor tensor);
struct case_slice case_slice(const struct attention_case *c, const struct vkring_plan_info *info, enum case_tensor tensor);
/** Elements of the whole tensor. */
uint64_t case_whole_count(const struct attention_case *c, enum case_tensor tensor);
/** Elements of the rank's slice. */
uint64_t case_slice_count(const struct attention_case *c, const struct vkring_plan_info *info, enum case_tensor tensor);
/** Copies the rank's slice out of the whole. */
void case_take_slice(const struct case_slice *slice, uint64_t element_bytes, const void *whole, void *out_part);

#endif
