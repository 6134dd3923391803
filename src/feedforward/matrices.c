/* SPDX-License-Identifier: MIT */
#include "matrices.h"

#include "../base/checked.h"
#include "../base/status.h"

#define MOST_STRIDE_BYTES ((uint64_t)1 << 25)

/* What a matrix has to be. */
struct matrix_shape {
    const char *name;
    const struct vkring_matrix *matrix; /* null: the run does not use it */
    uint64_t rows, columns, element_bytes;
    bool optional; /* only wanted if it has a buffer */
};

static enum vkring_status resolve(const vkring_device *device, const struct matrix_shape *shape, struct matrix_view *out_view)
{
    const struct vkring_matrix *matrix = shape->matrix;
    const uint64_t stride = matrix->row_stride ? matrix->row_stride : shape->columns;
    uint64_t stride_bytes, bytes, end;
    if (shape->rows == 0 || (shape->optional && !matrix->buffer))
        return VKRING_OK;
    if (!matrix->buffer)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: buffer is null", shape->name);
    if (matrix->buffer->device != device)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: the buffer is of another device", shape->name);
    if (matrix->offset_bytes % shape->element_bytes != 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: offset_bytes %llu is not a multiple of the element's %llu bytes",
                           shape->name, (unsigned long long)matrix->offset_bytes, (unsigned long long)shape->element_bytes);
    if (shape->rows > 1 && stride < shape->columns)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: row_stride %llu is less than its %llu columns", shape->name,
                           (unsigned long long)stride, (unsigned long long)shape->columns);
    if (!checked_multiply(stride, shape->element_bytes, &stride_bytes) || !checked_multiply(stride_bytes, shape->rows - 1, &bytes) ||
        !checked_add(bytes, shape->columns * shape->element_bytes, &bytes) || !checked_add(bytes, matrix->offset_bytes, &end))
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s: strides reach past 2^64 bytes", shape->name);
    if (end > matrix->buffer->size_bytes)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s needs %llu bytes of a buffer of %llu", shape->name, (unsigned long long)end,
                           (unsigned long long)matrix->buffer->size_bytes);
    if (shape->rows == 1)
        stride_bytes = shape->columns * shape->element_bytes;
    if (stride_bytes > MOST_STRIDE_BYTES)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "%s: rows lie more than 32 MiB apart", shape->name);
    *out_view = (struct matrix_view){matrix->buffer, matrix->buffer->address + matrix->offset_bytes, (uint32_t)stride_bytes};
    return VKRING_OK;
}

/* What is there forward, and null where it is not. */
static void describe_inputs(const struct vkring_feedforward_params *params, const struct vkring_feedforward_io *io, bool forward,
                            struct matrix_shape *shapes)
{
    const uint64_t bytes = vkring_type_bytes(params->type), rows = params->rows;
    const uint64_t model = params->model_dim, hidden = params->hidden_dim, output = params->output_dim;
    shapes[MATRIX_INPUT] = (struct matrix_shape){"input", &io->input, rows, model, bytes};
    shapes[MATRIX_HIDDEN_WEIGHT] = (struct matrix_shape){"hidden_weight", hidden ? &io->hidden_weight : NULL, model, hidden, bytes};
    shapes[MATRIX_GATE_WEIGHT] = (struct matrix_shape){"gate_weight", params->gated ? &io->gate_weight : NULL, model, hidden, bytes};
    shapes[MATRIX_OUTPUT_WEIGHT] = (struct matrix_shape){"output_weight", &io->output_weight, hidden ? hidden : model, output, bytes};
    shapes[MATRIX_HIDDEN_BIAS] = (struct matrix_shape){"hidden_bias", params->hidden_bias ? &io->hidden_bias : NULL, 1, hidden, bytes};
    shapes[MATRIX_GATE_BIAS] = (struct matrix_shape){"gate_bias", params->gate_bias ? &io->gate_bias : NULL, 1, hidden, bytes};
    shapes[MATRIX_OUTPUT_BIAS] =
        (struct matrix_shape){"output_bias", forward && params->output_bias ? &io->output_bias : NULL, 1, output, bytes};
    shapes[MATRIX_OUTPUT] = (struct matrix_shape){"output", forward ? &io->output : NULL, rows, output, bytes};
}

static void describe_gradients(const struct vkring_feedforward_params *params, const struct vkring_feedforward_gradients *gradients,
                               struct matrix_shape *shapes)
{
    const uint64_t bytes = vkring_type_bytes(params->type), f32 = sizeof(float), rows = params->rows;
    const uint64_t model = params->model_dim, hidden = params->hidden_dim, output = params->output_dim;
    shapes[MATRIX_OUTPUT_GRAD] = (struct matrix_shape){"output_grad", &gradients->output_grad, rows, output, bytes};
    shapes[MATRIX_INPUT_GRAD] = (struct matrix_shape){"input_grad", &gradients->input_grad, rows, model, bytes, true};
    shapes[MATRIX_HIDDEN_WEIGHT_GRAD] =
        (struct matrix_shape){"hidden_weight_grad", &gradients->hidden_weight_grad, model, hidden, f32, true};
    shapes[MATRIX_GATE_WEIGHT_GRAD] = (struct matrix_shape){"gate_weight_grad", &gradients->gate_weight_grad, model, hidden, f32, true};
    shapes[MATRIX_OUTPUT_WEIGHT_GRAD] =
        (struct matrix_shape){"output_weight_grad", &gradients->output_weight_grad, hidden ? hidden : model, output, f32, true};
    shapes[MATRIX_HIDDEN_BIAS_GRAD] = (struct matrix_shape){"hidden_bias_grad", &gradients->hidden_bias_grad, 1, hidden, f32, true};
    shapes[MATRIX_GATE_BIAS_GRAD] = (struct matrix_shape){"gate_bias_grad", &gradients->gate_bias_grad, 1, hidden, f32, true};
    shapes[MATRIX_OUTPUT_BIAS_GRAD] = (struct matrix_shape){"output_bias_grad", &gradients->output_bias_grad, 1, output, f32, true};
}

/* A gradient of what the layer does not have. */
static enum vkring_status check_wanted(const struct vkring_feedforward_params *params, const struct vkring_feedforward_gradients *gradients)
{
    const struct {
        const char *name;
        bool wanted, there;
    } all[] = {
        {"hidden_weight_grad", gradients->hidden_weight_grad.buffer != NULL, params->hidden_dim > 0},
        {"gate_weight_grad", gradients->gate_weight_grad.buffer != NULL, params->gated},
        {"hidden_bias_grad", gradients->hidden_bias_grad.buffer != NULL, params->hidden_bias},
        {"gate_bias_grad", gradients->gate_bias_grad.buffer != NULL, params->gate_bias},
        {"output_bias_grad", gradients->output_bias_grad.buffer != NULL, params->output_bias},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i].wanted && !all[i].there)
            return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s is of something that the layer does not have", all[i].name);
    return VKRING_OK;
}

enum vkring_status matrices_resolve(const vkring_device *device, const struct vkring_feedforward_params *params,
                                    const struct vkring_feedforward_io *io, const struct vkring_feedforward_gradients *gradients,
                                    struct matrices *out_matrices)
{
    enum vkring_status status;
    struct matrix_shape shapes[MATRICES] = {0};
    struct matrices matrices = {0};
    describe_inputs(params, io, !gradients, shapes);
    if (gradients) {
        TRY(check_wanted(params, gradients), fail);
        describe_gradients(params, gradients, shapes);
    }
    for (int i = 0; i < MATRICES; i++)
        if (shapes[i].matrix)
            TRY(resolve(device, &shapes[i], &matrices.views[i]), fail);
    *out_matrices = matrices;
    return VKRING_OK;
fail:
    return status;
}

uint32_t matrices_list_buffers(const struct matrices *matrices, vkring_buffer *out_buffers[MATRICES])
{
    uint32_t count = 0;
    for (int i = 0; i < MATRICES; i++) {
        bool listed = matrices->views[i].buffer == NULL;
        for (uint32_t j = 0; j < count; j++)
            listed = listed || out_buffers[j] == matrices->views[i].buffer;
        if (!listed)
            out_buffers[count++] = matrices->views[i].buffer;
    }
    return count;
}
