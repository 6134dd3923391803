/* SPDX-License-Identifier: MIT */
#include "block_layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "block_math.h"

/* Made ready ---------------------------------------------------------------------------------------------------------------- */

static uint64_t own_dim(const struct block *block)
{
    return block->own_heads * HEAD_DIM;
}

static bool make_plan(struct block *block, uint64_t context)
{
    struct vkring_plan_info info;
    struct vkring_plan_params params = {.batch = 1,
                                        .q_len = context,
                                        .kv_len = context,
                                        .heads = block->own_heads,
                                        .head_dim = HEAD_DIM,
                                        .causal = true,
                                        .alibi = true,
                                        .layout = VKRING_LAYOUT_AUTO};
    if (vkring_plan_measure(block->mesh->device, block->mesh->sequence, &params, &block->forward_memory))
        return false;
    params.backward = true;
    if (vkring_plan_create(block->mesh->device, block->mesh->sequence, &params, &block->plan))
        return false;
    vkring_plan_get_info(block->plan, &info);
    block->rows = info.rows.query_rows;
    return true;
}

static bool make_layers(struct block *block)
{
    vkring_device *device = block->mesh->device;
    const struct vkring_feedforward_params in = {
        .rows = block->rows, .model_dim = MODEL, .output_dim = 3 * own_dim(block), .backward = true};
    const struct vkring_feedforward_params out = {.rows = block->rows, .model_dim = own_dim(block), .output_dim = MODEL, .backward = true};
    const struct vkring_feedforward_params hidden = {.rows = block->rows,
                                                     .model_dim = MODEL,
                                                     .hidden_dim = block->own_hidden,
                                                     .activation = VKRING_ACTIVATION_SILU,
                                                     .gated = true,
                                                     .backward = true,
                                                     .chunk_rows = 256};
    return !vkring_feedforward_create(device, &in, &block->projected_in) &&
           !vkring_feedforward_create(device, &out, &block->projected_out) && !vkring_feedforward_create(device, &hidden, &block->hidden);
}

static bool make_buffers(struct block *block)
{
    vkring_device *device = block->mesh->device;
    const uint64_t dims[ROW_MATRICES] = {MODEL, 3 * own_dim(block), own_dim(block), MODEL};
    const uint64_t lse_bytes = block->rows * block->own_heads * sizeof(float);
    for (int i = 0; i < ROW_MATRICES; i++) {
        const uint64_t bytes = block->rows * dims[i] * sizeof(float);
        if (vkring_buffer_create(device, bytes, &block->at[i]) || vkring_buffer_create(device, bytes, &block->grad_at[i]))
            return false;
    }
    return !vkring_buffer_create(device, lse_bytes, &block->lse) && !vkring_buffer_create(device, lse_bytes, &block->lse_residual) &&
           !vkring_buffer_create(device, block->own_heads * sizeof(float), &block->slopes);
}

/* ALiBi's, by the number of the head among all. */
static bool set_slopes(struct block *block)
{
    float slopes[HEADS];
    for (uint32_t i = 0; i < block->own_heads; i++)
        slopes[i] = exp2f(-8.0f * (float)(block->mesh->part * block->own_heads + i + 1) / HEADS);
    return !vkring_buffer_upload(block->slopes, 0, slopes, block->own_heads * sizeof(float));
}

bool block_create(struct block *block, const struct mesh *mesh, uint64_t context)
{
    *block = (struct block){.mesh = mesh, .own_heads = HEADS / mesh->parts, .own_hidden = HIDDEN / mesh->parts};
    if (!make_plan(block, context))
        return false;
    block->normal = calloc(block->rows * MODEL + 1, sizeof(float));
    block->change = calloc(block->rows * MODEL + 1, sizeof(float));
    block->middle = calloc(block->rows * MODEL + 1, sizeof(float));
    return block->normal && block->change && block->middle && make_layers(block) && make_buffers(block) && set_slopes(block);
}

void block_destroy(struct block *block)
{
    vkring_plan_destroy(&block->plan);
    vkring_feedforward_destroy(&block->projected_in);
    vkring_feedforward_destroy(&block->projected_out);
    vkring_feedforward_destroy(&block->hidden);
    for (int i = 0; i < ROW_MATRICES; i++) {
        vkring_buffer_destroy(&block->at[i]);
        vkring_buffer_destroy(&block->grad_at[i]);
    }
    vkring_buffer_destroy(&block->lse);
    vkring_buffer_destroy(&block->lse_residual);
    vkring_buffer_destroy(&block->slopes);
    free(block->normal);
    free(block->change);
    free(block->middle);
    *block = (struct block){0};
}

/* Between host and device ----------------------------------------------------------------------------------------------------- */

static uint64_t row_elements(const struct block *block)
{
    return block->rows * MODEL;
}

static bool put(const struct block *block, const float *rows, vkring_buffer *to)
{
    return !vkring_buffer_upload(to, 0, rows, row_elements(block) * sizeof(float));
}

static bool put_normalised(const struct block *block, const float *x, const struct weight *gain)
{
    rows_normalise(x, gain->value, block->rows, MODEL, block->normal);
    return put(block, block->normal, block->at[ROWS_IN]);
}

/* What each rank made of its heads or hidden units adds up to what all of them make. */
static bool get_sum(const struct block *block, vkring_buffer *from)
{
    const struct vkring_elements elements = {.buffer = from, .count = row_elements(block)};
    return !vkring_buffers_sum(block->mesh->heads, 1, &elements, 0) &&
           !vkring_buffer_download(from, 0, block->change, row_elements(block) * sizeof(float));
}

/* Forward --------------------------------------------------------------------------------------------------------------------- */

/* Query, key or value among the three, or their gradients. */
static struct vkring_tensor third(const struct block *block, vkring_buffer *of_three, uint64_t which)
{
    return (struct vkring_tensor){
        .buffer = of_three, .offset_bytes = which * own_dim(block) * sizeof(float), .sequence_stride = 3 * own_dim(block)};
}

static struct vkring_forward_io attention_io(const struct block *block)
{
    return (struct vkring_forward_io){.query = third(block, block->at[ROWS_QUERY_KEY_VALUE], 0),
                                      .key = third(block, block->at[ROWS_QUERY_KEY_VALUE], 1),
                                      .value = third(block, block->at[ROWS_QUERY_KEY_VALUE], 2),
                                      .output = {.buffer = block->at[ROWS_ATTENDED]},
                                      .lse = {.buffer = block->lse},
                                      .lse_residual = {.buffer = block->lse_residual},
                                      .alibi_slopes = {.buffer = block->slopes}};
}

static struct vkring_feedforward_io linear_io(const struct block *block, enum row_matrix from, const struct weight *weight,
                                              enum row_matrix to)
{
    return (struct vkring_feedforward_io){
        .input = {.buffer = block->at[from]}, .output_weight = weight_matrix(weight), .output = {.buffer = block->at[to]}};
}

static struct vkring_feedforward_io hidden_io(const struct block *block, const struct weights *weights, uint32_t layer)
{
    return (struct vkring_feedforward_io){.input = {.buffer = block->at[ROWS_IN]},
                                          .hidden_weight = weight_matrix(weight_of_layer(weights, layer, UP)),
                                          .gate_weight = weight_matrix(weight_of_layer(weights, layer, GATE)),
                                          .output_weight = weight_matrix(weight_of_layer(weights, layer, DOWN)),
                                          .output = {.buffer = block->at[ROWS_OUT]}};
}

/* x to x1. */
static bool attend(const struct block *block, const struct weights *weights, uint32_t layer, float *x)
{
    const struct vkring_feedforward_io in =
        linear_io(block, ROWS_IN, weight_of_layer(weights, layer, QUERY_KEY_VALUE), ROWS_QUERY_KEY_VALUE);
    const struct vkring_feedforward_io out = linear_io(block, ROWS_ATTENDED, weight_of_layer(weights, layer, PROJECTION), ROWS_OUT);
    const struct vkring_forward_io attention = attention_io(block);
    if (!put_normalised(block, x, weight_of_layer(weights, layer, ATTENTION_GAIN)) ||
        vkring_feedforward_forward(block->projected_in, &in) || vkring_forward(block->plan, &attention) ||
        vkring_feedforward_forward(block->projected_out, &out) || !get_sum(block, block->at[ROWS_OUT]))
        return false;
    rows_add(block->change, row_elements(block), x);
    return true;
}

bool block_forward(const struct block *block, const struct weights *weights, uint32_t layer, float *x)
{
    const struct vkring_feedforward_io hidden = hidden_io(block, weights, layer);
    if (!attend(block, weights, layer, x) || !put_normalised(block, x, weight_of_layer(weights, layer, HIDDEN_GAIN)) ||
        vkring_feedforward_forward(block->hidden, &hidden) || !get_sum(block, block->at[ROWS_OUT]))
        return false;
    rows_add(block->change, row_elements(block), x);
    return true;
}

/* Backward -------------------------------------------------------------------------------------------------------------------- */

static bool backward_linear(const struct block *block, vkring_feedforward *linear, enum row_matrix from, const struct weight *weight,
                            enum row_matrix to)
{
    const struct vkring_feedforward_io io = linear_io(block, from, weight, to);
    const struct vkring_feedforward_gradients gradients = {.output_grad = {.buffer = block->grad_at[to]},
                                                           .input_grad = {.buffer = block->grad_at[from]},
                                                           .output_weight_grad = weight_gradient_matrix(weight)};
    return !vkring_feedforward_backward(linear, &io, &gradients);
}

static bool backward_hidden(const struct block *block, const struct weights *weights, uint32_t layer)
{
    const struct vkring_feedforward_io io = hidden_io(block, weights, layer);
    const struct vkring_feedforward_gradients gradients = {
        .output_grad = {.buffer = block->grad_at[ROWS_OUT]},
        .input_grad = {.buffer = block->grad_at[ROWS_IN]},
        .hidden_weight_grad = weight_gradient_matrix(weight_of_layer(weights, layer, UP)),
        .gate_weight_grad = weight_gradient_matrix(weight_of_layer(weights, layer, GATE)),
        .output_weight_grad = weight_gradient_matrix(weight_of_layer(weights, layer, DOWN)),
    };
    return !vkring_feedforward_backward(block->hidden, &io, &gradients);
}

static bool backward_attention(const struct block *block)
{
    const struct vkring_backward_io io = {.forward = attention_io(block),
                                          .output_grad = {.buffer = block->grad_at[ROWS_ATTENDED]},
                                          .query_grad = third(block, block->grad_at[ROWS_QUERY_KEY_VALUE], 0),
                                          .key_grad = third(block, block->grad_at[ROWS_QUERY_KEY_VALUE], 1),
                                          .value_grad = third(block, block->grad_at[ROWS_QUERY_KEY_VALUE], 2)};
    return !vkring_backward(block->plan, &io);
}

/* Through the normalisation of x to its gradient, beside which the residual's already stands. */
static bool backward_normalised(const struct block *block, const float *x, struct weight *gain, float *x_grad)
{
    if (!get_sum(block, block->grad_at[ROWS_IN]))
        return false;
    rows_normalise_backward(x, gain->value, block->change, block->rows, MODEL, x_grad, gain->gradient);
    return true;
}

bool block_backward(const struct block *block, const struct weights *weights, uint32_t layer, const float *x, float *x_grad)
{
    struct weight *of_attention = weight_of_layer(weights, layer, ATTENTION_GAIN);
    struct weight *of_hidden = weight_of_layer(weights, layer, HIDDEN_GAIN);
    const struct weight *in = weight_of_layer(weights, layer, QUERY_KEY_VALUE), *out = weight_of_layer(weights, layer, PROJECTION);
    memcpy(block->middle, x, row_elements(block) * sizeof(float));
    if (!attend(block, weights, layer, block->middle) || !put_normalised(block, block->middle, of_hidden) ||
        !put(block, x_grad, block->grad_at[ROWS_OUT]) || !backward_hidden(block, weights, layer) ||
        !backward_normalised(block, block->middle, of_hidden, x_grad))
        return false;
    return put(block, x_grad, block->grad_at[ROWS_OUT]) && backward_linear(block, block->projected_out, ROWS_ATTENDED, out, ROWS_OUT) &&
           backward_attention(block) && put_normalised(block, x, of_attention) &&
           backward_linear(block, block->projected_in, ROWS_IN, in, ROWS_QUERY_KEY_VALUE) &&
           backward_normalised(block, x, of_attention, x_grad);
}
