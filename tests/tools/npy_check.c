/* SPDX-License-Identifier: MIT */
#include "npy_check.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ref/reference.h>

#include "npy_file.h"

/* The options --------------------------------------------------------------------------------------------------------- */

/* As they were given; null: not. */
struct command {
    const char *query, *key, *value, *segments, *key_segments, *bias, *slopes, *sinks, *output_grad;
    const char *output, *lse, *query_grad, *key_grad, *value_grad, *bias_grad, *sink_grad;
    const char *type, *block, *window, *offset, *scale, *softcap, *dropout, *seed;
    bool causal;
};

static const struct {
    const char *name;
    size_t at;
} options[] = {
    {"-q", offsetof(struct command, query)},
    {"-k", offsetof(struct command, key)},
    {"-v", offsetof(struct command, value)},
    {"--segment-ids", offsetof(struct command, segments)},
    {"--key-segment-ids", offsetof(struct command, key_segments)},
    {"--bias", offsetof(struct command, bias)},
    {"--alibi", offsetof(struct command, slopes)},
    {"--sinks", offsetof(struct command, sinks)},
    {"--output-grad", offsetof(struct command, output_grad)},
    {"-o", offsetof(struct command, output)},
    {"--lse", offsetof(struct command, lse)},
    {"--query-grad", offsetof(struct command, query_grad)},
    {"--key-grad", offsetof(struct command, key_grad)},
    {"--value-grad", offsetof(struct command, value_grad)},
    {"--bias-grad", offsetof(struct command, bias_grad)},
    {"--sink-grad", offsetof(struct command, sink_grad)},
    {"--dtype", offsetof(struct command, type)},
    {"--causal-block", offsetof(struct command, block)},
    {"--window", offsetof(struct command, window)},
    {"--query-offset", offsetof(struct command, offset)},
    {"--scale", offsetof(struct command, scale)},
    {"--softcap", offsetof(struct command, softcap)},
    {"--dropout", offsetof(struct command, dropout)},
    {"--seed", offsetof(struct command, seed)},
};

static void take_option(struct command *command, const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (strcmp(name, options[i].name) == 0)
            memcpy((char *)command + options[i].at, &value, sizeof(value));
    }
}

static struct command parse(int count, char **words)
{
    struct command command = {0};
    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], "--causal") == 0)
            command.causal = true;
        else if (strcmp(words[i], "--quiet") != 0 && ++i < count)
            take_option(&command, words[i - 1], words[i]);
    }
    command.causal = command.causal || command.block;
    if (!command.query || !command.key || !command.value || !command.output)
        die("needs -q, -k, -v and -o", "check");
    return command;
}

/* The problem --------------------------------------------------------------------------------------------------------- */

struct inputs {
    enum vkring_type type; /* on the device */
    struct tensor query, key, value, segments, key_segments, bias, slopes, sinks, output_grad;
    struct reference_problem problem;
};

static struct tensor read_rounded(const char *path, enum vkring_type type)
{
    struct tensor tensor = tensor_read(path);
    tensor_round(&tensor, type);
    return tensor;
}

static void read_inputs(const struct command *command, struct inputs *inputs)
{
    inputs->query = tensor_read(command->query);
    inputs->type = command->type ? type_of(command->type) : inputs->query.type;
    tensor_round(&inputs->query, inputs->type);
    inputs->key = read_rounded(command->key, inputs->type);
    inputs->value = read_rounded(command->value, inputs->type);
    inputs->output_grad = read_rounded(command->output_grad, inputs->type);
    inputs->segments = tensor_read(command->segments);
    inputs->key_segments = tensor_read(command->key_segments ? command->key_segments : command->segments);
    inputs->bias = tensor_read(command->bias);
    inputs->slopes = tensor_read(command->slopes);
    inputs->sinks = tensor_read(command->sinks);
}

static double number(const char *text, double otherwise)
{
    return text ? strtod(text, NULL) : otherwise;
}

static void pose_masks(const struct command *command, struct reference_problem *problem)
{
    char *comma = NULL;
    problem->causal = command->causal;
    problem->causal_block = command->block ? strtoull(command->block, NULL, 10) : 0;
    problem->has_window = command->window != NULL;
    problem->window_left = command->window ? strtoll(command->window, &comma, 10) : -1;
    problem->window_right = command->window ? strtoll(comma + 1, NULL, 10) : -1;
    problem->query_offset = command->offset ? strtoll(command->offset, NULL, 10) : (int64_t)problem->kv_len - (int64_t)problem->q_len;
}

static void pose_problem(const struct command *command, struct inputs *inputs)
{
    const struct tensor *bias = &inputs->bias;
    inputs->problem = (struct reference_problem){
        .batch = inputs->query.shape[0],
        .q_len = inputs->query.shape[1],
        .kv_len = inputs->key.shape[1],
        .heads = inputs->query.shape[2],
        .kv_heads = inputs->key.shape[2],
        .head_dim = inputs->query.shape[3],
        .value_dim = inputs->value.shape[3],
        .scale = number(command->scale, 1 / sqrt((double)inputs->query.shape[3])),
        .softcap = number(command->softcap, 0),
        .dropout = number(command->dropout, 0),
        .seed = command->seed ? strtoull(command->seed, NULL, 10) : 0,
        .query_segment_ids = inputs->segments.ids,
        .key_segment_ids = inputs->key_segments.ids,
        .bias = {bias->values, bias->shape[0] != 1, bias->shape[1] != 1, bias->shape[2] != 1},
        .alibi_slopes = inputs->slopes.values,
        .sinks = inputs->sinks.values,
    };
    pose_masks(command, &inputs->problem);
}

static void free_inputs(struct inputs *inputs)
{
    struct tensor *const all[] = {&inputs->query, &inputs->key,    &inputs->value, &inputs->segments,   &inputs->key_segments,
                                  &inputs->bias,  &inputs->slopes, &inputs->sinks, &inputs->output_grad};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        tensor_free(all[i]);
}

/* Judging ------------------------------------------------------------------------------------------------------------- */

/* Of the type on the device and in the file, that which is coarser. */
static enum vkring_type coarser(enum vkring_type device, enum vkring_type file)
{
    return device == VKRING_TYPE_F32 ? file : device;
}

struct error_gate gate_of_results(enum vkring_type type)
{
    return getenv("VKRING_TEST_MATRICES") ? forward_gate_on_matrices(type) : forward_gate(type);
}

static bool judge(const char *name, const struct tensor *result, const double *expected, const struct error_gate *gate)
{
    const struct error_measure error = error_measure(result->values, expected, result->elements);
    printf("# %s: rms %.3g, maximum %.3g\n", name, error.rms, error.maximum);
    return gate_passes(gate, &error);
}

static bool judge_lse(const struct command *command, const struct reference_problem *problem, const double *expected)
{
    const uint64_t shape[] = {problem->batch, problem->heads, problem->q_len};
    struct tensor lse = tensor_read(command->lse);
    bool good = !command->lse;
    if (tensor_is_like(&lse, VKRING_TYPE_F32, 3, shape)) {
        const double error = lse_error(lse.values, expected, lse.elements);
        printf("# lse: %.3g\n", error);
        good = error <= LSE_GATE;
    }
    tensor_free(&lse);
    return good;
}

static bool judge_forward(const struct command *command, const struct inputs *inputs)
{
    const struct reference_problem *problem = &inputs->problem;
    const uint64_t shape[] = {problem->batch, problem->q_len, problem->heads, problem->value_dim};
    struct tensor output = tensor_read(command->output);
    const struct error_gate gate = gate_of_results(coarser(inputs->type, output.type));
    double *expected = take_memory(output.elements * sizeof(double));
    double *expected_lse = take_memory(problem->batch * problem->heads * problem->q_len * sizeof(double));
    bool good = tensor_is_like(&output, inputs->query.type, 4, shape) &&
                reference_forward(problem, inputs->query.values, inputs->key.values, inputs->value.values, 0, problem->q_len, expected,
                                  expected_lse) &&
                judge("output", &output, expected, &gate) && judge_lse(command, problem, expected_lse);
    tensor_free(&output);
    free(expected);
    free(expected_lse);
    return good;
}

struct gradient {
    const char *name;
    const char *path;
    const struct tensor *of;
    double *expected;
};

static bool judge_gradient(const struct gradient *gradient, enum vkring_type device)
{
    struct tensor result = tensor_read(gradient->path);
    const struct error_gate gate = backward_gate(coarser(device, result.type));
    bool good = !gradient->path || (tensor_is_like(&result, gradient->of->type, gradient->of->dims, gradient->of->shape) &&
                                    judge(gradient->name, &result, gradient->expected, &gate));
    tensor_free(&result);
    return good;
}

static bool judge_backward(const struct command *command, const struct inputs *inputs)
{
    struct gradient all[] = {
        {"query-grad", command->query_grad, &inputs->query, NULL}, {"key-grad", command->key_grad, &inputs->key, NULL},
        {"value-grad", command->value_grad, &inputs->value, NULL}, {"bias-grad", command->bias_grad, &inputs->bias, NULL},
        {"sink-grad", command->sink_grad, &inputs->sinks, NULL},
    };
    for (int i = 0; i < 5; i++)
        all[i].expected = take_memory(all[i].of->elements * sizeof(double));
    const struct reference_gradients gradients = {all[0].expected, all[1].expected, all[2].expected, command->bias ? all[3].expected : NULL,
                                                  command->sinks ? all[4].expected : NULL};
    bool good = reference_backward(&inputs->problem, inputs->query.values, inputs->key.values, inputs->value.values,
                                   inputs->output_grad.values, &gradients);
    for (int i = 0; i < 5; i++) {
        good = good && judge_gradient(&all[i], inputs->type);
        free(all[i].expected);
    }
    return good;
}

bool npy_check(int count, char **words)
{
    const struct command command = parse(count, words);
    struct inputs inputs = {0};
    read_inputs(&command, &inputs);
    pose_problem(&command, &inputs);
    bool good = judge_forward(&command, &inputs) && (!command.output_grad || judge_backward(&command, &inputs));
    free_inputs(&inputs);
    return good;
}
