/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "kernel.h"
#include "self_test.h"
#include "self_test_run.h"

/* Small, causal, grouped, cut over the keys, nothing divides anything. */
enum { Q_LEN = 37, KV_LEN = 53, FIRST_KEYS = 24, HEADS = 2 };
#define DISPATCH_SECONDS 0.1

enum {
    PITCH = SELF_TEST_MOST_DIM,
    QUERY = 0,
    KEY = Q_LEN * HEADS * PITCH,
    VALUE = KEY + KV_LEN * PITCH,
    OUTPUT = VALUE + KV_LEN * PITCH,
    ELEMENTS = OUTPUT + Q_LEN * HEADS * PITCH
};

const struct problem self_test_problem = {
    .batch = 1,
    .q_len = Q_LEN,
    .kv_len = KV_LEN,
    .heads = HEADS,
    .kv_heads = 1,
    .head_dim = SELF_TEST_MOST_DIM,
    .value_dim = SELF_TEST_MOST_DIM,
    .causal = true,
    .causal_block = 1,
    .window_left = -1,
    .window_right = -1,
    .query_offset = KV_LEN - Q_LEN,
    .scale = 0.5,
};

static void known_row(const float *elements, int dim, int row, int head, double *out)
{
    double weights[KV_LEN], sum = 0;
    int kept = row + KV_LEN - Q_LEN + 1;
    const float *query = elements + QUERY + (row * HEADS + head) * PITCH;
    for (int j = 0; j < kept; j++) {
        double score = 0;
        for (int d = 0; d < dim; d++)
            score += (double)query[d] * (double)elements[KEY + j * PITCH + d];
        weights[j] = exp(self_test_problem.scale * score);
        sum += weights[j];
    }
    for (int d = 0; d < dim; d++) {
        out[d] = 0;
        for (int j = 0; j < kept; j++)
            out[d] += weights[j] / sum * (double)elements[VALUE + j * PITCH + d];
    }
}

static bool is_right(enum vkring_type type, int dim, const float *elements)
{
    const double allowed = type == VKRING_TYPE_F32 ? 1e-4 : type == VKRING_TYPE_F16 ? 4e-3 : 3e-2;
    for (int row = 0; row < Q_LEN; row++)
        for (int head = 0; head < HEADS; head++) {
            double known[PITCH];
            known_row(elements, dim, row, head, known);
            for (int d = 0; d < dim; d++)
                if (!(fabs((double)elements[OUTPUT + (row * HEADS + head) * PITCH + d] - known[d]) <= allowed))
                    return false;
        }
    return true;
}

struct bench {
    struct self_test_run run;
    struct attention_kernel kernel;
    struct tiling tiling;
    vkring_buffer *tensors, *state;
};

static void bench_close(struct bench *bench)
{
    if (!self_test_run_close(&bench->run))
        return;
    vkring_buffer_destroy(&bench->state);
    vkring_buffer_destroy(&bench->tensors);
    attention_kernel_destroy(bench->run.device, &bench->kernel);
}

static enum vkring_status bench_open(vkring_device *device, const struct problem *problem, const struct kernel_choice *choice,
                                     struct bench *bench)
{
    enum vkring_status status;
    const uint64_t element_bytes = vkring_type_bytes(problem->type);
    *bench = (struct bench){0};
    TRY(self_test_run_open(device, 2, &bench->run), fail);
    TRY(attention_kernel_create(device, SPIRV_FORWARD, problem, choice, (struct kernel_use){0}, &bench->kernel), fail);
    TRY(attention_kernel_prepare(device, problem, ALIGNED_ELEMENTS, &bench->kernel), fail);
    attention_kernel_tile(device, SPIRV_FORWARD, problem, choice, &(struct own_side){1, HEADS, Q_LEN}, KV_LEN, DISPATCH_SECONDS,
                          &bench->tiling);
    TRY(vkring_buffer_create(device, ELEMENTS * element_bytes, &bench->tensors), fail);
    TRY(vkring_buffer_create(device, tiling_workgroups(&bench->tiling) * bench->kernel.state_bytes_per_workgroup, &bench->state), fail);
    return VKRING_OK;
fail:
    bench_close(bench);
    return status;
}

/* The keys come in two dispatches, so that the state is written and read. */
static enum vkring_status attend(struct bench *bench, const struct problem *problem, enum alignment alignment)
{
    enum vkring_status status;
    struct vk_commands commands;
    vkring_device *device = bench->run.device;
    const struct query_tensors queries = {.query = self_test_view(bench->tensors, problem->type, QUERY, HEADS),
                                          .output = self_test_view(bench->tensors, problem->type, OUTPUT, HEADS),
                                          .rows = Q_LEN};
    const struct key_tensors keys = {.key = self_test_view(bench->tensors, problem->type, KEY, 1),
                                     .value = self_test_view(bench->tensors, problem->type, VALUE, 1),
                                     .keys = KV_LEN};
    struct attention_dispatch dispatch = {
        .problem = problem,
        .queries = &queries,
        .keys = &keys,
        .box = tiling_box_at(&bench->tiling, 0),
        .others = FIRST_KEYS,
        .first = true,
        .state_address = bench->state->address,
        .state_bytes_per_workgroup = bench->kernel.state_bytes_per_workgroup,
    };
    TRY(self_test_run_begin(&bench->run, &commands), fail);
    attention_kernel_record(device, &commands, &bench->kernel, alignment, &dispatch, bench->run.arguments, 0);
    vk_commands_barrier(device, &commands);
    dispatch.other_first = FIRST_KEYS;
    dispatch.others = KV_LEN - FIRST_KEYS;
    dispatch.first = false;
    dispatch.last = true;
    attention_kernel_record(device, &commands, &bench->kernel, alignment, &dispatch, bench->run.arguments, 1);
    TRY(self_test_run_finish(&bench->run, &commands), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status try_pipeline(struct bench *bench, const struct problem *problem, enum alignment alignment, bool *out_right)
{
    enum vkring_status status;
    const uint64_t bytes = vkring_type_bytes(problem->type);
    float elements[ELEMENTS];
    uint32_t storage[ELEMENTS];
    self_test_inputs(OUTPUT, elements);
    for (int i = OUTPUT; i < ELEMENTS; i++)
        elements[i] = NAN;
    TRY(vkring_convert_from_f32(problem->type, elements, ELEMENTS, storage), fail);
    TRY(vkring_buffer_upload(bench->tensors, 0, storage, ELEMENTS * bytes), fail);
    TRY(attend(bench, problem, alignment), fail);
    TRY(vkring_buffer_download(bench->tensors, OUTPUT * bytes, storage, (ELEMENTS - OUTPUT) * bytes), fail);
    TRY(vkring_convert_to_f32(problem->type, storage, ELEMENTS - OUTPUT, elements + OUTPUT), fail);
    *out_right = is_right(problem->type, (int)problem->head_dim, elements);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status self_test_forward(vkring_device *device, enum vkring_type type, const struct kernel_choice *choice, bool for_gradients,
                                     bool *out_right)
{
    enum vkring_status status;
    struct problem problem = self_test_problem;
    struct bench bench;
    bool aligned_right = false, general_right = false;
    problem.type = type;
    problem.backward = for_gradients;
    problem.head_dim = problem.value_dim = self_test_dim(choice);
    TRY(bench_open(device, &problem, choice, &bench), fail);
    status = try_pipeline(&bench, &problem, problem_alignment(&problem), &aligned_right);
    if (status == VKRING_OK)
        status = try_pipeline(&bench, &problem, ALIGNED_ELEMENTS, &general_right);
    bench_close(&bench);
    *out_right = aligned_right && general_right;
fail:
    return status;
}
