/* SPDX-License-Identifier: MIT */
/** A feed-forward layer run forward and backward on a device, and judged by the oracle. */
#ifndef VKRING_TESTS_FEEDFORWARD_CASE_H
#define VKRING_TESTS_FEEDFORWARD_CASE_H

#include <vkring/feedforward.h>

#include "tensor_image.h"

enum feedforward_tensor {
    FEEDFORWARD_INPUT,
    FEEDFORWARD_HIDDEN_WEIGHT,
    FEEDFORWARD_GATE_WEIGHT,
    FEEDFORWARD_OUTPUT_WEIGHT,
    FEEDFORWARD_HIDDEN_BIAS,
    FEEDFORWARD_GATE_BIAS,
    FEEDFORWARD_OUTPUT_BIAS,
    FEEDFORWARD_OUTPUT_GRAD,
    FEEDFORWARD_INPUTS,
    FEEDFORWARD_OUTPUT = FEEDFORWARD_INPUTS,
    FEEDFORWARD_INPUT_GRAD, /* then those of the weights and biases, in their order */
    FEEDFORWARD_OUTPUT_BIAS_GRAD = FEEDFORWARD_INPUT_GRAD + FEEDFORWARD_OUTPUT_BIAS,
    FEEDFORWARD_TENSORS
};

struct feedforward_case {
    const char *name;
    uint64_t seed;
    struct vkring_feedforward_params params;
    struct tensor_placement placement; /* of all matrices */
    bool heavy_tails;
    bool on_matrices;       /* or it does not pass */
    float magnitude;        /* of the input; 0 for 1 */
    float hidden_magnitude; /* of the hidden layer, beside that; 0 for 1 */
};

/** Images of a case on a device, inputs uploaded, and what they hold. */
struct feedforward_data {
    struct tensor_image images[FEEDFORWARD_TENSORS]; /* none of what the layer does not have */
    float *values[FEEDFORWARD_INPUTS];               /* rounded to the type */
    struct vkring_feedforward_io io;
    struct vkring_feedforward_gradients gradients;
    bool from_matrices; /* what runs wrote is judged by the gates of matrix units */
};

/** False, with a line on standard error, when something fails. */
bool feedforward_data_create(const struct feedforward_case *c, vkring_device *device, struct feedforward_data *out_data);
/** Accepts what was not created. */
void feedforward_data_destroy(struct feedforward_data *data);
/** Poisons all that runs write. */
bool feedforward_data_reset(struct feedforward_data *data);

/** What runs wrote is what the oracle has, within the gates; nothing else was written. Prints what is wrong. */
bool feedforward_judge(const struct feedforward_case *c, struct feedforward_data *data);

/** All of it, forward and, if the params have it, backward. */
bool feedforward_passes(const struct feedforward_case *c, vkring_device *device);

#endif
