/* SPDX-License-Identifier: MIT */
/** A feed-forward layer made ready: sizes that were checked, kernels of its products, scratch. */
#ifndef VKRING_FEEDFORWARD_LAYER_H
#define VKRING_FEEDFORWARD_LAYER_H

#include "../vk/memory.h"
#include "work_stream.h"

/** Products, in the order in which they come. */
enum layer_product {
    LAYER_GATE,   /* act(x · gate_weight) */
    LAYER_HIDDEN, /* the hidden layer, from it if gated */
    LAYER_OUTPUT,
    LAYER_GATE_AGAIN, /* for backward: what activations are given */
    LAYER_HIDDEN_AGAIN,
    LAYER_HIDDEN_GRAD, /* output_grad · output_weight^T; gradients by what activations were given, and the hidden layer */
    LAYER_OUTPUT_WEIGHT_GRAD,
    LAYER_HIDDEN_WEIGHT_GRAD,
    LAYER_GATE_WEIGHT_GRAD,
    LAYER_INPUT_GRAD,
    LAYER_PRODUCTS
};

/** Matrices of a chunk, [chunk_rows][hidden_dim] in f32: the hidden layer, gradients by what the activation is given, and if gated by the
 * other factor. */
enum layer_scratch { SCRATCH_HIDDEN, SCRATCH_BEFORE_GRAD, SCRATCH_FACTOR_GRAD, SCRATCHES };

struct vkring_feedforward {
    vkring_device *device;
    struct vkring_feedforward_params params; /* defaults filled in */
    struct vkring_feedforward_info info;
    struct gemm_wish wish;
    uint32_t scratch_stride; /* bytes */
    struct gemm products[LAYER_PRODUCTS];
    vkring_buffer *scratch[SCRATCHES];
    struct work_stream stream;
    bool failed; /* in a run: it can only be destroyed */
};

/** Without a hidden layer: the output is a product of the input itself. */
bool layer_is_linear(const struct vkring_feedforward_params *params);
bool layer_has_product(const struct vkring_feedforward_params *params, enum layer_product product);
struct gemm_kind layer_product_kind(const struct vkring_feedforward_params *params, enum layer_product product);

#endif
