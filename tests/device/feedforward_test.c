/* SPDX-License-Identifier: MIT */
/* The feed-forward layer on a device: all forms and types, sizes that nothing divides, and what it promises of memory, bits and errors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vk/timeline.h>

#include "../harness/dice.h"
#include "../harness/feedforward_case.h"
#include "../harness/loose_order.h"
#include "../harness/opened_device.h"

static vkring_device *device;

static bool is_supported(enum vkring_type type)
{
    return type == VKRING_TYPE_F32 || device->limits.storage_16bit;
}

/* Forms: an activation, gated or not. */
enum { ACTIVATIONS = VKRING_ACTIVATION_SILU + 1, FORMS = 2 * ACTIVATIONS };

START_TEST(every_form)
{
    const struct feedforward_case c = {
        .name = vkring_activation_string((enum vkring_activation)(_i % ACTIVATIONS)),
        .seed = (uint64_t)_i,
        .params = {.rows = 37,
                   .model_dim = 20,
                   .hidden_dim = 28,
                   .output_dim = 16,
                   .activation = (enum vkring_activation)(_i % ACTIVATIONS),
                   .gated = _i >= ACTIVATIONS,
                   .hidden_bias = true,
                   .gate_bias = _i >= ACTIVATIONS,
                   .output_bias = true,
                   .backward = true,
                   .chunk_rows = 21},
    };
    ck_assert_msg(feedforward_passes(&c, device), "form %d", _i);
}
END_TEST

/* Where squares are past what f32 holds. */
START_TEST(activations_of_huge_numbers)
{
    const struct feedforward_case c = {
        .name = vkring_activation_string((enum vkring_activation)_i),
        .seed = (uint64_t)_i,
        .magnitude = 1e20f,
        .params = {.rows = 9, .model_dim = 4, .hidden_dim = 8, .activation = (enum vkring_activation)_i, .backward = true},
    };
    ck_assert_msg(feedforward_passes(&c, device), "activation %d", _i);
}
END_TEST

/* Every size in some types: compilers take longer than all else here. */
enum { F32 = 1 << VKRING_TYPE_F32, F16 = 1 << VKRING_TYPE_F16, BF16 = 1 << VKRING_TYPE_BF16 };

#define ALL_BIASES .hidden_bias = true, .gate_bias = true, .output_bias = true

static const struct {
    unsigned types;
    struct feedforward_case of;
} cases[] = {
    {F32 | BF16,
     {.name = "wide, whole quads",
      .params = {.rows = 50, .model_dim = 68, .hidden_dim = 132, .output_dim = 72, .activation = VKRING_ACTIVATION_SILU, .gated = true}}},
    {F32 | F16,
     {.name = "wide, odd",
      .params = {.rows = 19,
                 .model_dim = 67,
                 .hidden_dim = 131,
                 .output_dim = 65,
                 .activation = VKRING_ACTIVATION_SILU,
                 .gated = true,
                 ALL_BIASES}}},
    {F32, {.name = "very wide", .params = {.rows = 20, .model_dim = 8, .hidden_dim = 500, .activation = VKRING_ACTIVATION_RELU}}},
    {F32 | F16,
     {.name = "narrow",
      .params = {.rows = 7,
                 .model_dim = 3,
                 .hidden_dim = 2,
                 .output_dim = 1,
                 .activation = VKRING_ACTIVATION_GELU,
                 .gated = true,
                 ALL_BIASES,
                 .chunk_rows = 3}}},
    {F32, {.name = "one of everything", .params = {.rows = 1, .model_dim = 1, .hidden_dim = 1}}},
    {F16,
     {.name = "no rows",
      .params = {.model_dim = 3, .hidden_dim = 2, .output_dim = 1, .activation = VKRING_ACTIVATION_GELU, .gated = true, ALL_BIASES}}},
    {F32 | BF16,
     {.name = "padded rows, odd offsets",
      .placement = {ORDER_PADDED, .offset_elements = 3, .padding = 5},
      .params = {.rows = 33, .model_dim = 20, .hidden_dim = 24, .activation = VKRING_ACTIVATION_GELU, .chunk_rows = 16}}},
    {F32 | BF16, {.name = "linear", .params = {.rows = 50, .model_dim = 68, .output_dim = 72, .output_bias = true, .chunk_rows = 20}}},
    {F32,
     {.name = "linear, odd", .placement = {ORDER_PADDED, .offset_elements = 1}, .params = {.rows = 9, .model_dim = 13, .output_dim = 3}}},
    {F32, {.name = "linear, no rows", .params = {.model_dim = 8, .output_dim = 4, .output_bias = true}}},
    {F32,
     {.name = "heavy tails, cut finely",
      .heavy_tails = true,
      .params = {.rows = 70,
                 .model_dim = 20,
                 .hidden_dim = 28,
                 .output_dim = 16,
                 .activation = VKRING_ACTIVATION_GELU_TANH,
                 .hidden_bias = true,
                 .output_bias = true,
                 .dispatch_seconds = 1e-9}}},
};
enum { CASES = sizeof(cases) / sizeof(cases[0]) };

START_TEST(sizes_of_every_type)
{
    struct feedforward_case c = cases[_i % CASES].of;
    c.params.type = (enum vkring_type)(_i / CASES);
    c.params.backward = true;
    c.seed = (uint64_t)_i;
    if (cases[_i % CASES].types & 1u << c.params.type && is_supported(c.params.type))
        ck_assert_msg(feedforward_passes(&c, device), "%s, type %d", c.name, (int)c.params.type);
}
END_TEST

/* Sizes and forms of which there are few kernels. */
static struct feedforward_case random_case(uint64_t seed)
{
    static const uint64_t dims[] = {4, 5, 8, 13, 17, 20, 36};
    static const uint64_t rows[] = {1, 2, 15, 16, 17, 40, 64, 65};
    struct dice dice = {.seed = seed};
    const bool gated = throw_dice(&dice, 2) == 1, biased = throw_dice(&dice, 2) == 1;
    return (struct feedforward_case){
        .name = "random",
        .seed = seed,
        .heavy_tails = throw_dice(&dice, 4) == 0,
        .placement = {throw_dice(&dice, 2) ? ORDER_PACKED : ORDER_PADDED, .offset_elements = throw_dice(&dice, 3),
                      .padding = throw_dice(&dice, 5)},
        .params = {.type = (enum vkring_type)throw_dice(&dice, 3),
                   .rows = PICK(&dice, rows),
                   .model_dim = PICK(&dice, dims),
                   .hidden_dim = PICK(&dice, dims),
                   .output_dim = PICK(&dice, dims),
                   .activation = gated ? VKRING_ACTIVATION_SILU : VKRING_ACTIVATION_GELU,
                   .gated = gated,
                   .hidden_bias = biased,
                   .gate_bias = biased && gated,
                   .output_bias = biased,
                   .backward = true,
                   .chunk_rows = PICK(&dice, rows)},
    };
}

START_TEST(random_layers)
{
    const struct feedforward_case c = random_case(environment_number("VKRING_TEST_SEED", 2026) * 100000 + (uint64_t)_i);
    if (is_supported(c.params.type))
        ck_assert_msg(feedforward_passes(&c, device), "case %d", _i);
}
END_TEST

/* What every_form compiles. */
static const struct feedforward_case plain = {.name = "plain",
                                              .params = {.rows = 100,
                                                         .model_dim = 20,
                                                         .hidden_dim = 28,
                                                         .output_dim = 16,
                                                         .activation = VKRING_ACTIVATION_SILU,
                                                         .gated = true,
                                                         .hidden_bias = true,
                                                         .gate_bias = true,
                                                         .output_bias = true,
                                                         .backward = true,
                                                         .chunk_rows = 32}};

/* Of i = 1 on matrix units, where there are any. */
static struct feedforward_case plain_of(int i)
{
    struct feedforward_case c = plain;
    if (i == 1 && is_supported(VKRING_TYPE_F16)) {
        c.on_matrices = true;
        c.params.type = VKRING_TYPE_F16;
        c.params.kernels = "matrix=1";
    }
    return c;
}

static uint64_t device_bytes_now(void)
{
    struct vkring_memory_use use;
    vkring_device_get_memory_use(device, &use);
    return use.device_bytes + use.host_bytes;
}

START_TEST(it_takes_what_it_promised_and_runs_take_nothing)
{
    struct feedforward_data data;
    struct vkring_feedforward_info promised, info;
    struct vkring_memory_use use;
    vkring_feedforward *layer = NULL;
    ck_assert(feedforward_data_create(&plain, device, &data));
    const uint64_t before = device_bytes_now();
    ck_assert_int_eq(vkring_feedforward_measure(device, &plain.params, &promised), VKRING_OK);
    ck_assert_uint_eq(device_bytes_now(), before);
    ck_assert_int_eq(vkring_feedforward_create(device, &plain.params, &layer), VKRING_OK);
    vkring_feedforward_get_info(layer, &info);
    ck_assert_uint_eq(info.device_bytes, promised.device_bytes);
    ck_assert_uint_eq(info.chunk_rows, 32);
    ck_assert_uint_eq(device_bytes_now() - before, promised.device_bytes);
    vkring_device_reset_memory_peak(device);
    ck_assert_int_eq(vkring_feedforward_forward(layer, &data.io), VKRING_OK);
    ck_assert_int_eq(vkring_feedforward_backward(layer, &data.io, &data.gradients), VKRING_OK);
    vkring_device_get_memory_use(device, &use);
    ck_assert_uint_eq(use.device_peak_bytes + use.host_peak_bytes, before + promised.device_bytes);
    vkring_feedforward_destroy(&layer);
    ck_assert_ptr_null(layer);
    ck_assert_uint_eq(device_bytes_now(), before);
    feedforward_data_destroy(&data);
}
END_TEST

START_TEST(scratch_does_not_grow_with_rows)
{
    struct vkring_feedforward_params params = {
        .rows = 1024, .model_dim = 4096, .hidden_dim = 14336, .activation = VKRING_ACTIVATION_SILU, .gated = true};
    struct vkring_feedforward_info few, many;
    for (int backward = 0; backward < 2; backward++) {
        params.backward = backward;
        params.rows = 1024;
        ck_assert_int_eq(vkring_feedforward_measure(device, &params, &few), VKRING_OK);
        ck_assert_uint_ge(few.device_bytes, (backward ? 3 : 1) * (uint64_t)1024 * 14336 * sizeof(float));
        ck_assert_uint_le(few.device_bytes, (backward ? 3 : 1) * ((uint64_t)1024 * 14336 * sizeof(float) + 65536));
        for (params.rows = 2048; params.rows <= 262144; params.rows *= 2) {
            ck_assert_int_eq(vkring_feedforward_measure(device, &params, &many), VKRING_OK);
            ck_assert_uint_eq(many.device_bytes, few.device_bytes);
        }
    }
}
END_TEST

/* All that it writes, as bytes. */
static unsigned char *results(struct feedforward_data *data, uint64_t *out_bytes)
{
    unsigned char *all = NULL;
    *out_bytes = 0;
    for (int tensor = FEEDFORWARD_OUTPUT; tensor < FEEDFORWARD_TENSORS; tensor++) {
        struct tensor_image *image = &data->images[tensor];
        if (!image->tensor.buffer)
            continue;
        ck_assert(tensor_image_download(image));
        all = realloc(all, *out_bytes + image->bytes);
        ck_assert_ptr_nonnull(all);
        memcpy(all + *out_bytes, image->now, image->bytes);
        *out_bytes += image->bytes;
    }
    return all;
}

START_TEST(the_same_bits_again)
{
    const struct feedforward_case c = plain_of(_i);
    struct feedforward_data data;
    vkring_feedforward *layer = NULL;
    unsigned char *first = NULL;
    uint64_t bytes;
    ck_assert(feedforward_data_create(&c, device, &data));
    ck_assert_int_eq(vkring_feedforward_create(device, &c.params, &layer), VKRING_OK);
    for (int run = 0; run < 3; run++) {
        ck_assert(feedforward_data_reset(&data));
        ck_assert_int_eq(vkring_feedforward_forward(layer, &data.io), VKRING_OK);
        ck_assert_int_eq(vkring_feedforward_backward(layer, &data.io, &data.gradients), VKRING_OK);
        unsigned char *now = results(&data, &bytes);
        if (first)
            ck_assert_mem_eq(now, first, bytes);
        else
            first = now;
        if (now != first)
            free(now);
    }
    free(first);
    vkring_feedforward_destroy(&layer);
    feedforward_data_destroy(&data);
}
END_TEST

/* Each gradient alone is what it is beside the others, and nothing else is written. */
START_TEST(gradients_can_be_had_one_by_one)
{
    const struct feedforward_case c = plain_of(_i);
    struct feedforward_data data;
    vkring_feedforward *layer = NULL;
    uint64_t bytes, again_bytes;
    ck_assert(feedforward_data_create(&c, device, &data));
    ck_assert_int_eq(vkring_feedforward_create(device, &c.params, &layer), VKRING_OK);
    ck_assert_int_eq(vkring_feedforward_forward(layer, &data.io), VKRING_OK);
    ck_assert_int_eq(vkring_feedforward_backward(layer, &data.io, &data.gradients), VKRING_OK);
    unsigned char *together = results(&data, &bytes);
    ck_assert(feedforward_data_reset(&data));
    ck_assert_int_eq(vkring_feedforward_forward(layer, &data.io), VKRING_OK);
    const struct vkring_feedforward_gradients all = data.gradients;
    const struct vkring_feedforward_gradients each[] = {
        {all.output_grad, .input_grad = all.input_grad},
        {all.output_grad, .hidden_weight_grad = all.hidden_weight_grad},
        {all.output_grad, .gate_weight_grad = all.gate_weight_grad},
        {all.output_grad, .output_weight_grad = all.output_weight_grad},
        {all.output_grad, .hidden_bias_grad = all.hidden_bias_grad},
        {all.output_grad, .gate_bias_grad = all.gate_bias_grad},
        {all.output_grad, .output_bias_grad = all.output_bias_grad},
    };
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++)
        ck_assert_int_eq(vkring_feedforward_backward(layer, &data.io, &each[i]), VKRING_OK);
    unsigned char *apart = results(&data, &again_bytes);
    ck_assert_uint_eq(again_bytes, bytes);
    ck_assert_mem_eq(apart, together, bytes);
    free(together);
    free(apart);
    vkring_feedforward_destroy(&layer);
    feedforward_data_destroy(&data);
}
END_TEST

START_TEST(semaphores_of_the_application_are_used_once)
{
    struct feedforward_data data;
    vkring_feedforward *layer = NULL;
    struct vk_timeline ready = {0}, finished = {0};
    bool reached = false;
    ck_assert(feedforward_data_create(&plain, device, &data));
    ck_assert_int_eq(vkring_feedforward_create(device, &plain.params, &layer), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &ready), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &finished), VKRING_OK);
    const struct vk_semaphore_value is_ready = {ready.handle, 1};
    const struct vkring_vulkan_sync wait = {.wait = ready.handle, .wait_value = 1}, signal = {.signal = finished.handle, .signal_value = 1};
    ck_assert_int_eq(vk_submit(device, VK_QUEUE_COMPUTE, NULL, NULL, 0, &is_ready, 1), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_set_vulkan_sync(data.io.hidden_weight.buffer, &wait), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_set_vulkan_sync(data.io.output.buffer, &signal), VKRING_OK);
    ck_assert_int_eq(vkring_feedforward_forward(layer, &data.io), VKRING_OK);
    ck_assert_int_eq(vk_timeline_wait(device, &finished, 1, 60, &reached), VKRING_OK);
    ck_assert(reached);
    ck_assert_int_eq(vkring_feedforward_forward(layer, &data.io), VKRING_OK);
    ck_assert_int_eq(vkring_feedforward_backward(layer, &data.io, &data.gradients), VKRING_OK);
    ck_assert(feedforward_judge(&plain, &data));
    vkring_feedforward_destroy(&layer);
    vk_timeline_destroy(device, &ready);
    vk_timeline_destroy(device, &finished);
    feedforward_data_destroy(&data);
}
END_TEST

static void expect_refusal(const struct vkring_feedforward_params *params, enum vkring_status expected, const char *word)
{
    vkring_feedforward *layer = NULL;
    struct vkring_feedforward_info info;
    ck_assert_int_eq(vkring_feedforward_create(device, params, &layer), expected);
    ck_assert_ptr_null(layer);
    ck_assert_msg(strstr(vkring_last_error()->message, word), "'%s' does not tell of %s", vkring_last_error()->message, word);
    if (expected == VKRING_ERROR_INVALID_ARGUMENT)
        ck_assert_int_eq(vkring_feedforward_measure(device, params, &info), expected);
}

START_TEST(bad_params_are_refused_by_name)
{
    const struct vkring_feedforward_params good = {.rows = 4, .model_dim = 4, .hidden_dim = 4};
    struct vkring_feedforward_params bad = good;
    bad.model_dim = 0;
    expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "model_dim");
    bad = good;
    bad.hidden_dim = (1 << 23) + 1;
    expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "hidden_dim");
    bad.hidden_dim = 0;
    bad.gated = true;
    expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "without a hidden layer");
    bad.gated = false;
    bad.activation = VKRING_ACTIVATION_SILU;
    expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "without a hidden layer");
    bad.activation = VKRING_ACTIVATION_NONE;
    bad.hidden_bias = true;
    expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "without a hidden layer");
    bad = good;
    bad.output_dim = UINT64_MAX;
    expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "output_dim");
    bad = good;
    bad.rows = UINT64_MAX;
    expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "rows");
    bad = good;
    bad.chunk_rows = UINT64_MAX;
    expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "chunk_rows");
    bad = good;
    bad.type = (enum vkring_type)7;
    expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "type");
    bad = good;
    bad.activation = (enum vkring_activation)ACTIVATIONS;
    expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "activation");
    bad = good;
    bad.gate_bias = true;
    expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "gate_bias");
    const double bad_seconds[] = {-1, NAN, INFINITY};
    for (int i = 0; i < 3; i++) {
        bad = good;
        bad.timeout_seconds = bad_seconds[i];
        expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "timeout_seconds");
        bad = good;
        bad.dispatch_seconds = bad_seconds[i];
        expect_refusal(&bad, VKRING_ERROR_INVALID_ARGUMENT, "dispatch_seconds");
    }
}
END_TEST

static void expect_bad_io(vkring_feedforward *layer, const struct vkring_feedforward_io *io,
                          const struct vkring_feedforward_gradients *gradients, const char *words)
{
    const enum vkring_status status = gradients ? vkring_feedforward_backward(layer, io, gradients) : vkring_feedforward_forward(layer, io);
    ck_assert_int_eq(status, VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_msg(strstr(vkring_last_error()->message, words), "'%s' does not tell: %s", vkring_last_error()->message, words);
}

START_TEST(bad_matrices_are_refused_by_name_and_harm_nothing)
{
    struct feedforward_case c = plain;
    struct feedforward_data data;
    vkring_feedforward *layer = NULL;
    vkring_device *other = test_device_open(NULL);
    vkring_buffer *elsewhere = NULL;
    c.params.gated = c.params.gate_bias = false;
    ck_assert(feedforward_data_create(&c, device, &data));
    ck_assert_int_eq(vkring_buffer_create(other, vkring_buffer_size(data.gradients.input_grad.buffer), &elsewhere), VKRING_OK);
    ck_assert_int_eq(vkring_feedforward_create(device, &c.params, &layer), VKRING_OK);
    struct vkring_feedforward_io io = data.io;
    struct vkring_feedforward_gradients gradients = data.gradients;
    io.input.buffer = NULL;
    expect_bad_io(layer, &io, NULL, "input: buffer is null");
    io = data.io;
    io.hidden_weight.row_stride = c.params.hidden_dim - 1;
    expect_bad_io(layer, &io, NULL, "hidden_weight: row_stride");
    io.hidden_weight.row_stride = UINT64_MAX / 4;
    expect_bad_io(layer, &io, NULL, "hidden_weight: strides reach past");
    io = data.io;
    io.output.offset_bytes += 2;
    expect_bad_io(layer, &io, NULL, "output: offset_bytes");
    io = data.io;
    io.output_bias.offset_bytes = vkring_buffer_size(io.output_bias.buffer);
    expect_bad_io(layer, &io, NULL, "output_bias needs");
    gradients.gate_weight_grad = gradients.hidden_weight_grad;
    expect_bad_io(layer, &data.io, &gradients, "gate_weight_grad");
    gradients = data.gradients;
    gradients.input_grad.buffer = elsewhere;
    expect_bad_io(layer, &data.io, &gradients, "input_grad: the buffer is of another device");
    ck_assert_int_eq(vkring_feedforward_forward(layer, &data.io), VKRING_OK);
    ck_assert_int_eq(vkring_feedforward_backward(layer, &data.io, &data.gradients), VKRING_OK);
    ck_assert(feedforward_judge(&c, &data));
    vkring_feedforward_destroy(&layer);
    c.params.backward = false;
    ck_assert_int_eq(vkring_feedforward_create(device, &c.params, &layer), VKRING_OK);
    expect_bad_io(layer, &data.io, &data.gradients, "without backward");
    vkring_feedforward_destroy(&layer);
    feedforward_data_destroy(&data);
    vkring_buffer_destroy(&elsewhere);
    vkring_device_destroy(&other);
}
END_TEST

static const struct vk_limit_overrides poorer[] = {
    {.kind = VKRING_DEVICE_DISCRETE},
    {.max_workgroup_count = 2, .no_unified_memory = true, .not_coherent = true, .no_subgroup_shuffle = true, .no_timestamps = true},
};

START_TEST(answers_stay_right_on_poorer_devices)
{
    vkring_device *other = test_device_open(&poorer[_i]);
    loose_order_install(other, LATE_COPIES);
    struct feedforward_case c = plain;
    ck_assert(feedforward_passes(&c, other));
    c.params.model_dim = c.params.hidden_dim = 77;
    c.params.backward = false;
    ck_assert(feedforward_passes(&c, other));
    vkring_device_destroy(&other);
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
    const struct vk_limit_overrides small = {.max_buffer_bytes = 1 << 20}, no_16_bits = {.no_storage_16bit = true};
    struct vkring_feedforward_params params = {.rows = 1024, .model_dim = 20, .hidden_dim = 4096};
    vkring_device *usual = device;
    device = test_device_open(&small);
    expect_refusal(&params, VKRING_ERROR_OUT_OF_DEVICE_MEMORY, "");
    vkring_device_destroy(&device);
    device = test_device_open(&no_16_bits);
    params.type = VKRING_TYPE_BF16;
    expect_refusal(&params, VKRING_ERROR_UNSUPPORTED, "16-bit");
    vkring_device_destroy(&device);
    device = usual;
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("feed-forward");
    TCase *tcase = tcase_create("layers");
    device = test_device_open(NULL);
    tcase_add_loop_test(tcase, every_form, 0, FORMS);
    tcase_add_loop_test(tcase, activations_of_huge_numbers, 0, ACTIVATIONS);
    tcase_add_loop_test(tcase, sizes_of_every_type, 0, 3 * CASES);
    tcase_add_loop_test(tcase, random_layers, 0, (int)environment_number("VKRING_TEST_CASES", 8));
    tcase_add_loop_test(tcase, answers_stay_right_on_poorer_devices, 0, 2);
    tcase_add_loop_test(tcase, the_same_bits_again, 0, 2);
    tcase_add_loop_test(tcase, gradients_can_be_had_one_by_one, 0, 2);
    suite_add_tcase(suite, tcase);
    suite_add(suite, "memory", it_takes_what_it_promised_and_runs_take_nothing);
    suite_add(suite, "scratch", scratch_does_not_grow_with_rows);
    suite_add(suite, "semaphores", semaphores_of_the_application_are_used_once);
    suite_add(suite, "params", bad_params_are_refused_by_name);
    suite_add(suite, "matrices", bad_matrices_are_refused_by_name_and_harm_nothing);
    suite_add(suite, "fit", what_does_not_fit_is_refused);
    return device_suite_run(suite, &device, 1);
}
