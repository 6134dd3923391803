/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "kernel.h"
#include "self_test.h"
#include "self_test_run.h"

/* Small, causal, grouped, nothing divides anything. */
enum { Q_LEN = 21, KV_LEN = 29, HEADS = 2, PITCH = SELF_TEST_MOST_DIM };
#define DISPATCH_SECONDS 0.1

/* Elements of the one buffer that has all tensors of the type. */
enum {
    QUERY = 0,
    KEY = QUERY + Q_LEN * HEADS * PITCH,
    VALUE = KEY + KV_LEN * PITCH,
    OUTPUT_GRAD = VALUE + KV_LEN * PITCH,
    OUTPUT = OUTPUT_GRAD + Q_LEN * HEADS * PITCH,
    QUERY_GRAD = OUTPUT + Q_LEN * HEADS * PITCH,
    KEY_GRAD = QUERY_GRAD + Q_LEN * HEADS * PITCH,
    VALUE_GRAD = KEY_GRAD + KV_LEN * PITCH,
    ELEMENTS = VALUE_GRAD + KV_LEN * PITCH,
    INPUTS = OUTPUT
};

/* Floats of the one with what is a few numbers a row. */
enum {
    STATS = 0,
    LSE = 4 * Q_LEN * HEADS,
    RESIDUAL = LSE + Q_LEN * HEADS,
    QUERY_SUMS = (RESIDUAL + Q_LEN * HEADS + 3) / 4 * 4,
    SCORE_GRADS = QUERY_SUMS + Q_LEN * HEADS * PITCH,
    SCORE_ROWS = 320, /* of the widest tile of a CPU, and a step */
    FLOATS = SCORE_GRADS + HEADS * SCORE_ROWS * SCORE_ROWS
};

enum { PASSES = 4 };
struct pass {
    enum spirv_kernel kernel;
    enum dispatch_side side;
    uint64_t heads, rows, others;
};

/* by whether gradients of scores are kept */
static const struct pass passes_of[2][PASSES] = {
    {
        {SPIRV_FORWARD, OWN_QUERIES, HEADS, Q_LEN, KV_LEN},
        {SPIRV_ROW_STATS, OWN_QUERIES, HEADS, Q_LEN, 0},
        {SPIRV_QUERY_GRADIENT, OWN_QUERIES, HEADS, Q_LEN, KV_LEN},
        {SPIRV_KEY_GRADIENT, OWN_KEYS, 1, KV_LEN, Q_LEN},
    },
    {
        {SPIRV_FORWARD, OWN_QUERIES, HEADS, Q_LEN, KV_LEN},
        {SPIRV_ROW_STATS, OWN_QUERIES, HEADS, Q_LEN, 0},
        {SPIRV_KEY_GRADIENT, OWN_KEYS, 1, KV_LEN, Q_LEN},
        {SPIRV_QUERY_SUM, OWN_QUERIES, HEADS, Q_LEN, KV_LEN},
    },
};

static const struct problem known_problem = {
    .batch = 1,
    .q_len = Q_LEN,
    .kv_len = KV_LEN,
    .heads = HEADS,
    .kv_heads = 1,
    .causal = true,
    .causal_block = 1,
    .window_left = -1,
    .window_right = -1,
    .query_offset = KV_LEN - Q_LEN,
    .scale = 0.5,
    .backward = true,
};

static double dot(const float *a, const float *b, int dim)
{
    double sum = 0;
    for (int d = 0; d < dim; d++)
        sum += (double)a[d] * (double)b[d];
    return sum;
}

/* Adds what one row gives to gradients, in the places that they have among all elements. */
static void add_known_row(const float *elements, int dim, int row, int head, double *known)
{
    const int at = (row * HEADS + head) * PITCH, kept = row + KV_LEN - Q_LEN + 1;
    const float *query = elements + QUERY + at, *grad = elements + OUTPUT_GRAD + at;
    double weights[KV_LEN], slopes[KV_LEN], sum = 0, delta = 0;
    for (int j = 0; j < kept; j++) {
        weights[j] = exp(known_problem.scale * dot(query, elements + KEY + j * PITCH, dim));
        slopes[j] = dot(grad, elements + VALUE + j * PITCH, dim);
        sum += weights[j];
    }
    for (int j = 0; j < kept; j++) {
        weights[j] /= sum;
        delta += weights[j] * slopes[j];
    }
    for (int j = 0; j < kept; j++) {
        const double slope = known_problem.scale * weights[j] * (slopes[j] - delta);
        for (int d = 0; d < dim; d++) {
            known[QUERY_GRAD + at + d] += slope * (double)elements[KEY + j * PITCH + d];
            known[KEY_GRAD + j * PITCH + d] += slope * (double)query[d];
            known[VALUE_GRAD + j * PITCH + d] += weights[j] * (double)grad[d];
        }
    }
}

static bool is_right(enum vkring_type type, int dim, const float *elements)
{
    const double allowed = type == VKRING_TYPE_F32 ? 1e-4 : type == VKRING_TYPE_F16 ? 1e-2 : 8e-2;
    double known[ELEMENTS] = {0};
    for (int row = 0; row < Q_LEN; row++)
        for (int head = 0; head < HEADS; head++)
            add_known_row(elements, dim, row, head, known);
    for (int i = QUERY_GRAD; i < ELEMENTS; i++)
        if (i % PITCH < dim && !(fabs((double)elements[i] - known[i]) <= allowed * fmax(1, fabs(known[i]))))
            return false;
    return true;
}

struct bench {
    struct self_test_run run;
    struct problem problem;
    const struct pass *passes;
    bool keeps_score_grads;
    uint64_t tile_rows;
    struct attention_kernel kernels[PASSES];
    struct tiling tilings[PASSES];
    vkring_buffer *tensors, *floats, *state;
};

static void bench_close(struct bench *bench)
{
    if (!self_test_run_close(&bench->run))
        return;
    vkring_buffer_destroy(&bench->state);
    vkring_buffer_destroy(&bench->floats);
    vkring_buffer_destroy(&bench->tensors);
    for (int pass = 0; pass < PASSES; pass++)
        attention_kernel_destroy(bench->run.device, &bench->kernels[pass]);
}

static enum vkring_status bench_open(vkring_device *device, enum vkring_type type, const struct kernel_choice *choice, struct bench *bench)
{
    enum vkring_status status;
    uint64_t state_bytes = 0;
    *bench = (struct bench){
        .problem = known_problem,
        .passes = passes_of[choice->keeps_score_grads],
        .keeps_score_grads = choice->keeps_score_grads,
        .tile_rows = kernel_choice_tile_rows(choice),
    };
    bench->problem.type = type;
    bench->problem.head_dim = bench->problem.value_dim = self_test_dim(choice);
    TRY(self_test_run_open(device, PASSES, &bench->run), fail);
    for (int pass = 0; pass < PASSES; pass++) {
        const struct pass *of = &bench->passes[pass];
        const struct own_side own = {1, of->heads, of->rows};
        struct attention_kernel *kernel = &bench->kernels[pass];
        struct tiling *tiling = &bench->tilings[pass];
        TRY(attention_kernel_create(device, of->kernel, &bench->problem, choice, (struct kernel_use){0}, kernel), fail);
        attention_kernel_tile(device, of->kernel, &bench->problem, choice, &own, of->others, DISPATCH_SECONDS, tiling);
        const uint64_t bytes = tiling_workgroups(tiling) * kernel->state_bytes_per_workgroup;
        state_bytes = bytes > state_bytes ? bytes : state_bytes;
    }
    TRY(vkring_buffer_create(device, ELEMENTS * vkring_type_bytes(type), &bench->tensors), fail);
    TRY(vkring_buffer_create(device, FLOATS * sizeof(float), &bench->floats), fail);
    TRY(vkring_buffer_create(device, state_bytes, &bench->state), fail);
    return VKRING_OK;
fail:
    bench_close(bench);
    return status;
}

static struct tensor_view view_at(const struct bench *bench, uint64_t element, uint64_t heads)
{
    return self_test_view(bench->tensors, bench->problem.type, element, heads);
}

static struct tensor_view floats_at(const struct bench *bench, uint64_t first, uint64_t row_floats)
{
    return (struct tensor_view){
        .buffer = bench->floats,
        .address = bench->floats->address + first * sizeof(float),
        .row_stride = row_floats * sizeof(float),
        .head_stride = Q_LEN * row_floats * sizeof(float),
    };
}

/* As query gradients lie, in f32. */
static struct tensor_view query_sums(const struct bench *bench)
{
    struct tensor_view view = floats_at(bench, QUERY_SUMS, HEADS * PITCH);
    view.head_stride = PITCH * sizeof(float);
    return view;
}

static struct tensor_view score_grads(const struct bench *bench)
{
    struct tensor_view view = floats_at(bench, SCORE_GRADS, SCORE_ROWS);
    view.row_stride *= bench->tile_rows;
    view.head_stride = SCORE_ROWS * SCORE_ROWS * sizeof(float);
    return view;
}

static void record_pass(struct bench *bench, const struct vk_commands *commands, int pass)
{
    const struct query_tensors queries = {
        .query = view_at(bench, QUERY, HEADS),
        .output = view_at(bench, OUTPUT, HEADS),
        .output_grad = view_at(bench, OUTPUT_GRAD, HEADS),
        .query_grad = bench->keeps_score_grads ? query_sums(bench) : view_at(bench, QUERY_GRAD, HEADS),
        .lse = floats_at(bench, LSE, 1),
        .lse_residual = floats_at(bench, RESIDUAL, 1),
        .row_stats = floats_at(bench, STATS, 4),
        .rows = Q_LEN,
    };
    const struct key_tensors keys = {
        .key = view_at(bench, KEY, 1),
        .value = view_at(bench, VALUE, 1),
        .key_grad = view_at(bench, KEY_GRAD, 1),
        .value_grad = view_at(bench, VALUE_GRAD, 1),
        .keys = KV_LEN,
    };
    const struct attention_dispatch dispatch = {
        .problem = &bench->problem,
        .queries = &queries,
        .keys = &keys,
        .side = bench->passes[pass].side,
        .box = tiling_box_at(&bench->tilings[pass], 0),
        .others = bench->passes[pass].others,
        .first = true,
        .last = true,
        .state_address = bench->state->address,
        .state_bytes_per_workgroup = bench->kernels[pass].state_bytes_per_workgroup,
        .score_grads = score_grads(bench),
    };
    attention_kernel_record(bench->run.device, commands, &bench->kernels[pass], problem_alignment(&bench->problem), &dispatch,
                            bench->run.arguments, (uint64_t)pass);
    vk_commands_barrier(bench->run.device, commands);
}

static enum vkring_status differentiate(struct bench *bench)
{
    enum vkring_status status;
    struct vk_commands commands;
    TRY(self_test_run_begin(&bench->run, &commands), fail);
    for (int pass = 0; pass < PASSES; pass++)
        record_pass(bench, &commands, pass);
    TRY(self_test_run_finish(&bench->run, &commands), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status self_test_backward(vkring_device *device, enum vkring_type type, const struct kernel_choice *choice, bool *out_right)
{
    enum vkring_status status;
    struct bench bench;
    float elements[ELEMENTS];
    uint32_t storage[ELEMENTS];
    static const float zeros[Q_LEN * HEADS * PITCH];
    const uint64_t bytes = ELEMENTS * vkring_type_bytes(type);
    TRY(bench_open(device, type, choice, &bench), fail);
    self_test_inputs(INPUTS, elements);
    for (int i = INPUTS; i < ELEMENTS; i++)
        elements[i] = NAN;
    TRY(vkring_convert_from_f32(type, elements, ELEMENTS, storage), close);
    TRY(vkring_buffer_upload(bench.tensors, 0, storage, bytes), close);
    TRY(vkring_buffer_upload(bench.floats, QUERY_SUMS * sizeof(float), zeros, sizeof(zeros)), close);
    TRY(differentiate(&bench), close);
    TRY(vkring_buffer_download(bench.tensors, 0, storage, bytes), close);
    TRY(vkring_convert_to_f32(type, storage, ELEMENTS, elements), close);
    if (bench.keeps_score_grads)
        TRY(vkring_buffer_download(bench.floats, QUERY_SUMS * sizeof(float), elements + QUERY_GRAD, sizeof(zeros)), close);
    *out_right = is_right(type, (int)bench.problem.head_dim, elements);
close:
    bench_close(&bench);
fail:
    return status;
}
