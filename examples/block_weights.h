/* SPDX-License-Identifier: MIT */
/** Everything that is learned: on every rank that needs it, on the device and on the host, with its gradients. */
#ifndef VKRING_EXAMPLES_BLOCK_WEIGHTS_H
#define VKRING_EXAMPLES_BLOCK_WEIGHTS_H

#include <vkring/feedforward.h>
#include <vkring/sum.h>

#include "block_sizes.h"

/** A matrix, or this rank's part of one. */
struct weight {
    uint64_t rows, columns;
    float *value, *speed, *gradient; /**< on the host */
    vkring_buffer *values, *gradients;
};

/** In the order in which a layer uses them. */
enum layer_weight {
    ATTENTION_GAIN,
    QUERY_KEY_VALUE, /**< [MODEL][3][own heads][HEAD_DIM] */
    PROJECTION,      /**< [own heads · HEAD_DIM][MODEL] */
    HIDDEN_GAIN,
    GATE, /**< [MODEL][own hidden units], as the next */
    UP,
    DOWN, /**< [own hidden units][MODEL] */
    LAYER_WEIGHTS
};

/** Those of no layer. */
enum { EMBEDDING, LAST_GAIN, LOGITS, OTHER_WEIGHTS };

struct weights {
    const struct mesh *mesh;
    uint32_t layers;
    uint64_t count;
    struct weight *all;             /**< [layers][LAYER_WEIGHTS], then OTHER_WEIGHTS */
    struct vkring_elements *summed; /**< gradients of all */
};

/** The same on every mesh: each element depends on its place in the whole matrix. Not collective; false: vkring_last_error() says why. */
bool weights_create(struct weights *weights, const struct mesh *mesh, uint32_t layers);
void weights_destroy(struct weights *weights);

struct weight *weight_of_layer(const struct weights *weights, uint32_t layer, enum layer_weight which);
struct weight *weight_of_none(const struct weights *weights, int which);
struct vkring_matrix weight_matrix(const struct weight *weight);
struct vkring_matrix weight_gradient_matrix(const struct weight *weight);

/** Before a step: gradients that the host adds up are 0. */
void weights_clear_gradients(struct weights *weights);
/** Over the ranks of the sequence. Collective. */
bool weights_sum_gradients(struct weights *weights);
/** Weights go down along their gradients. */
bool weights_descend(struct weights *weights, float rate);

/** One weight goes along its gradient. */
bool weight_move(const struct weights *weights, uint64_t index, double distance);
/** How fast the loss changes on that way: the length of the gradient, of all parts of the weight. Collective over all ranks. */
double weight_slope(const struct weights *weights, uint64_t index);
const char *weight_name(const struct weights *weights, uint64_t index);

#endif
