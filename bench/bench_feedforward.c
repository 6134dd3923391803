/* SPDX-License-Identifier: MIT */
#include "bench_feedforward.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <ref/compare.h>
#include <ref/reference_feedforward.h>
#include <stdio.h>
#include <stdlib.h>

#include "../tools/json_text.h"
#include "bench_draw.h"
#include "bench_peak.h"
#include "bench_timing.h"

static const struct layer_case {
    const char *name;
    struct vkring_feedforward_params params;
} cases[] = {
    {"f32-1k-gelu", {.rows = 1024, .model_dim = 1024, .hidden_dim = 1024, .activation = VKRING_ACTIVATION_GELU, .backward = true}},
    {"f32-512-swiglu",
     {.rows = 2048, .model_dim = 512, .hidden_dim = 1408, .activation = VKRING_ACTIVATION_SILU, .gated = true, .backward = true}},
    {"f16-1k-gelu",
     {.type = VKRING_TYPE_F16,
      .rows = 1024,
      .model_dim = 1024,
      .hidden_dim = 1024,
      .activation = VKRING_ACTIVATION_GELU,
      .backward = true}},
    {"bf16-1k-gelu",
     {.type = VKRING_TYPE_BF16,
      .rows = 1024,
      .model_dim = 1024,
      .hidden_dim = 1024,
      .activation = VKRING_ACTIVATION_GELU,
      .backward = true}},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]), CHECKED_ROWS = 4 };

enum { INPUT, HIDDEN_WEIGHT, GATE_WEIGHT, OUTPUT_WEIGHT, OUTPUT_GRAD, READ, OUTPUT = READ, GRADS, MATRICES = GRADS + 4 };

/* A layer with its matrices; values of those that are read, rounded to the type. */
struct trial {
    const struct layer_case *which;
    vkring_feedforward *layer;
    vkring_buffer *buffers[MATRICES];
    float *values[READ];
    struct vkring_feedforward_io io;
    struct vkring_feedforward_gradients gradients;
};

static uint64_t elements_of(const struct vkring_feedforward_params *params, int matrix)
{
    const uint64_t of_input = params->rows * params->model_dim, of_weight = params->model_dim * params->hidden_dim;
    const uint64_t counts[MATRICES] = {of_input, of_weight, params->gated ? of_weight : 0, of_weight, of_input, of_input,
                                       of_input, of_weight, params->gated ? of_weight : 0, of_weight};
    return counts[matrix];
}

/* Output dimensions are those of the model in all cases. */
static bool fill(struct trial *trial, int matrix, struct failure *failure)
{
    const struct vkring_feedforward_params *params = &trial->which->params;
    const float fan = matrix == OUTPUT_WEIGHT ? (float)params->hidden_dim : (float)params->model_dim;
    const struct bench_draw draw = {
        .seed = (uint64_t)matrix + 1,
        .count = elements_of(params, matrix),
        .factor = matrix == INPUT || matrix == OUTPUT_GRAD ? 1 : 1 / sqrtf(fan),
        .type = params->type,
    };
    void *rounded = malloc(draw.count * sizeof(float) + 1);
    trial->values[matrix] = malloc(draw.count * sizeof(float) + 1);
    bool good = rounded && trial->values[matrix];
    if (!good)
        fail_memory(failure);
    else {
        bench_draw(&draw, trial->values[matrix], rounded);
        good = vkring_buffer_upload(trial->buffers[matrix], 0, rounded, draw.count * vkring_type_bytes(draw.type)) == VKRING_OK ||
               fail_library(failure, 0);
    }
    free(rounded);
    return good;
}

static bool make_matrices(vkring_device *device, struct trial *trial, struct failure *failure)
{
    const struct vkring_feedforward_params *params = &trial->which->params;
    struct vkring_matrix *const matrices[MATRICES] = {&trial->io.input,
                                                      &trial->io.hidden_weight,
                                                      &trial->io.gate_weight,
                                                      &trial->io.output_weight,
                                                      &trial->gradients.output_grad,
                                                      &trial->io.output,
                                                      &trial->gradients.input_grad,
                                                      &trial->gradients.hidden_weight_grad,
                                                      &trial->gradients.gate_weight_grad,
                                                      &trial->gradients.output_weight_grad};
    for (int matrix = 0; matrix < MATRICES; matrix++) {
        const uint64_t bytes = elements_of(params, matrix) * (matrix > GRADS ? sizeof(float) : vkring_type_bytes(params->type));
        if (bytes == 0)
            continue;
        if (vkring_buffer_create(device, bytes, &trial->buffers[matrix]) != VKRING_OK)
            return fail_library(failure, 0);
        matrices[matrix]->buffer = trial->buffers[matrix];
        if (matrix < READ && !fill(trial, matrix, failure))
            return false;
    }
    return true;
}

static void free_trial(struct trial *trial)
{
    vkring_feedforward_destroy(&trial->layer);
    for (int matrix = 0; matrix < MATRICES; matrix++)
        vkring_buffer_destroy(&trial->buffers[matrix]);
    for (int matrix = 0; matrix < READ; matrix++)
        free(trial->values[matrix]);
}

static bool run_forward(void *context, struct failure *failure)
{
    struct trial *trial = context;
    return vkring_feedforward_forward(trial->layer, &trial->io) == VKRING_OK || fail_library(failure, 0);
}

static bool run_backward(void *context, struct failure *failure)
{
    struct trial *trial = context;
    return vkring_feedforward_backward(trial->layer, &trial->io, &trial->gradients) == VKRING_OK || fail_library(failure, 0);
}

/* The first rows of the output. */
static bool validate(struct trial *trial, struct failure *failure)
{
    const struct vkring_feedforward_params *params = &trial->which->params;
    const uint64_t count = CHECKED_ROWS * params->model_dim;
    struct vkring_feedforward_info info;
    vkring_feedforward_get_info(trial->layer, &info);
    const struct error_gate gate = info.matrix_units ? forward_gate_on_matrices(params->type) : forward_gate(params->type);
    const struct reference_feedforward layer = {
        .rows = CHECKED_ROWS,
        .model_dim = params->model_dim,
        .hidden_dim = params->hidden_dim,
        .output_dim = params->model_dim,
        .activation = params->activation,
        .input = trial->values[INPUT],
        .hidden_weight = trial->values[HIDDEN_WEIGHT],
        .gate_weight = trial->values[GATE_WEIGHT],
        .output_weight = trial->values[OUTPUT_WEIGHT],
    };
    double *expected = malloc(count * sizeof(*expected));
    float *stored = malloc(count * sizeof(*stored)), *values = malloc(count * sizeof(*values));
    bool good = expected && stored && values && reference_feedforward(&layer, expected);
    if (!good)
        fail_memory(failure);
    else if (vkring_buffer_download(trial->buffers[OUTPUT], 0, stored, count * vkring_type_bytes(params->type)) != VKRING_OK)
        good = fail_library(failure, 0);
    else {
        vkring_convert_to_f32(params->type, stored, count, values);
        const struct error_measure error = error_measure(values, expected, count);
        good = gate_passes(&gate, &error) ||
               fail_run(failure, "%s: wrong: error RMS %.3g, largest %.3g", trial->which->name, error.rms, error.maximum);
    }
    free(expected);
    free(stored);
    free(values);
    return good;
}

static json_t *timing_json(const struct bench_timing *timing, double flop, double peak_gflops)
{
    const double gflops = flop / timing->median * 1e-9;
    return json_pack("{s:o, s:o, s:o, s:o}", "seconds_median", json_measure(timing->median), "seconds_least", json_measure(timing->least),
                     "gflops", json_measure(gflops), "part_of_peak", json_measure(gflops / peak_gflops));
}

static bool measure(const struct bench_setting *setting, struct trial *trial, double peak_gflops, json_t *results, struct failure *failure)
{
    const uint32_t repeats = setting->options->repeats;
    struct bench_timing forward, backward;
    struct vkring_feedforward_info info;
    if (!make_matrices(setting->device, trial, failure))
        return false;
    if (vkring_feedforward_create(setting->device, &trial->which->params, &trial->layer) != VKRING_OK)
        return fail_library(failure, 0);
    if (!bench_time(run_forward, trial, repeats, &forward, failure) || (!setting->options->no_validate && !validate(trial, failure)) ||
        !bench_time(run_backward, trial, repeats, &backward, failure))
        return false;
    vkring_feedforward_get_info(trial->layer, &info);
    printf("%-16s %9.2f ms %7.1f GFLOP/s %4.0f %%   %9.2f ms %7.1f GFLOP/s %4.0f %%%s%s\n", trial->which->name, forward.median * 1e3,
           info.forward_flop / forward.median * 1e-9, info.forward_flop / forward.median * 1e-7 / peak_gflops, backward.median * 1e3,
           info.backward_flop / backward.median * 1e-9, info.backward_flop / backward.median * 1e-7 / peak_gflops,
           info.matrix_units ? "   on matrix units" : "", info.matrix_operations ? ", by operations" : "");
    fflush(stdout);
    json_array_append_new(results, json_pack("{s:s, s:b, s:o, s:o}", "case", trial->which->name, "matrix_units", info.matrix_units,
                                             "forward", timing_json(&forward, info.forward_flop, peak_gflops), "backward",
                                             timing_json(&backward, info.backward_flop, peak_gflops)));
    return true;
}

static bool write_json(struct report_file *file, const struct vkring_device_info *device, const struct bench_peak *peak, json_t *results,
                       struct failure *failure)
{
    json_t *root = json_pack("{s:s, s:o, s:o, s:o, s:o, s:O}", "vkring", vkring_version(), "device", json_text(device->name), "driver",
                             json_text(device->driver), "device_gflops", json_measure(peak->device_gflops), "host_gflops",
                             json_measure(peak->host_gflops), "cases", results);
    return report_file_write_json(file, root, failure);
}

/* Where the device is the host's cores, these may do more than the driver's code: a fused instruction is one. */
static double highest(const struct vkring_device_info *device, const struct bench_peak *peak)
{
    return device->kind == VKRING_DEVICE_CPU ? fmax(peak->device_gflops, peak->host_gflops) : peak->device_gflops;
}

bool bench_feedforward(struct bench_setting *setting, struct failure *failure)
{
    struct vkring_device_info device;
    struct bench_peak peak = {0};
    json_t *results = json_array();
    vkring_device_get_info(setting->device, &device);
    bool good = bench_peak_measure(&device, &peak, failure);
    if (good)
        printf("%s, peak %.1f GFLOP/s\n%-16s %32s   %32s\n", device.name, highest(&device, &peak), "layer", "forward, part of peak",
               "backward, part of peak");
    for (int i = 0; good && i < CASES; i++) {
        struct trial trial = {.which = &cases[i]};
        if (cases[i].params.type != VKRING_TYPE_F32 && !device.f16)
            continue;
        good = measure(setting, &trial, highest(&device, &peak), results, failure);
        free_trial(&trial);
    }
    good = good && write_json(&setting->json, &device, &peak, results, failure);
    json_decref(results);
    return good;
}
