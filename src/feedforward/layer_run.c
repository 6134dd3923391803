/* SPDX-License-Identifier: MIT */
/* Runs of a layer: chunk after chunk of rows, product after product. */
#include "../base/checked.h"
#include "layer.h"
#include "matrices.h"

/* A chunk of a run. */
struct chunk {
    struct vkring_feedforward *layer;
    const struct matrices *matrices;
    uint64_t first_row;
    uint32_t rows;
};

static const struct matrix_view *view_of(const struct chunk *chunk, enum matrix_name name)
{
    return &chunk->matrices->views[name];
}

static bool is_wanted(const struct chunk *chunk, enum matrix_name name)
{
    return view_of(chunk, name)->buffer != NULL;
}

/* The chunk's rows of a matrix that has some for each row of the input. */
static uint64_t rows_address(const struct chunk *chunk, enum matrix_name name)
{
    const struct matrix_view *view = view_of(chunk, name);
    return view->address + chunk->first_row * view->row_stride;
}

static uint64_t scratch_address(const struct chunk *chunk, enum layer_scratch scratch)
{
    return chunk->layer->scratch[scratch]->address;
}

/* Rows of a chunk. */
struct row_place {
    uint64_t address;
    uint32_t stride;
};

static struct row_place rows_of_matrix(const struct chunk *chunk, enum matrix_name name)
{
    return (struct row_place){rows_address(chunk, name), view_of(chunk, name)->row_stride};
}

static struct row_place rows_of_scratch(const struct chunk *chunk, enum layer_scratch scratch)
{
    return (struct row_place){scratch_address(chunk, scratch), chunk->layer->scratch_stride};
}

/* What is multiplied with output_weight, and how long it is. */
static struct row_place before_output(const struct chunk *chunk)
{
    return layer_is_linear(&chunk->layer->params) ? rows_of_matrix(chunk, MATRIX_INPUT) : rows_of_scratch(chunk, SCRATCH_HIDDEN);
}

static uint64_t before_output_dim(const struct chunk *chunk)
{
    const struct vkring_feedforward_params *params = &chunk->layer->params;
    return layer_is_linear(params) ? params->model_dim : params->hidden_dim;
}

static enum vkring_status multiply(const struct chunk *chunk, enum layer_product product, const struct gemm_operands *operands)
{
    return work_stream_multiply(&chunk->layer->stream, &chunk->layer->products[product], operands);
}

/* input · weight + bias, to scratch */
static enum vkring_status multiply_input(const struct chunk *chunk, enum layer_product product, enum matrix_name weight,
                                         enum matrix_name bias, enum layer_scratch to)
{
    const struct gemm_operands operands = {
        .left = rows_address(chunk, MATRIX_INPUT),
        .left_stride = view_of(chunk, MATRIX_INPUT)->row_stride,
        .right = view_of(chunk, weight)->address,
        .right_stride = view_of(chunk, weight)->row_stride,
        .bias = view_of(chunk, bias)->address,
        .result = scratch_address(chunk, to),
        .result_stride = chunk->layer->scratch_stride,
        .rows = chunk->rows,
        .terms = (uint32_t)chunk->layer->params.model_dim,
    };
    return multiply(chunk, product, &operands);
}

static enum vkring_status compute_output(const struct chunk *chunk)
{
    const struct row_place before = before_output(chunk);
    const struct gemm_operands operands = {
        .left = before.address,
        .left_stride = before.stride,
        .right = view_of(chunk, MATRIX_OUTPUT_WEIGHT)->address,
        .right_stride = view_of(chunk, MATRIX_OUTPUT_WEIGHT)->row_stride,
        .bias = view_of(chunk, MATRIX_OUTPUT_BIAS)->address,
        .result = rows_address(chunk, MATRIX_OUTPUT),
        .result_stride = view_of(chunk, MATRIX_OUTPUT)->row_stride,
        .rows = chunk->rows,
        .terms = (uint32_t)before_output_dim(chunk),
    };
    return multiply(chunk, LAYER_OUTPUT, &operands);
}

static enum vkring_status run_forward(const struct chunk *chunk)
{
    enum vkring_status status;
    if (chunk->layer->params.gated)
        TRY(multiply_input(chunk, LAYER_GATE, MATRIX_GATE_WEIGHT, MATRIX_GATE_BIAS, SCRATCH_HIDDEN), fail);
    if (!layer_is_linear(&chunk->layer->params))
        TRY(multiply_input(chunk, LAYER_HIDDEN, MATRIX_HIDDEN_WEIGHT, MATRIX_HIDDEN_BIAS, SCRATCH_HIDDEN), fail);
    TRY(compute_output(chunk), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Backward ---------------------------------------------------------------------------------------------------------------- */

static enum vkring_status compute_hidden_gradients(const struct chunk *chunk)
{
    const struct vkring_feedforward_params *params = &chunk->layer->params;
    const struct gemm_operands operands = {
        .left = rows_address(chunk, MATRIX_OUTPUT_GRAD),
        .left_stride = view_of(chunk, MATRIX_OUTPUT_GRAD)->row_stride,
        .right = view_of(chunk, MATRIX_OUTPUT_WEIGHT)->address,
        .right_stride = view_of(chunk, MATRIX_OUTPUT_WEIGHT)->row_stride,
        .result = scratch_address(chunk, SCRATCH_HIDDEN),
        .result_stride = chunk->layer->scratch_stride,
        .others = {scratch_address(chunk, SCRATCH_BEFORE_GRAD), params->gated ? scratch_address(chunk, SCRATCH_FACTOR_GRAD) : 0},
        .rows = chunk->rows,
        .terms = (uint32_t)params->output_dim,
    };
    return multiply(chunk, LAYER_HIDDEN_GRAD, &operands);
}

/* What a weight gradient is the product of: left^T · right, summed over rows. */
struct weight_grad {
    enum layer_product product;
    enum matrix_name weight_grad, bias_grad;
    uint64_t left, right;
    uint32_t left_stride, right_stride;
    uint64_t rows; /* of the weight */
};

static enum vkring_status add_weight_gradient(const struct chunk *chunk, const struct weight_grad *grad)
{
    const struct matrix_view *to = view_of(chunk, grad->weight_grad);
    const bool weight = is_wanted(chunk, grad->weight_grad), bias = is_wanted(chunk, grad->bias_grad), empty = chunk->rows == 0;
    const bool no_left = empty || !weight;
    const uint64_t nothing = scratch_address(chunk, SCRATCH_HIDDEN);
    const struct gemm_operands operands = {
        .left = no_left ? nothing : grad->left,
        .left_stride = no_left ? 0 : grad->left_stride,
        .right = empty ? nothing : grad->right,
        .right_stride = empty ? 0 : grad->right_stride,
        .result = weight ? to->address : nothing,
        .result_stride = to->row_stride,
        .bias = view_of(chunk, grad->bias_grad)->address,
        .rows = weight ? (uint32_t)grad->rows : 0,
        .ones = bias,
        .terms = chunk->rows,
        .first = chunk->first_row == 0,
    };
    return weight || bias ? multiply(chunk, grad->product, &operands) : VKRING_OK;
}

static enum vkring_status add_output_weight_gradient(const struct chunk *chunk)
{
    const struct row_place before = before_output(chunk);
    const struct weight_grad grad = {
        .product = LAYER_OUTPUT_WEIGHT_GRAD,
        .weight_grad = MATRIX_OUTPUT_WEIGHT_GRAD,
        .bias_grad = MATRIX_OUTPUT_BIAS_GRAD,
        .left = before.address,
        .left_stride = before.stride,
        .right = rows_address(chunk, MATRIX_OUTPUT_GRAD),
        .right_stride = view_of(chunk, MATRIX_OUTPUT_GRAD)->row_stride,
        .rows = before_output_dim(chunk),
    };
    return add_weight_gradient(chunk, &grad);
}

/* of the gate's weight, or the other */
static enum vkring_status add_input_weight_gradient(const struct chunk *chunk, bool gate, enum layer_scratch from)
{
    const struct weight_grad grad = {
        .product = gate ? LAYER_GATE_WEIGHT_GRAD : LAYER_HIDDEN_WEIGHT_GRAD,
        .weight_grad = gate ? MATRIX_GATE_WEIGHT_GRAD : MATRIX_HIDDEN_WEIGHT_GRAD,
        .bias_grad = gate ? MATRIX_GATE_BIAS_GRAD : MATRIX_HIDDEN_BIAS_GRAD,
        .left = rows_address(chunk, MATRIX_INPUT),
        .left_stride = view_of(chunk, MATRIX_INPUT)->row_stride,
        .right = scratch_address(chunk, from),
        .right_stride = chunk->layer->scratch_stride,
        .rows = chunk->layer->params.model_dim,
    };
    return add_weight_gradient(chunk, &grad);
}

/* Where gradients by x · hidden_weight are. */
static enum layer_scratch factor_scratch(const struct chunk *chunk)
{
    return chunk->layer->params.gated ? SCRATCH_FACTOR_GRAD : SCRATCH_BEFORE_GRAD;
}

static enum vkring_status compute_linear_input_gradient(const struct chunk *chunk)
{
    const struct row_place after = rows_of_matrix(chunk, MATRIX_OUTPUT_GRAD), to = rows_of_matrix(chunk, MATRIX_INPUT_GRAD);
    const struct gemm_operands operands = {
        .left = after.address,
        .left_stride = after.stride,
        .right = view_of(chunk, MATRIX_OUTPUT_WEIGHT)->address,
        .right_stride = view_of(chunk, MATRIX_OUTPUT_WEIGHT)->row_stride,
        .result = to.address,
        .result_stride = to.stride,
        .rows = chunk->rows,
        .terms = (uint32_t)chunk->layer->params.output_dim,
    };
    return multiply(chunk, LAYER_INPUT_GRAD, &operands);
}

static enum vkring_status compute_input_gradient(const struct chunk *chunk)
{
    if (layer_is_linear(&chunk->layer->params))
        return compute_linear_input_gradient(chunk);
    const struct matrix_view *gate = view_of(chunk, MATRIX_GATE_WEIGHT);
    const struct gemm_operands operands = {
        .left = scratch_address(chunk, factor_scratch(chunk)),
        .left_stride = chunk->layer->scratch_stride,
        .right = view_of(chunk, MATRIX_HIDDEN_WEIGHT)->address,
        .right_stride = view_of(chunk, MATRIX_HIDDEN_WEIGHT)->row_stride,
        .result = rows_address(chunk, MATRIX_INPUT_GRAD),
        .result_stride = view_of(chunk, MATRIX_INPUT_GRAD)->row_stride,
        .others = {scratch_address(chunk, SCRATCH_BEFORE_GRAD), gate->address},
        .other_right_stride = gate->row_stride,
        .rows = chunk->rows,
        .terms = (uint32_t)chunk->layer->params.hidden_dim,
    };
    return multiply(chunk, LAYER_INPUT_GRAD, &operands);
}

static enum vkring_status compute_before(const struct chunk *chunk)
{
    enum vkring_status status;
    if (chunk->layer->params.gated)
        TRY(multiply_input(chunk, LAYER_GATE_AGAIN, MATRIX_GATE_WEIGHT, MATRIX_GATE_BIAS, SCRATCH_BEFORE_GRAD), fail);
    TRY(multiply_input(chunk, LAYER_HIDDEN_AGAIN, MATRIX_HIDDEN_WEIGHT, MATRIX_HIDDEN_BIAS, SCRATCH_HIDDEN), fail);
    TRY(compute_hidden_gradients(chunk), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Without rows sums of gradients are zeros. */
static enum vkring_status run_backward(const struct chunk *chunk)
{
    enum vkring_status status;
    const bool linear = layer_is_linear(&chunk->layer->params);
    if (chunk->rows > 0 && !linear)
        TRY(compute_before(chunk), fail);
    TRY(add_output_weight_gradient(chunk), fail);
    if (!linear)
        TRY(add_input_weight_gradient(chunk, false, factor_scratch(chunk)), fail);
    if (chunk->layer->params.gated)
        TRY(add_input_weight_gradient(chunk, true, SCRATCH_BEFORE_GRAD), fail);
    if (chunk->rows > 0 && is_wanted(chunk, MATRIX_INPUT_GRAD))
        TRY(compute_input_gradient(chunk), fail);
    return VKRING_OK;
fail:
    return status;
}

/* Runs -------------------------------------------------------------------------------------------------------------------- */

_Static_assert(MATRICES < VK_MOST_SEMAPHORES, "a submission has those of all buffers, and one of the stream's own");

static enum vkring_status run(struct vkring_feedforward *layer, const struct matrices *matrices,
                              enum vkring_status (*of_chunk)(const struct chunk *chunk), bool without_rows)
{
    enum vkring_status status;
    const uint64_t rows = layer->params.rows;
    struct chunk chunk = {.layer = layer, .matrices = matrices};
    vkring_buffer *buffers[MATRICES];
    struct vk_application_sync sync;
    vk_application_sync_take(buffers, matrices_list_buffers(matrices, buffers), &sync);
    work_stream_begin(&layer->stream, sync.waits, sync.wait_count);
    if (rows == 0 && without_rows)
        TRY(of_chunk(&chunk), fail);
    for (; chunk.first_row < rows; chunk.first_row += chunk.rows) {
        chunk.rows = (uint32_t)min_u64(layer->params.chunk_rows, rows - chunk.first_row);
        TRY(of_chunk(&chunk), fail);
    }
    TRY(work_stream_finish(&layer->stream, sync.signals, sync.signal_count), fail);
    return VKRING_OK;
fail:
    layer->failed = true;
    return status;
}

static enum vkring_status check_usable(const struct vkring_feedforward *layer)
{
    if (layer->failed)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the layer broke off in an earlier run and can only be destroyed");
    return VKRING_OK;
}

enum vkring_status vkring_feedforward_forward(vkring_feedforward *feedforward, const struct vkring_feedforward_io *io)
{
    enum vkring_status status;
    struct matrices matrices;
    TRY(check_usable(feedforward), fail);
    TRY(matrices_resolve(feedforward->device, &feedforward->params, io, NULL, &matrices), fail);
    TRY(run(feedforward, &matrices, run_forward, false), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status vkring_feedforward_backward(vkring_feedforward *feedforward, const struct vkring_feedforward_io *io,
                                               const struct vkring_feedforward_gradients *gradients)
{
    enum vkring_status status;
    struct matrices matrices;
    TRY(check_usable(feedforward), fail);
    if (!feedforward->params.backward)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the layer was made without backward");
    TRY(matrices_resolve(feedforward->device, &feedforward->params, io, gradients, &matrices), fail);
    TRY(run(feedforward, &matrices, run_backward, true), fail);
    return VKRING_OK;
fail:
    return status;
}
