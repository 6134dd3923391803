/* SPDX-License-Identifier: MIT */
/** Matrices after they were found inside their buffers. */
#ifndef VKRING_FEEDFORWARD_MATRICES_H
#define VKRING_FEEDFORWARD_MATRICES_H

#include <vkring/feedforward.h>

#include "../vk/memory.h"

/** Of one run, in the order of vkring_feedforward_io and vkring_feedforward_gradients. */
enum matrix_name {
    MATRIX_INPUT,
    MATRIX_HIDDEN_WEIGHT,
    MATRIX_GATE_WEIGHT,
    MATRIX_OUTPUT_WEIGHT,
    MATRIX_HIDDEN_BIAS,
    MATRIX_GATE_BIAS,
    MATRIX_OUTPUT_BIAS,
    MATRIX_OUTPUT,
    MATRIX_OUTPUT_GRAD,
    MATRIX_INPUT_GRAD,
    MATRIX_HIDDEN_WEIGHT_GRAD,
    MATRIX_GATE_WEIGHT_GRAD,
    MATRIX_OUTPUT_WEIGHT_GRAD,
    MATRIX_HIDDEN_BIAS_GRAD,
    MATRIX_GATE_BIAS_GRAD,
    MATRIX_OUTPUT_BIAS_GRAD,
    MATRICES
};

struct matrix_view {
    vkring_buffer *buffer; /* null: no elements, or not wanted */
    uint64_t address;
    uint32_t row_stride; /* bytes */
};

struct matrices {
    struct matrix_view views[MATRICES];
};

/** gradients: null forward. params with defaults filled in. */
enum vkring_status matrices_resolve(const vkring_device *device, const struct vkring_feedforward_params *params,
                                    const struct vkring_feedforward_io *io, const struct vkring_feedforward_gradients *gradients,
                                    struct matrices *out_matrices);

/** Each once. */
uint32_t matrices_list_buffers(const struct matrices *matrices, vkring_buffer *out_buffers[MATRICES]);

#endif
