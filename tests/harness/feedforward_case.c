/* SPDX-License-Identifier: MIT */
#include "feedforward_case.h"

#include <math.h>
#include <ref/compare.h>
#include <ref/random_input.h>
#include <ref/reference_feedforward.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const names[FEEDFORWARD_TENSORS] = {
    "input",          "hidden_weight",   "gate_weight", "output_weight",      "hidden_bias",      "gate_bias",          "output_bias",
    "output_grad",    "output",          "input_grad",  "hidden_weight_grad", "gate_weight_grad", "output_weight_grad", "hidden_bias_grad",
    "gate_bias_grad", "output_bias_grad"};

static uint64_t output_dim(const struct feedforward_case *c)
{
    return c->params.output_dim ? c->params.output_dim : c->params.model_dim;
}

static uint64_t before_output_dim(const struct feedforward_case *c)
{
    return c->params.hidden_dim ? c->params.hidden_dim : c->params.model_dim;
}

static bool is_there(const struct feedforward_case *c, int tensor)
{
    const struct vkring_feedforward_params *params = &c->params;
    const bool of_inputs[FEEDFORWARD_INPUTS] = {
        true, params->hidden_dim > 0, params->gated, true, params->hidden_bias, params->gate_bias, params->output_bias, params->backward};
    if (tensor < FEEDFORWARD_INPUTS)
        return of_inputs[tensor];
    return tensor == FEEDFORWARD_OUTPUT || (params->backward && of_inputs[tensor - FEEDFORWARD_INPUT_GRAD]);
}

static struct tensor_shape_of_test shape_of(const struct feedforward_case *c, int tensor)
{
    const struct vkring_feedforward_params *params = &c->params;
    switch (tensor > FEEDFORWARD_OUTPUT ? tensor - FEEDFORWARD_INPUT_GRAD : tensor) {
    case FEEDFORWARD_INPUT:
        return (struct tensor_shape_of_test){1, params->rows, 1, params->model_dim};
    case FEEDFORWARD_HIDDEN_WEIGHT:
    case FEEDFORWARD_GATE_WEIGHT:
        return (struct tensor_shape_of_test){1, params->model_dim, 1, params->hidden_dim};
    case FEEDFORWARD_OUTPUT_WEIGHT:
        return (struct tensor_shape_of_test){1, before_output_dim(c), 1, output_dim(c)};
    case FEEDFORWARD_HIDDEN_BIAS:
    case FEEDFORWARD_GATE_BIAS:
        return (struct tensor_shape_of_test){1, 1, 1, params->hidden_dim};
    case FEEDFORWARD_OUTPUT_BIAS:
        return (struct tensor_shape_of_test){1, 1, 1, output_dim(c)};
    default:
        return (struct tensor_shape_of_test){1, params->rows, 1, output_dim(c)};
    }
}

/* Sums of products about as large as the input. */
static float factor_of(const struct feedforward_case *c, int tensor)
{
    const float hidden = c->hidden_magnitude != 0 ? c->hidden_magnitude : 1;
    switch (tensor) {
    case FEEDFORWARD_INPUT:
        return c->magnitude != 0 ? c->magnitude : 1;
    case FEEDFORWARD_HIDDEN_WEIGHT:
    case FEEDFORWARD_GATE_WEIGHT:
        return hidden / sqrtf((float)c->params.model_dim);
    case FEEDFORWARD_OUTPUT_WEIGHT:
        return 1 / (hidden * sqrtf((float)before_output_dim(c)));
    default:
        return 1;
    }
}

static uint64_t count_of(const struct feedforward_case *c, int tensor)
{
    const struct tensor_shape_of_test shape = shape_of(c, tensor);
    return shape.rows * shape.dim;
}

static float *make_values(const struct feedforward_case *c, int tensor)
{
    const uint64_t count = count_of(c, tensor);
    float *values = malloc((count ? count : 1) * sizeof(float));
    uint16_t *rounded = malloc((count ? count : 1) * sizeof(float));
    if (values && rounded) {
        random_fill(c->seed * FEEDFORWARD_INPUTS + (uint64_t)tensor, c->heavy_tails ? RANDOM_HEAVY_TAIL : RANDOM_NORMAL,
                    factor_of(c, tensor), 0, count, values);
        vkring_convert_from_f32(c->params.type, values, count, rounded);
        vkring_convert_to_f32(c->params.type, rounded, count, values);
    }
    free(rounded);
    return values;
}

static struct vkring_matrix *matrix_of(struct feedforward_data *data, int tensor)
{
    struct vkring_feedforward_io *io = &data->io;
    struct vkring_feedforward_gradients *gradients = &data->gradients;
    struct vkring_matrix *const all[FEEDFORWARD_TENSORS] = {
        &io->input,
        &io->hidden_weight,
        &io->gate_weight,
        &io->output_weight,
        &io->hidden_bias,
        &io->gate_bias,
        &io->output_bias,
        &gradients->output_grad,
        &io->output,
        &gradients->input_grad,
        &gradients->hidden_weight_grad,
        &gradients->gate_weight_grad,
        &gradients->output_weight_grad,
        &gradients->hidden_bias_grad,
        &gradients->gate_bias_grad,
        &gradients->output_bias_grad,
    };
    return all[tensor];
}

static bool make_tensor(const struct feedforward_case *c, vkring_device *device, int tensor, struct feedforward_data *data)
{
    struct tensor_image *image = &data->images[tensor];
    const struct tensor_shape_of_test shape = shape_of(c, tensor);
    const enum vkring_type type = tensor > FEEDFORWARD_INPUT_GRAD ? VKRING_TYPE_F32 : c->params.type;
    if (!tensor_image_create(device, type, &shape, &c->placement, image))
        return false;
    if (tensor < FEEDFORWARD_INPUTS) {
        data->values[tensor] = make_values(c, tensor);
        if (!data->values[tensor])
            return false;
        tensor_image_put(image, data->values[tensor]);
    }
    *matrix_of(data, tensor) = (struct vkring_matrix){image->tensor.buffer, image->tensor.offset_bytes, image->tensor.sequence_stride};
    return tensor_image_upload(image);
}

bool feedforward_data_create(const struct feedforward_case *c, vkring_device *device, struct feedforward_data *out_data)
{
    *out_data = (struct feedforward_data){0};
    for (int tensor = 0; tensor < FEEDFORWARD_TENSORS; tensor++)
        if (is_there(c, tensor) && !make_tensor(c, device, tensor, out_data)) {
            feedforward_data_destroy(out_data);
            return false;
        }
    return true;
}

void feedforward_data_destroy(struct feedforward_data *data)
{
    for (int tensor = 0; tensor < FEEDFORWARD_TENSORS; tensor++)
        tensor_image_destroy(&data->images[tensor]);
    for (int tensor = 0; tensor < FEEDFORWARD_INPUTS; tensor++)
        free(data->values[tensor]);
    *data = (struct feedforward_data){0};
}

bool feedforward_data_reset(struct feedforward_data *data)
{
    for (int tensor = FEEDFORWARD_OUTPUT; tensor < FEEDFORWARD_TENSORS; tensor++)
        if (data->images[tensor].tensor.buffer && !tensor_image_upload(&data->images[tensor]))
            return false;
    return true;
}

/* Sums over rows are off by what their terms are, about 1 each, however much of them cancels. */
static double least_unit(const struct feedforward_case *c, int tensor)
{
    return tensor > FEEDFORWARD_INPUT_GRAD ? 0.1 * sqrt((double)c->params.rows) : 0;
}

static struct error_gate gate_of(const struct feedforward_case *c, const struct feedforward_data *data, int tensor)
{
    if (tensor != FEEDFORWARD_OUTPUT)
        return backward_gate(c->params.type);
    return data->from_matrices ? forward_gate_on_matrices(c->params.type) : forward_gate(c->params.type);
}

static bool judge_tensor(const struct feedforward_case *c, struct feedforward_data *data, int tensor, const double *expected)
{
    struct tensor_image *image = &data->images[tensor];
    const struct error_gate gate = gate_of(c, data, tensor);
    const uint64_t count = count_of(c, tensor);
    float *values = malloc((count ? count : 1) * sizeof(float));
    bool good = values && tensor_image_download(image) && tensor_image_canaries_alive(image);
    if (!good)
        fprintf(stderr, "%s: what is around %s was written\n", c->name, names[tensor]);
    else {
        tensor_image_get(image, values);
        const struct error_measure error = error_measure_above(values, expected, count, least_unit(c, tensor));
        good = gate_passes(&gate, &error);
        if (!good || getenv("VKRING_TEST_ERRORS"))
            fprintf(stderr, "%s: %s: error RMS %.3g, largest %.3g, %s\n", c->name, names[tensor], error.rms, error.maximum,
                    error.finite ? "finite" : "not finite");
    }
    free(values);
    return good;
}

static bool inputs_are_untouched(const struct feedforward_case *c, struct feedforward_data *data)
{
    bool good = true;
    for (int tensor = 0; tensor < FEEDFORWARD_INPUTS; tensor++)
        if (is_there(c, tensor) && (!tensor_image_download(&data->images[tensor]) || !tensor_image_untouched(&data->images[tensor]))) {
            fprintf(stderr, "%s: %s was written\n", c->name, names[tensor]);
            good = false;
        }
    return good;
}

static struct reference_feedforward layer_of(const struct feedforward_case *c, const struct feedforward_data *data)
{
    float *const *values = data->values;
    return (struct reference_feedforward){
        .rows = c->params.rows,
        .model_dim = c->params.model_dim,
        .hidden_dim = c->params.hidden_dim,
        .output_dim = output_dim(c),
        .activation = c->params.activation,
        .input = values[FEEDFORWARD_INPUT],
        .hidden_weight = values[FEEDFORWARD_HIDDEN_WEIGHT],
        .gate_weight = values[FEEDFORWARD_GATE_WEIGHT],
        .output_weight = values[FEEDFORWARD_OUTPUT_WEIGHT],
        .hidden_bias = values[FEEDFORWARD_HIDDEN_BIAS],
        .gate_bias = values[FEEDFORWARD_GATE_BIAS],
        .output_bias = values[FEEDFORWARD_OUTPUT_BIAS],
    };
}

bool feedforward_judge(const struct feedforward_case *c, struct feedforward_data *data)
{
    const struct reference_feedforward layer = layer_of(c, data);
    double *expected[FEEDFORWARD_TENSORS] = {0};
    bool good = true;
    for (int tensor = FEEDFORWARD_OUTPUT; tensor < FEEDFORWARD_TENSORS; tensor++)
        if (is_there(c, tensor)) {
            expected[tensor] = calloc(count_of(c, tensor) + 1, sizeof(double));
            good = good && expected[tensor];
        }
    double *const *grads = expected + FEEDFORWARD_INPUT_GRAD;
    const struct reference_feedforward_gradients gradients = {grads[0], grads[1], grads[2], grads[3], grads[4], grads[5], grads[6]};
    good = good && reference_feedforward(&layer, expected[FEEDFORWARD_OUTPUT]);
    if (good && c->params.backward)
        good = reference_feedforward_backward(&layer, data->values[FEEDFORWARD_OUTPUT_GRAD], &gradients);
    for (int tensor = FEEDFORWARD_OUTPUT; tensor < FEEDFORWARD_TENSORS; tensor++) {
        if (expected[tensor])
            good = judge_tensor(c, data, tensor, expected[tensor]) && good;
        free(expected[tensor]);
    }
    return inputs_are_untouched(c, data) && good;
}

static bool is_as_asked(const struct feedforward_case *c, const vkring_feedforward *layer, struct feedforward_data *data)
{
    struct vkring_feedforward_info info;
    vkring_feedforward_get_info(layer, &info);
    data->from_matrices = info.matrix_units;
    if (c->on_matrices && !info.matrix_units)
        fprintf(stderr, "%s: not on matrix units\n", c->name);
    return !c->on_matrices || info.matrix_units;
}

static bool run(const struct feedforward_case *c, vkring_device *device, struct feedforward_data *data)
{
    vkring_feedforward *layer = NULL;
    bool good = vkring_feedforward_create(device, &c->params, &layer) == VKRING_OK &&
                vkring_feedforward_forward(layer, &data->io) == VKRING_OK &&
                (!c->params.backward || vkring_feedforward_backward(layer, &data->io, &data->gradients) == VKRING_OK);
    if (!good)
        fprintf(stderr, "%s: %s\n", c->name, vkring_last_error()->message);
    good = good && is_as_asked(c, layer, data);
    vkring_feedforward_destroy(&layer);
    return good;
}

bool feedforward_passes(const struct feedforward_case *c, vkring_device *device)
{
    struct feedforward_data data;
    bool good = feedforward_data_create(c, device, &data) && run(c, device, &data) && feedforward_judge(c, &data);
    feedforward_data_destroy(&data);
    return good;
}
