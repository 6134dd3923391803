/* SPDX-License-Identifier: MIT */
/* Each mask and modifier, and all at once: forward and every gradient in every type against the oracle, and the same bits again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ref/compare.h>
#include <ref/random_input.h>
#include <ref/reference.h>

#include "../harness/opened_device.h"

enum { BATCH = 2, Q_LEN = 37, KV_LEN = 53, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 8, VALUE_DIM = 12 };
enum { QUERIES = BATCH * Q_LEN * HEADS, KEYS = BATCH * KV_LEN * KV_HEADS, BIASES = BATCH * HEADS * Q_LEN * KV_LEN };

static vkring_device *device;

static const struct {
    const char *name;
    struct vkring_plan_params params; /* what differs from a plain problem */
} cases[] = {
    {"plain", {.batch = BATCH}},
    {"causal", {.causal = true}},
    {"causal block", {.causal = true, .causal_block = 5}},
    {"window", {.has_window = true, .window_left = 7, .window_right = 3}},
    {"window to the right", {.has_window = true, .window_left = -1, .window_right = 0}},
    {"softcap", {.softcap = 2}},
    {"alibi", {.alibi = true}},
    {"alibi beyond the keys", {.alibi = true, .has_query_offset = true, .query_offset = 60}},
    {"sinks", {.sinks = true}},
    {"segments", {.segment_ids = true}},
    {"dropout", {.dropout = 0.3}},
    {"bias", {.bias = {.present = true, .per_batch = true, .per_head = true, .per_query = true}}},
    {"bias of rows", {.bias = {.present = true, .per_query = true}}},
    {"bias of keys by head", {.bias = {.present = true, .per_head = true}}},
    {"bias of keys", {.bias = {.present = true}}},
    {"cut finely", {.causal = true, .dispatch_seconds = 1e-9}},
    {"everything",
     {.causal = true,
      .causal_block = 3,
      .has_window = true,
      .window_left = 30,
      .window_right = 8,
      .softcap = 3,
      .alibi = true,
      .sinks = true,
      .segment_ids = true,
      .dropout = 0.2,
      .bias = {.present = true, .per_head = true, .per_query = true}}},
};

/* Everything a case reads and writes, as floats, and its buffers in the order of io. */
struct tensors {
    float query[QUERIES * HEAD_DIM], key[KEYS * HEAD_DIM], value[KEYS * VALUE_DIM], output_grad[QUERIES * VALUE_DIM];
    float bias[BIASES], slopes[HEADS], sinks[HEADS];
    int32_t query_ids[BATCH * Q_LEN], key_ids[BATCH * KV_LEN];
    uint64_t biases;
    float output[QUERIES * VALUE_DIM], query_grad[QUERIES * HEAD_DIM], key_grad[KEYS * HEAD_DIM], value_grad[KEYS * VALUE_DIM];
    float bias_grad[BIASES], sink_grad[HEADS];
};

static struct vkring_plan_params params_of(int index, enum vkring_type type)
{
    struct vkring_plan_params params = cases[index].params;
    params.type = type;
    params.batch = BATCH;
    params.q_len = Q_LEN;
    params.kv_len = KV_LEN;
    params.heads = HEADS;
    params.kv_heads = KV_HEADS;
    params.head_dim = HEAD_DIM;
    params.value_dim = VALUE_DIM;
    params.backward = true;
    return params;
}

static void fill_rounded(uint64_t seed, enum vkring_type type, uint64_t count, float *out)
{
    float rounded[QUERIES * VALUE_DIM];
    random_fill(seed, RANDOM_NORMAL, 1, 0, count, out);
    vkring_convert_from_f32(type, out, count, rounded);
    vkring_convert_to_f32(type, rounded, count, out);
}

static void fill(struct tensors *t, const struct vkring_plan_params *params)
{
    const struct vkring_bias_params *bias = &params->bias;
    fill_rounded(1, params->type, QUERIES * HEAD_DIM, t->query);
    fill_rounded(2, params->type, KEYS * HEAD_DIM, t->key);
    fill_rounded(3, params->type, KEYS * VALUE_DIM, t->value);
    fill_rounded(4, params->type, QUERIES * VALUE_DIM, t->output_grad);
    random_fill(5, RANDOM_NORMAL, 1, 0, BIASES, t->bias);
    random_fill(6, RANDOM_UNIFORM, 1, 0, HEADS, t->slopes);
    random_fill(7, RANDOM_NORMAL, 1, 0, HEADS, t->sinks);
    for (int i = 0; i < BIASES; i += 7)
        t->bias[i] = -INFINITY;
    for (int i = 0; i < BATCH * Q_LEN; i++)
        t->query_ids[i] = i % Q_LEN * 3 / Q_LEN - 1;
    for (int i = 0; i < BATCH * KV_LEN; i++)
        t->key_ids[i] = i % KV_LEN * 3 / KV_LEN - 1;
    t->biases =
        bias->present ? (bias->per_batch ? BATCH : 1u) * (bias->per_head ? HEADS : 1u) * (bias->per_query ? Q_LEN : 1u) * KV_LEN : 0;
}

static vkring_buffer *place(const void *from, uint64_t bytes)
{
    vkring_buffer *buffer;
    ck_assert_int_eq(vkring_buffer_create(device, bytes, &buffer), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_upload(buffer, 0, from, bytes), VKRING_OK);
    return buffer;
}

static vkring_buffer *place_typed(enum vkring_type type, const float *from, uint64_t count)
{
    float typed[QUERIES * VALUE_DIM];
    vkring_convert_from_f32(type, from, count, typed);
    return place(typed, count * vkring_type_bytes(type));
}

static void fetch_typed(vkring_buffer *buffer, enum vkring_type type, uint64_t count, float *out)
{
    float typed[QUERIES * VALUE_DIM];
    ck_assert_int_eq(vkring_buffer_download(buffer, 0, typed, count * vkring_type_bytes(type)), VKRING_OK);
    vkring_convert_to_f32(type, typed, count, out);
}

static struct vkring_backward_io make_io(const struct tensors *t, const struct vkring_plan_params *params)
{
    const enum vkring_type type = params->type;
    const uint64_t outputs = QUERIES * VALUE_DIM;
    struct vkring_backward_io io = {
        .forward.query.buffer = place_typed(type, t->query, QUERIES * HEAD_DIM),
        .forward.key.buffer = place_typed(type, t->key, KEYS * HEAD_DIM),
        .forward.value.buffer = place_typed(type, t->value, KEYS * VALUE_DIM),
        .forward.output.buffer = place_typed(type, t->output, outputs),
        .forward.lse.buffer = place(t->output, QUERIES * sizeof(float)),
        .forward.lse_residual.buffer = place(t->output, QUERIES * sizeof(float)),
        .forward.output_residual.buffer = place_typed(type, t->output, outputs),
        .forward.query_segment_ids.buffer = place(t->query_ids, sizeof(t->query_ids)),
        .forward.key_segment_ids.buffer = place(t->key_ids, sizeof(t->key_ids)),
        .forward.alibi_slopes.buffer = place(t->slopes, sizeof(t->slopes)),
        .forward.sinks.buffer = place(t->sinks, sizeof(t->sinks)),
        .forward.bias.buffer = place(t->bias, t->biases * sizeof(float)),
        .forward.seed = UINT64_C(0x123456789abcdef),
        .output_grad.buffer = place_typed(type, t->output_grad, outputs),
        .query_grad.buffer = place_typed(type, t->query_grad, QUERIES * HEAD_DIM),
        .key_grad.buffer = place_typed(type, t->key_grad, KEYS * HEAD_DIM),
        .value_grad.buffer = place_typed(type, t->value_grad, KEYS * VALUE_DIM),
    };
    if (params->bias.present)
        io.bias_grad.buffer = place(t->bias_grad, t->biases * sizeof(float));
    if (params->sinks)
        io.sink_grad.buffer = place(t->sink_grad, sizeof(t->sink_grad));
    return io;
}

static void free_io(struct vkring_backward_io *io)
{
    struct vkring_tensor *const tensors[] = {&io->forward.query,
                                             &io->forward.key,
                                             &io->forward.value,
                                             &io->forward.output,
                                             &io->forward.lse,
                                             &io->forward.lse_residual,
                                             &io->forward.bias,
                                             &io->forward.query_segment_ids,
                                             &io->forward.sinks,
                                             &io->forward.key_segment_ids,
                                             &io->forward.alibi_slopes,
                                             &io->forward.output_residual,
                                             &io->output_grad,
                                             &io->query_grad,
                                             &io->key_grad,
                                             &io->value_grad,
                                             &io->bias_grad,
                                             &io->sink_grad};
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++)
        vkring_buffer_destroy(&tensors[i]->buffer);
}

/* Results go where poison was. */
static void run(struct tensors *t, const struct vkring_plan_params *params)
{
    vkring_plan *plan;
    const enum vkring_type type = params->type;
    for (float *at = t->output; at < (float *)(t + 1); at++)
        *at = NAN;
    struct vkring_backward_io io = make_io(t, params);
    ck_assert_msg(vkring_plan_create(device, NULL, params, &plan) == VKRING_OK, "%s", vkring_last_error()->message);
    ck_assert_msg(vkring_forward(plan, &io.forward) == VKRING_OK, "%s", vkring_last_error()->message);
    ck_assert_msg(vkring_backward(plan, &io) == VKRING_OK, "%s", vkring_last_error()->message);
    fetch_typed(io.forward.output.buffer, type, QUERIES * VALUE_DIM, t->output);
    fetch_typed(io.query_grad.buffer, type, QUERIES * HEAD_DIM, t->query_grad);
    fetch_typed(io.key_grad.buffer, type, KEYS * HEAD_DIM, t->key_grad);
    fetch_typed(io.value_grad.buffer, type, KEYS * VALUE_DIM, t->value_grad);
    if (params->bias.present)
        ck_assert_int_eq(vkring_buffer_download(io.bias_grad.buffer, 0, t->bias_grad, t->biases * sizeof(float)), VKRING_OK);
    if (params->sinks)
        ck_assert_int_eq(vkring_buffer_download(io.sink_grad.buffer, 0, t->sink_grad, sizeof(t->sink_grad)), VKRING_OK);
    vkring_plan_destroy(&plan);
    free_io(&io);
}

static struct reference_problem reference_of(const struct tensors *t, const struct vkring_plan_params *params)
{
    return (struct reference_problem){
        .batch = BATCH,
        .q_len = Q_LEN,
        .kv_len = KV_LEN,
        .heads = HEADS,
        .kv_heads = KV_HEADS,
        .head_dim = HEAD_DIM,
        .value_dim = VALUE_DIM,
        .causal = params->causal,
        .causal_block = params->causal_block,
        .has_window = params->has_window,
        .window_left = params->window_left,
        .window_right = params->window_right,
        .query_offset = params->has_query_offset ? params->query_offset : KV_LEN - Q_LEN,
        .scale = 1 / sqrt(HEAD_DIM),
        .softcap = params->softcap,
        .query_segment_ids = params->segment_ids ? t->query_ids : NULL,
        .key_segment_ids = params->segment_ids ? t->key_ids : NULL,
        .bias = {params->bias.present ? t->bias : NULL, params->bias.per_batch, params->bias.per_head, params->bias.per_query},
        .alibi_slopes = params->alibi ? t->slopes : NULL,
        .sinks = params->sinks ? t->sinks : NULL,
        .dropout = params->dropout,
        .seed = UINT64_C(0x123456789abcdef),
    };
}

static void judge(const char *name, const char *tensor, struct error_gate gate, const float *result, const double *reference,
                  uint64_t count)
{
    const struct error_measure error = error_measure(result, reference, count);
    ck_assert_msg(gate_passes(&gate, &error), "%s: %s is off by %.3g (RMS), %.3g (largest)", name, tensor, error.rms, error.maximum);
}

static void compare(const char *name, const struct tensors *t, const struct vkring_plan_params *params)
{
    static double output[QUERIES * VALUE_DIM], query[QUERIES * HEAD_DIM], key[KEYS * HEAD_DIM], value[KEYS * VALUE_DIM], bias[BIASES];
    double sinks[HEADS];
    const struct error_gate gate = backward_gate(params->type);
    const struct reference_problem problem = reference_of(t, params);
    const struct reference_gradients gradients = {
        .query = query,
        .key = key,
        .value = value,
        .bias = params->bias.present ? bias : NULL,
        .sinks = params->sinks ? sinks : NULL,
    };
    ck_assert(reference_forward(&problem, t->query, t->key, t->value, 0, Q_LEN, output, NULL));
    ck_assert(reference_backward(&problem, t->query, t->key, t->value, t->output_grad, &gradients));
    judge(name, "output", forward_gate(params->type), t->output, output, QUERIES * VALUE_DIM);
    judge(name, "query_grad", gate, t->query_grad, query, QUERIES * HEAD_DIM);
    judge(name, "key_grad", gate, t->key_grad, key, KEYS * HEAD_DIM);
    judge(name, "value_grad", gate, t->value_grad, value, KEYS * VALUE_DIM);
    if (params->bias.present)
        judge(name, "bias_grad", gate, t->bias_grad, bias, t->biases);
    if (params->sinks)
        judge(name, "sink_grad", gate, t->sink_grad, sinks, HEADS);
}

static void run_case(int index, enum vkring_type type)
{
    const struct vkring_plan_params params = params_of(index, type);
    struct tensors *first = calloc(1, sizeof(*first)), *again = calloc(1, sizeof(*again));
    ck_assert(first && again);
    fill(first, &params);
    *again = *first;
    run(first, &params);
    compare(cases[index].name, first, &params);
    run(again, &params);
    ck_assert_msg(memcmp(first, again, sizeof(*first)) == 0, "%s: other bits in a second run", cases[index].name);
    free(first);
    free(again);
}

START_TEST(f32)
{
    run_case(_i, VKRING_TYPE_F32);
}
END_TEST

START_TEST(f16)
{
    run_case(_i, VKRING_TYPE_F16);
}
END_TEST

START_TEST(bf16)
{
    run_case(_i, VKRING_TYPE_BF16);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {f32, f16, bf16};
    struct vkring_device_info info;
    Suite *suite = suite_create("gradients");
    TCase *tcase = tcase_create("cases");
    device = test_device_open(NULL);
    vkring_device_get_info(device, &info);
    for (int i = 0; i < (info.f16 ? 3 : 1); i++)
        tcase_add_loop_test(tcase, tests[i], 0, sizeof(cases) / sizeof(cases[0]));
    suite_add_tcase(suite, tcase);
    return device_suite_run(suite, &device, 1);
}
