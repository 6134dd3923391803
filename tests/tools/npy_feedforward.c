/* SPDX-License-Identifier: MIT */
#include "npy_feedforward.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ref/reference_feedforward.h>

#include "npy_check.h"
#include "npy_file.h"

enum { X, W1, WG, W2, B1, BG, B2, OUTPUT_GRAD, INPUTS, OUTPUT = INPUTS, X_GRAD, B2_GRAD = X_GRAD + B2, FILES };

static const char *const options[FILES] = {"-x",        "--w1",          "--wg",      "--w2",         "--b1",      "--bg",
                                           "--b2",      "--output-grad", "-o",        "--input-grad", "--w1-grad", "--wg-grad",
                                           "--w2-grad", "--b1-grad",     "--bg-grad", "--b2-grad"};

struct judged {
    const char *paths[FILES];
    const char *type_name;
    enum vkring_type type; /* on the device */
    struct tensor inputs[INPUTS];
    struct reference_feedforward layer;
};

static void take_option(struct judged *judged, const char *name, const char *value)
{
    for (int i = 0; i < FILES; i++)
        if (strcmp(name, options[i]) == 0)
            judged->paths[i] = value;
    if (strcmp(name, "--dtype") == 0)
        judged->type_name = value;
    for (enum vkring_activation activation = 0; strcmp(name, "--act") == 0 && vkring_activation_string(activation); activation++)
        if (strcmp(value, vkring_activation_string(activation)) == 0)
            judged->layer.activation = activation;
}

static void parse(struct judged *judged, int count, char **words)
{
    const enum vkring_activation not_given = (enum vkring_activation) - 1;
    judged->layer.activation = not_given;
    for (int i = 0; i < count; i++)
        if (strcmp(words[i], "--quiet") != 0 && ++i < count)
            take_option(judged, words[i - 1], words[i]);
    if (!judged->paths[X] || !judged->paths[W1] || !judged->paths[W2] || !judged->paths[OUTPUT])
        die("needs -x, --w1, --w2 and -o", "feedforward");
    if (judged->layer.activation == not_given)
        judged->layer.activation = judged->paths[WG] ? VKRING_ACTIVATION_SILU : VKRING_ACTIVATION_GELU;
}

static void read_inputs(struct judged *judged)
{
    struct tensor *inputs = judged->inputs;
    for (int i = 0; i < INPUTS; i++)
        inputs[i] = tensor_read(judged->paths[i]);
    judged->type = judged->type_name ? type_of(judged->type_name) : inputs[X].type;
    for (int i = 0; i < INPUTS; i++)
        tensor_round(&inputs[i], judged->type);
    struct reference_feedforward *layer = &judged->layer;
    layer->rows = inputs[X].shape[0];
    layer->model_dim = inputs[X].shape[1];
    layer->hidden_dim = inputs[W1].shape[1];
    layer->output_dim = inputs[W2].shape[1];
    layer->input = inputs[X].values;
    layer->hidden_weight = inputs[W1].values;
    layer->gate_weight = inputs[WG].values;
    layer->output_weight = inputs[W2].values;
    layer->hidden_bias = inputs[B1].values;
    layer->gate_bias = inputs[BG].values;
    layer->output_bias = inputs[B2].values;
}

/* A file that was not asked for is good. */
static bool judge(const struct judged *judged, int file, const double *expected)
{
    const struct reference_feedforward *layer = &judged->layer;
    const uint64_t output_shape[] = {layer->rows, layer->output_dim};
    const struct tensor *of = file > OUTPUT ? &judged->inputs[file - X_GRAD] : NULL;
    const enum vkring_type file_type = file > X_GRAD ? VKRING_TYPE_F32 : judged->inputs[X].type;
    const enum vkring_type coarser = judged->type == VKRING_TYPE_F32 ? file_type : judged->type;
    const struct error_gate gate = file == OUTPUT ? gate_of_results(coarser) : backward_gate(coarser);
    struct tensor result = tensor_read(judged->paths[file]);
    bool good = !judged->paths[file];
    if (tensor_is_like(&result, file_type, of ? of->dims : 2, of ? of->shape : output_shape)) {
        const struct error_measure error =
            error_measure_above(result.values, expected, result.elements, file > X_GRAD ? 0.1 * sqrt((double)layer->rows) : 0);
        printf("# %s: rms %.3g, maximum %.3g\n", options[file], error.rms, error.maximum);
        good = gate_passes(&gate, &error);
    }
    tensor_free(&result);
    return good;
}

bool npy_check_feedforward(int count, char **words)
{
    struct judged judged = {0};
    double *expected[FILES] = {0};
    parse(&judged, count, words);
    read_inputs(&judged);
    const struct reference_feedforward *layer = &judged.layer;
    expected[OUTPUT] = take_memory(layer->rows * layer->output_dim * sizeof(double));
    for (int file = X_GRAD; file < FILES; file++)
        expected[file] = take_memory(judged.inputs[file - X_GRAD].elements * sizeof(double));
    double *const *grads = expected + X_GRAD;
    const struct reference_feedforward_gradients gradients = {grads[X],
                                                              grads[W1],
                                                              layer->gate_weight ? grads[WG] : NULL,
                                                              grads[W2],
                                                              layer->hidden_bias ? grads[B1] : NULL,
                                                              layer->gate_bias ? grads[BG] : NULL,
                                                              layer->output_bias ? grads[B2] : NULL};
    bool good = reference_feedforward(layer, expected[OUTPUT]);
    if (good && judged.paths[OUTPUT_GRAD])
        good = reference_feedforward_backward(layer, judged.inputs[OUTPUT_GRAD].values, &gradients);
    for (int file = OUTPUT; file < FILES; file++) {
        good = good && judge(&judged, file, expected[file]);
        free(expected[file]);
    }
    for (int i = 0; i < INPUTS; i++)
        tensor_free(&judged.inputs[i]);
    return good;
}
