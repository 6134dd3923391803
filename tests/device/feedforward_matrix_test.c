/* SPDX-License-Identifier: MIT */
/* The feed-forward layer on matrix units, where they are not used unless asked for, against the oracle. Few kernels: compilers of CPUs take
 * long. */
#include <feedforward/layer.h>
#include <ref/compare.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/feedforward_case.h"
#include "../harness/opened_device.h"

static vkring_device *device;

#define THROUGH_SHARED_MEMORY "matrix=1 matrix_operations=0"
#define BY_OPERATIONS "matrix=1 matrix_operations=1"
#define ON_MATRICES .kernels = THROUGH_SHARED_MEMORY, .backward = true

/* More than a tile of everything, in what nothing divides; and in whole quads. */
#define ODD .model_dim = 37, .hidden_dim = 69, .output_dim = 35, .chunk_rows = 40, ON_MATRICES
#define SWIGLU ODD, .activation = VKRING_ACTIVATION_SILU, .gated = true, .hidden_bias = true, .gate_bias = true, .output_bias = true
#define WHOLE .model_dim = 40, .hidden_dim = 72, .output_dim = 36, ON_MATRICES, .activation = VKRING_ACTIVATION_GELU
#define LINEAR .model_dim = 68, .output_dim = 40, ON_MATRICES

static const struct feedforward_case cases[] = {
    {.name = "SwiGLU, odd", .params = {.type = VKRING_TYPE_F16, .rows = 75, SWIGLU}},
    {.name = "SwiGLU, odd", .params = {.type = VKRING_TYPE_BF16, .rows = 75, SWIGLU}},
    {.name = "one row", .params = {.type = VKRING_TYPE_F16, .rows = 1, SWIGLU}},
    {.name = "no rows", .params = {.type = VKRING_TYPE_BF16, .rows = 0, SWIGLU}},
    {.name = "cut finely", .params = {.type = VKRING_TYPE_F16, .rows = 75, SWIGLU, .dispatch_seconds = 1e-9}},
    {.name = "padded, odd offsets",
     .placement = {ORDER_PADDED, .offset_elements = 3, .padding = 5},
     .params = {.type = VKRING_TYPE_BF16, .rows = 33, SWIGLU}},
    {.name = "GELU, whole quads", .params = {.type = VKRING_TYPE_F16, .rows = 70, WHOLE}},
    {.name = "a hidden layer past f16's range",
     .magnitude = 100,
     .hidden_magnitude = 1e4f,
     .params = {.type = VKRING_TYPE_F16, .rows = 70, WHOLE}},
    {.name = "a hidden layer below f16's range",
     .magnitude = 1e-2f,
     .hidden_magnitude = 1e-4f,
     .params = {.type = VKRING_TYPE_F16, .rows = 70, WHOLE}},
    {.name = "linear", .params = {.type = VKRING_TYPE_BF16, .rows = 50, LINEAR}},
    {.name = "heavy tails", .heavy_tails = true, .params = {.type = VKRING_TYPE_BF16, .rows = 50, LINEAR}},
    {.name = "huge", .magnitude = 1e30f, .params = {.type = VKRING_TYPE_BF16, .rows = 50, LINEAR}},
    {.name = "tiny", .magnitude = 1e-30f, .params = {.type = VKRING_TYPE_BF16, .rows = 50, LINEAR}},
    {.name = "narrow", .params = {.type = VKRING_TYPE_F16, .rows = 5, .model_dim = 3, .output_dim = 1, ON_MATRICES}},
};

static void check(struct feedforward_case c, int i, bool operations)
{
    struct vkring_feedforward_info info;
    c.on_matrices = true;
    c.seed = 7000 + (uint64_t)i;
    c.params.kernels = operations ? BY_OPERATIONS : THROUGH_SHARED_MEMORY;
    ck_assert_int_eq(vkring_feedforward_measure(device, &c.params, &info), VKRING_OK);
    ck_assert_msg(info.matrix_units && info.matrix_operations == operations, "%s would run on other kernels", c.name);
    ck_assert_msg(feedforward_passes(&c, device), "%s, type %d", c.name, (int)c.params.type);
}

START_TEST(layers_match_the_oracle)
{
    check(cases[_i], _i, false);
}
END_TEST

START_TEST(layers_by_operations_match_the_oracle)
{
    check(cases[_i], _i, true);
}
END_TEST

/* What it wrote stays in the images. */
static void run_with(struct feedforward_case c, const char *kernels, struct feedforward_data *data)
{
    vkring_feedforward *layer = NULL;
    struct vkring_feedforward_info info;
    c.params.kernels = kernels;
    ck_assert(feedforward_data_create(&c, device, data));
    ck_assert_int_eq(vkring_feedforward_create(device, &c.params, &layer), VKRING_OK);
    ck_assert_int_eq(vkring_feedforward_forward(layer, &data->io), VKRING_OK);
    ck_assert_int_eq(vkring_feedforward_backward(layer, &data->io, &data->gradients), VKRING_OK);
    vkring_feedforward_get_info(layer, &info);
    ck_assert(info.matrix_operations == (strcmp(kernels, BY_OPERATIONS) == 0));
    vkring_feedforward_destroy(&layer);
}

static float *values_of(struct tensor_image *image)
{
    float *values = malloc((tensor_image_count(image) + 1) * sizeof(float));
    ck_assert(values && tensor_image_download(image));
    tensor_image_get(image, values);
    return values;
}

/* The same sums, and the same that follows. */
static void check_alike(struct tensor_image *image, struct tensor_image *other, int tensor)
{
    const uint64_t count = tensor_image_count(image);
    float *values = values_of(image), *others = values_of(other);
    double *expected = malloc((count + 1) * sizeof(double));
    ck_assert(expected);
    for (uint64_t i = 0; i < count; i++)
        expected[i] = others[i];
    const struct error_measure error = error_measure(values, expected, count);
    ck_assert_msg(error.finite && error.rms < 1e-6 && error.maximum < 1e-5, "tensor %d: RMS %g, largest %g", tensor, error.rms,
                  error.maximum);
    free(expected);
    free(others);
    free(values);
}

START_TEST(operations_do_the_same)
{
    struct feedforward_data data, other;
    run_with(cases[_i], BY_OPERATIONS, &data);
    run_with(cases[_i], THROUGH_SHARED_MEMORY, &other);
    for (int tensor = FEEDFORWARD_OUTPUT; tensor < FEEDFORWARD_TENSORS; tensor++)
        if (data.images[tensor].tensor.buffer)
            check_alike(&data.images[tensor], &other.images[tensor], tensor);
    feedforward_data_destroy(&other);
    feedforward_data_destroy(&data);
}
END_TEST

/* Every product, not only the one that info tells of. */
static void check_products(vkring_device *of, const struct vkring_feedforward_params *params, bool few_registers)
{
    vkring_feedforward *layer = NULL;
    ck_assert_int_eq(vkring_feedforward_create(of, params, &layer), VKRING_OK);
    for (enum layer_product product = 0; product < LAYER_PRODUCTS; product++) {
        const struct gemm_matrices *matrices = &layer->products[product].tile.matrices;
        ck_assert_msg(!layer_has_product(&layer->params, product) || (matrices->shape.m > 0 && matrices->few_registers == few_registers),
                      "product %d", (int)product);
    }
    vkring_feedforward_destroy(&layer);
}

START_TEST(all_products_are_there)
{
    const struct vk_limit_overrides many_registers = {.lane_registers = 256};
    vkring_device *other = test_device_open(&many_registers);
    check_products(other, &cases[0].params, false);
    vkring_device_destroy(&other);
}
END_TEST

/* As on Intel's GPUs, and without being asked for: odd, and in whole quads. Little shared memory keeps steps short, which CPUs' compilers
 * take long for as it is. */
static const int few[] = {1, 6};

START_TEST(few_registers_hold_them)
{
    const struct vk_limit_overrides overrides = {.kind = VKRING_DEVICE_DISCRETE, .lane_registers = 128, .shared_memory_bytes = 20480};
    vkring_device *other = test_device_open(&overrides);
    struct feedforward_case c = cases[few[_i]];
    c.on_matrices = true;
    c.params.kernels = NULL;
    check_products(other, &c.params, true);
    const bool passes = feedforward_passes(&c, other);
    vkring_device_destroy(&other);
    ck_assert_msg(passes, "%s, type %d", c.name, (int)c.params.type);
}
END_TEST

START_TEST(others_take_over_from_operations)
{
    const struct vk_limit_overrides without = {.no_matrix_operations = true};
    vkring_device *other = test_device_open(&without);
    struct feedforward_case c = cases[0];
    struct vkring_feedforward_info info;
    c.params.kernels = BY_OPERATIONS;
    ck_assert_int_eq(vkring_feedforward_measure(other, &c.params, &info), VKRING_OK);
    const bool passes = feedforward_passes(&c, other);
    vkring_device_destroy(&other);
    ck_assert(info.matrix_units && !info.matrix_operations && passes);
}
END_TEST

/* Verdicts of a device whose answers were wrong, as gemm_self_test keeps them. */
START_TEST(wrong_answers_are_refused)
{
    vkring_device *other = test_device_open(NULL);
    vkring_feedforward *layer = NULL;
    struct vkring_feedforward_info info;
    struct vkring_feedforward_params params = cases[0].params;
    params.kernels = BY_OPERATIONS;
    atomic_fetch_or(&other->kernels_failed, 1u << (24 + 3 + VKRING_TYPE_F16));
    ck_assert_int_eq(vkring_feedforward_create(other, &params, &layer), VKRING_OK);
    vkring_feedforward_get_info(layer, &info);
    ck_assert(info.matrix_units && !info.matrix_operations && !layer->products[LAYER_OUTPUT].tile.matrices.operations);
    vkring_feedforward_destroy(&layer);
    vkring_device_destroy(&other);
}
END_TEST

/* Asking for what is not there is no error. */
static const struct vk_limit_overrides poorer[] = {{.no_matrices = true}, {.shared_memory_bytes = 512}};

START_TEST(others_take_over)
{
    vkring_device *other = test_device_open(&poorer[_i]);
    const struct feedforward_case c = {
        .name = "others", .params = {.type = VKRING_TYPE_F16, .rows = 9, .model_dim = 8, .output_dim = 4, .kernels = "matrix=1"}};
    struct vkring_feedforward_info info;
    ck_assert_int_eq(vkring_feedforward_measure(other, &c.params, &info), VKRING_OK);
    const bool passes = feedforward_passes(&c, other);
    vkring_device_destroy(&other);
    ck_assert(!info.matrix_units && passes);
}
END_TEST

static bool has_matrices(const char *words, enum vkring_type type)
{
    const struct vkring_feedforward_params params = {.type = type, .rows = 9, .model_dim = 8, .output_dim = 4, .kernels = words};
    struct vkring_feedforward_info info;
    return vkring_feedforward_measure(device, &params, &info) == VKRING_OK && info.matrix_units;
}

/* Where the device and this build have them. */
static bool has_operations(void)
{
    const struct vkring_feedforward_params params = {
        .type = VKRING_TYPE_F16, .rows = 9, .model_dim = 8, .output_dim = 4, .kernels = BY_OPERATIONS};
    struct vkring_feedforward_info info;
    return vkring_feedforward_measure(device, &params, &info) == VKRING_OK && info.matrix_operations;
}

/* Whatever the device is. */
START_TEST(operations_are_the_default_on_cpus)
{
    const struct vk_limit_overrides overrides = {.kind = _i == 0 ? VKRING_DEVICE_CPU : VKRING_DEVICE_DISCRETE};
    const struct vkring_feedforward_params params = {
        .type = VKRING_TYPE_F16, .rows = 9, .model_dim = 8, .output_dim = 4, .kernels = "matrix=1"};
    vkring_device *other = test_device_open(&overrides);
    struct vkring_feedforward_info info;
    ck_assert_int_eq(vkring_feedforward_measure(other, &params, &info), VKRING_OK);
    vkring_device_destroy(&other);
    ck_assert(info.matrix_units && info.matrix_operations == (_i == 0));
}
END_TEST

START_TEST(they_are_used_where_asked_for)
{
    const struct vkring_feedforward_params bad = {.rows = 9, .model_dim = 8, .output_dim = 4, .kernels = "matrices=1"};
    struct vkring_feedforward_info info;
    ck_assert(has_matrices("matrix=1", VKRING_TYPE_F16));
    ck_assert(has_matrices("keys_per_step=4 matrix matrix_subgroups=1", VKRING_TYPE_BF16));
    ck_assert(!has_matrices("matrix=0", VKRING_TYPE_F16));
    ck_assert(!has_matrices("matrix=1", VKRING_TYPE_F32));
    ck_assert(device->info.kind != VKRING_DEVICE_CPU || !has_matrices(NULL, VKRING_TYPE_F16));
    setenv("VKRING_KERNELS", "matrix=1", 1);
    ck_assert(has_matrices("matrix=0", VKRING_TYPE_F16));
    unsetenv("VKRING_KERNELS");
    ck_assert_int_eq(vkring_feedforward_measure(device, &bad, &info), VKRING_ERROR_INVALID_ARGUMENT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("feed-forward on matrix units");
    TCase *tcase = tcase_create("layers"), *small = tcase_create("few registers");
    unsetenv("VKRING_KERNELS");
    device = test_device_open(NULL);
    if (!has_matrices("matrix=1", VKRING_TYPE_F16)) {
        printf("skipped: the device has no matrix units, or this build no kernels for them\n");
        vkring_device_destroy(&device);
        return TEST_SKIPPED;
    }
    tcase_add_loop_test(tcase, layers_match_the_oracle, 0, sizeof(cases) / sizeof(cases[0]));
    if (has_operations()) {
        tcase_add_loop_test(tcase, layers_by_operations_match_the_oracle, 0, sizeof(cases) / sizeof(cases[0]));
        tcase_add_loop_test(tcase, operations_do_the_same, 0, 2);
        tcase_add_test(tcase, others_take_over_from_operations);
        tcase_add_test(tcase, wrong_answers_are_refused);
        tcase_add_loop_test(tcase, operations_are_the_default_on_cpus, 0, 2);
    }
    tcase_add_test(tcase, all_products_are_there);
    tcase_add_loop_test(tcase, others_take_over, 0, sizeof(poorer) / sizeof(poorer[0]));
    tcase_add_test(tcase, they_are_used_where_asked_for);
    tcase_add_loop_test(small, few_registers_hold_them, 0, sizeof(few) / sizeof(few[0]));
    suite_add_tcase(suite, tcase);
    suite_add_tcase(suite, small);
    return device_suite_run(suite, &device, 1);
}
