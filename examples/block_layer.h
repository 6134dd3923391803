/* SPDX-License-Identifier: MIT */
/**
 * The layer of a transformer on this rank's rows: what is computed of one, one after another.
 *
 *     x1 = x + attention(normalise(x))
 *     x2 = x1 + (silu(normalise(x1) · gate) · (normalise(x1) · up)) · down
 *
 * All layers use the same memory. Of each only x is kept; backward computes the rest of it again (Liu & Abbeel 2023).
 */
#ifndef VKRING_EXAMPLES_BLOCK_LAYER_H
#define VKRING_EXAMPLES_BLOCK_LAYER_H

#include "block_weights.h"

/** Matrices of this rank's rows on the device, and those of their gradients. */
enum row_matrix {
    ROWS_IN,              /* what is multiplied first, normalised */
    ROWS_QUERY_KEY_VALUE, /* [rows][3][own heads][HEAD_DIM] */
    ROWS_ATTENDED,        /* [rows][own heads][HEAD_DIM] */
    ROWS_OUT,
    ROW_MATRICES
};

struct block {
    const struct mesh *mesh;
    uint64_t rows, own_heads, own_hidden;
    vkring_plan *plan;
    struct vkring_plan_memory forward_memory;                  /**< what a plan without backward would take */
    vkring_feedforward *projected_in, *projected_out, *hidden; /**< queries, keys and values; what was attended; SwiGLU */
    vkring_buffer *at[ROW_MATRICES], *grad_at[ROW_MATRICES];
    vkring_buffer *lse, *lse_residual, *slopes;
    float *normal, *change, *middle; /**< [rows][MODEL], on the host: what is normalised, what comes back, and x1 */
};

/** Collective over the ranks of the sequence. False, as below: vkring_last_error() says why. */
bool block_create(struct block *block, const struct mesh *mesh, uint64_t context);
void block_destroy(struct block *block);

/** x [rows][MODEL] to the layer's output. Collective. */
bool block_forward(const struct block *block, const struct weights *weights, uint32_t layer, float *x);
/**
 * x: as the layer was given it. x_grad: the gradient by its output, which becomes that by x. Gradients of weights are those of this rank's
 * rows. Collective.
 */
bool block_backward(const struct block *block, const struct weights *weights, uint32_t layer, const float *x, float *x_grad);

#endif
