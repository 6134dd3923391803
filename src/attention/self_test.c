/* SPDX-License-Identifier: MIT */
#include "self_test.h"

#include <math.h>
#include <stdlib.h>

#include "../vk/timeline.h"
#include "kernel.h"

/* Small, causal, grouped, cut over the keys, nothing divides anything. */
enum { Q_LEN = 37, KV_LEN = 53, FIRST_KEYS = 24, HEADS = 2 };
#define DEADLINE_SECONDS 60.0
#define CPU_DEADLINE_SECONDS 600.0
#define DISPATCH_SECONDS 0.1

enum {
    PITCH = SELF_TEST_MOST_DIM,
    QUERY = 0,
    KEY = Q_LEN * HEADS * PITCH,
    VALUE = KEY + KV_LEN * PITCH,
    OUTPUT = VALUE + KV_LEN * PITCH,
    ELEMENTS = OUTPUT + Q_LEN * HEADS * PITCH
};

static const struct problem known_problem = {
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

double self_test_deadline(const vkring_device *device)
{
    return device->info.kind == VKRING_DEVICE_CPU ? CPU_DEADLINE_SECONDS : DEADLINE_SECONDS;
}

uint32_t self_test_dim(const struct kernel_choice *choice)
{
    const struct matrix_tiles *matrices = kernel_choice_matrices(choice, SPIRV_FORWARD);
    return matrices && matrices->shape.n == 8 && matrices->shape.k == 8 ? 16 : SELF_TEST_MOST_DIM;
}

/* Multiples of 1/16 in [-1, 1): exact in every type. */
static void make_inputs(float *elements)
{
    uint32_t state = 1;
    for (int i = 0; i < OUTPUT; i++) {
        state = state * 1664525u + 1013904223u;
        elements[i] = (float)(int32_t)(state >> 27) / 16.0f - 1.0f;
    }
}

static void known_row(const float *elements, int dim, int row, int head, double *out)
{
    double weights[KV_LEN], sum = 0;
    int kept = row + KV_LEN - Q_LEN + 1;
    const float *query = elements + QUERY + (row * HEADS + head) * PITCH;
    for (int j = 0; j < kept; j++) {
        double score = 0;
        for (int d = 0; d < dim; d++)
            score += (double)query[d] * (double)elements[KEY + j * PITCH + d];
        weights[j] = exp(known_problem.scale * score);
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
    vkring_device *device;
    struct attention_kernel kernel;
    vkring_buffer *tensors, *state, *arguments;
    struct vk_command_pool pool;
    struct vk_timeline timeline;
    struct tiling tiling;
};

static void bench_close(struct bench *bench)
{
    if (!vk_timeline_settle(bench->device, &bench->timeline, self_test_deadline(bench->device)))
        return;
    vk_timeline_destroy(bench->device, &bench->timeline);
    vk_command_pool_destroy(bench->device, &bench->pool);
    vkring_buffer_destroy(&bench->arguments);
    vkring_buffer_destroy(&bench->state);
    vkring_buffer_destroy(&bench->tensors);
    attention_kernel_destroy(bench->device, &bench->kernel);
}

static enum vkring_status bench_open(vkring_device *device, const struct problem *problem, const struct kernel_choice *choice,
                                     struct bench *bench)
{
    enum vkring_status status;
    const uint64_t element_bytes = vkring_type_bytes(problem->type);
    *bench = (struct bench){.device = device};
    TRY(attention_kernel_create(device, SPIRV_FORWARD, problem, choice, (struct kernel_use){0}, &bench->kernel), fail);
    TRY(attention_kernel_prepare(device, problem, ALIGNED_ELEMENTS, &bench->kernel), fail);
    attention_kernel_tile(device, SPIRV_FORWARD, problem, choice, &(struct own_side){1, HEADS, Q_LEN}, KV_LEN, DISPATCH_SECONDS,
                          &bench->tiling);
    TRY(vkring_buffer_create(device, ELEMENTS * element_bytes, &bench->tensors), fail);
    TRY(vkring_buffer_create(device, tiling_workgroups(&bench->tiling) * bench->kernel.state_bytes_per_workgroup, &bench->state), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_ARGUMENTS, 2 * ARGUMENT_BYTES, &bench->arguments), fail);
    TRY(vk_command_pool_create(device, VK_QUEUE_COMPUTE, &bench->pool), fail);
    TRY(vk_timeline_create(device, &bench->timeline), fail);
    return VKRING_OK;
fail:
    bench_close(bench);
    return status;
}

static struct tensor_view view_at(const struct bench *bench, uint64_t element, uint64_t element_bytes, uint64_t heads)
{
    return (struct tensor_view){
        .buffer = bench->tensors,
        .address = bench->tensors->address + element * element_bytes,
        .row_stride = heads * PITCH * element_bytes,
        .head_stride = PITCH * element_bytes,
    };
}

/* The keys come in two dispatches, so that the state is written and read. */
static enum vkring_status run(struct bench *bench, const struct problem *problem, enum alignment alignment)
{
    enum vkring_status status;
    struct vk_commands commands = {0};
    const uint64_t bytes = vkring_type_bytes(problem->type);
    const struct query_tensors queries = {
        .query = view_at(bench, QUERY, bytes, HEADS), .output = view_at(bench, OUTPUT, bytes, HEADS), .rows = Q_LEN};
    const struct key_tensors keys = {.key = view_at(bench, KEY, bytes, 1), .value = view_at(bench, VALUE, bytes, 1), .keys = KV_LEN};
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
    struct vk_semaphore_value done = {bench->timeline.handle, bench->timeline.submitted + 1};
    const double deadline = self_test_deadline(bench->device);
    bool reached;

    TRY(vk_commands_begin(bench->device, &bench->pool, &commands), fail);
    attention_kernel_record(bench->device, &commands, &bench->kernel, alignment, &dispatch, bench->arguments, 0);
    vk_commands_barrier(bench->device, &commands);
    dispatch.other_first = FIRST_KEYS;
    dispatch.others = KV_LEN - FIRST_KEYS;
    dispatch.first = false;
    dispatch.last = true;
    attention_kernel_record(bench->device, &commands, &bench->kernel, alignment, &dispatch, bench->arguments, 1);
    vk_commands_barrier_to_host(bench->device, &commands);
    TRY(vk_commands_end(bench->device, &commands), fail);
    TRY(vk_submit(bench->device, VK_QUEUE_COMPUTE, &commands, NULL, 0, &done, 1), fail);
    bench->timeline.submitted = done.value;
    TRY(vk_timeline_wait(bench->device, &bench->timeline, done.value, deadline, &reached), fail);
    if (!reached)
        return status_fail(VKRING_ERROR_TIMEOUT, "the device did not finish the self-test in %.0f s", deadline);
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
    make_inputs(elements);
    for (int i = OUTPUT; i < ELEMENTS; i++)
        elements[i] = NAN;
    TRY(vkring_convert_from_f32(problem->type, elements, ELEMENTS, storage), fail);
    TRY(vkring_buffer_upload(bench->tensors, 0, storage, ELEMENTS * bytes), fail);
    TRY(run(bench, problem, alignment), fail);
    TRY(vkring_buffer_download(bench->tensors, OUTPUT * bytes, storage, (ELEMENTS - OUTPUT) * bytes), fail);
    TRY(vkring_convert_to_f32(problem->type, storage, ELEMENTS - OUTPUT, elements + OUTPUT), fail);
    *out_right = is_right(problem->type, (int)problem->head_dim, elements);
    return VKRING_OK;
fail:
    return status;
}

/* Forward as gradients need it is what self_test_backward() begins with, too. */
static enum vkring_status try_forward(vkring_device *device, enum vkring_type type, const struct kernel_choice *choice, bool for_gradients,
                                      bool *out_right)
{
    enum vkring_status status;
    struct problem problem = known_problem;
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

/* A compiler that refuses the kernels is as good as one that breaks them. */
enum vkring_status self_test_try(vkring_device *device, const struct problem *problem, const struct kernel_choice *choice, bool *out_right)
{
    enum vkring_status status = try_forward(device, problem->type, choice, problem->backward, out_right);
    if (status == VKRING_OK && *out_right && problem->backward)
        status = self_test_backward(device, problem->type, choice, out_right);
    if (status != VKRING_ERROR_DEVICE)
        return status;
    *out_right = false;
    return VKRING_OK;
}

/* Verdicts are bits of the device: one for each type and family, and for forward or backward. */
static unsigned verdict_bit(enum vkring_type type, enum kernel_family family, bool backward)
{
    return 1u << ((2 * (unsigned)type + (unsigned)backward) * KERNEL_FAMILIES + family);
}

static enum vkring_status verdict(vkring_device *device, enum vkring_type type, enum kernel_family family, bool backward, bool *out_right)
{
    const unsigned bit = verdict_bit(type, family, backward);
    struct problem problem = known_problem;

    if (!((atomic_load(&device->kernels_passed) | atomic_load(&device->kernels_failed)) & bit)) {
        problem.type = type;
        const struct kernel_choice choice = kernel_choice_of_family(device, &problem, family);
        const enum vkring_status status =
            backward ? self_test_backward(device, type, &choice, out_right) : try_forward(device, type, &choice, false, out_right);
        if (status == VKRING_ERROR_DEVICE && family != KERNELS_PORTABLE) /* as in self_test_try */
            *out_right = false;
        else if (status != VKRING_OK)
            return status;
        atomic_fetch_or(*out_right ? &device->kernels_passed : &device->kernels_failed, bit);
    }
    *out_right = (atomic_load(&device->kernels_passed) & bit) != 0;
    return VKRING_OK;
}

/* Of all that the problem needs. */
static enum vkring_status verdicts(vkring_device *device, const struct problem *problem, enum kernel_family family, bool *out_right)
{
    enum vkring_status status;
    TRY(verdict(device, problem->type, family, false, out_right), fail);
    if (*out_right && problem->backward)
        TRY(verdict(device, problem->type, family, true, out_right), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status self_test_type(const vkring_device *device, const struct problem *problem)
{
    if (problem->type != VKRING_TYPE_F32 && !device->limits.storage_16bit)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "%s has no 16-bit storage for f16 and bf16 tensors", device->info.name);
    return VKRING_OK;
}

enum vkring_status self_test_choose(vkring_device *device, const struct problem *problem, struct kernel_choice *out_choice,
                                    bool *out_portable)
{
    enum vkring_status status;
    bool right = false;
    TRY(self_test_type(device, problem), fail);
    for (enum kernel_family family = kernel_choice_best_family(device, problem); family < KERNEL_FAMILIES; family++) {
        TRY(verdicts(device, problem, family, &right), fail);
        if (right) {
            *out_choice = kernel_choice_of_family(device, problem, family);
            *out_portable = family == KERNELS_PORTABLE;
            return VKRING_OK;
        }
        log_line(&device->log, VKRING_LOG_WARNING, "%s: the kernels of choice give wrong results; trying others", device->info.name);
    }
    return status_fail(VKRING_ERROR_SELF_TEST, "%s (%s) computes wrong results: the self-test failed", device->info.name,
                       device->info.driver);
fail:
    return status;
}

static enum vkring_status admit(vkring_device *device, vkring_device **out_device)
{
    struct kernel_choice choice;
    bool portable;
    enum vkring_status status = self_test_choose(device, &known_problem, &choice, &portable);
    if (status != VKRING_OK) {
        vkring_device_destroy(&device);
        return status;
    }
    *out_device = device;
    return VKRING_OK;
}

enum vkring_status vkring_device_create(const struct vkring_device_params *params, vkring_device **out_device)
{
    vkring_device *device = NULL;
    enum vkring_status status = vk_device_open(params, NULL, &device);
    return status == VKRING_OK ? admit(device, out_device) : status;
}

enum vkring_status vkring_device_create_from_vulkan(const struct vkring_vulkan_params *params, vkring_device **out_device)
{
    vkring_device *device = NULL;
    enum vkring_status status = vk_device_open_from_vulkan(params, NULL, &device);
    return status == VKRING_OK ? admit(device, out_device) : status;
}
