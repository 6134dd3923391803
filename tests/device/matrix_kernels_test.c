/* SPDX-License-Identifier: MIT */
/* Kernels on matrix units, by f16 and bf16 problems against the oracle. Few kernels: compilers of CPUs take seconds for each.
 * VKRING_KERNELS asks for them: matrix=1 unless it is set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <attention/matrix_tiles.h>

#include "../harness/attention_case.h"
#include "../harness/every_option.h"
#include "../harness/opened_device.h"

static vkring_device *device;

/* What VKRING_KERNELS asks for as each case begins. */
static char *usual_kernels;

static void ask_as_usual(void)
{
    setenv("VKRING_KERNELS", usual_kernels, 1);
}

/* A matrix of lavapipe's: where two side by side would show no more, one takes its compiler half as long. */
#define NARROW .head_dim = 8, .value_dim = 8

/* Dimensions that are 0 here are filled in, and what all have in common. */
static const struct attention_case of_both_types[] = {
    {.name = "plain", .params = {.backward = true, .q_len = 65, .kv_len = 333}},
    {.name = "one key", .params = {.backward = true, .q_len = 17, .kv_len = 1}},
    {.name = "one query", .params = {.backward = true, .q_len = 1, .kv_len = 5000}},
    {.name = "no keys", .params = {.backward = true, .q_len = 5, .kv_len = 0}},
    {.name = "heavy tail", .inputs = INPUTS_HEAVY_TAIL, .params = {.backward = true, .q_len = 65, .kv_len = 333}},
    {.name = "big logits", .inputs = INPUTS_BIG_LOGITS, .params = {.backward = true, .q_len = 65, .kv_len = 333}},
    {.name = "huge key", .inputs = INPUTS_HUGE_KEY, .params = {.backward = true, .q_len = 65, .kv_len = 333}},
    {.name = "block gaps", .inputs = INPUTS_BLOCK_GAPS, .params = {.backward = true, .q_len = 65, .kv_len = 333}},
    {.name = "values one", .inputs = INPUTS_VALUES_ONE, .params = {.q_len = 65, .kv_len = 333, NARROW}},
    {.name = "cut finely", .params = {.backward = true, .q_len = 200, .kv_len = 200, .dispatch_seconds = 1e-9}},
    {.name = "padded", .placement = {ORDER_PADDED, .padding = 4}, .params = {.backward = true, .q_len = 63, .kv_len = 65, NARROW}},
};

static const struct attention_case of_f16[] = {
    {.name = "heads before rows", .placement = {ORDER_HEADS_FIRST}, .params = {.q_len = 63, .kv_len = 65}},
    {.name = "one-hot",
     .inputs = INPUTS_ONE_HOT,
     .params = {.q_len = 65, .kv_len = 333, .causal = true, .has_query_offset = true, .query_offset = 64}},
    {.name = "rows that keep nothing",
     .params = {.q_len = 65, .kv_len = 65, .causal = true, .has_query_offset = true, .query_offset = -20}},
    {.name = "everything", .bias = BIAS_MASKS_SOME, .params = {.backward = true, .q_len = 61, .kv_len = 150, EVERY_OPTION(60)}},
    {.name = "unsorted segments",
     .segments = SEGMENTS_UNSORTED,
     .params = {.q_len = 61, .kv_len = 150, .segment_ids = true, .dropout = 0.5}},
    {.name = "bias of keys of all heads, cut finely",
     .params = {.backward = true, .q_len = 200, .kv_len = 70, .bias = {.present = true, .per_batch = true}, .dispatch_seconds = 1e-9}},
};

/* Of f16: more dimensions than registers hold, as far as kernels are told. */
static const struct vk_limit_overrides few_registers = {.matrix_columns = 24};
#define OF_FEW_REGISTERS                                                                                                                   \
    .head_dim = 21, .value_dim = 9, .causal = true, .bias = {.present = true, .type = VKRING_TYPE_F16, .per_query = true}
static const struct attention_case of_few_registers[] = {
    {.name = "odd dimensions", .params = {.backward = true, .q_len = 130, .kv_len = 75, OF_FEW_REGISTERS, .dispatch_seconds = 1e-9}},
    {.name = "off by one element",
     .placement = {.offset_elements = 1},
     .params = {.backward = true, .q_len = 33, .kv_len = 65, OF_FEW_REGISTERS}},
};

/* Of columns that parts of them fill, or not: with more parts CPUs' compilers take as much longer. */
static const struct attention_case in_parts[] = {
    {.name = "everything in parts",
     .bias = BIAS_MASKS_SOME,
     .params = {.backward = true, .q_len = 33, .kv_len = 65, EVERY_OPTION(30), .dispatch_seconds = 1e-9}},
    {.name = "odd dimensions in parts", .params = {.backward = true, .q_len = 33, .kv_len = 65, .head_dim = 21, .value_dim = 37}},
    {.name = "parts that only multiply", .params = {.backward = true, .q_len = 33, .kv_len = 65, .head_dim = 72, .dispatch_seconds = 1e-9}},
};

static const struct attention_case of_bf16[] = {
    {.name = "magnitudes", .inputs = INPUTS_MAGNITUDES, .params = {.backward = true, .q_len = 65, .kv_len = 333}},
    {.name = "everything, odd dimensions",
     .bias = BIAS_MASKS_SOME,
     .params = {.backward = true, .q_len = 61, .kv_len = 150, .head_dim = 21, .value_dim = 9, EVERY_OPTION(60)}},
};

/* By operations on matrices, of f16, gradients too where scores are their dot products. */
static const struct attention_case by_operations[] = {
    {.name = "plain", .params = {.backward = true, .q_len = 65, .kv_len = 333}},
    {.name = "heavy tail", .inputs = INPUTS_HEAVY_TAIL, .params = {.backward = true, .q_len = 65, .kv_len = 333}},
    {.name = "big logits", .inputs = INPUTS_BIG_LOGITS, .params = {.backward = true, .q_len = 65, .kv_len = 333}},
    {.name = "huge key", .inputs = INPUTS_HUGE_KEY, .params = {.backward = true, .q_len = 65, .kv_len = 333}},
    {.name = "block gaps", .inputs = INPUTS_BLOCK_GAPS, .params = {.backward = true, .q_len = 65, .kv_len = 333}},
    {.name = "no keys", .params = {.backward = true, .q_len = 5, .kv_len = 0}},
    {.name = "many blocks", .params = {.backward = true, .q_len = 9, .kv_len = 5000}},
    {.name = "cut finely", .params = {.backward = true, .q_len = 200, .kv_len = 200, .dispatch_seconds = 1e-9}},
    {.name = "values one", .inputs = INPUTS_VALUES_ONE, .params = {.q_len = 65, .kv_len = 333, NARROW}},
    {.name = "rows that keep nothing",
     .params = {.q_len = 65, .kv_len = 65, .causal = true, .has_query_offset = true, .query_offset = -20}},
    {.name = "everything but dropout", .bias = BIAS_MASKS_SOME, .params = {.q_len = 61, .kv_len = 150, EVERY_OPTION_BUT_DROPOUT(60)}},
    {.name = "a band, uneven dimensions",
     .params = {.backward = true,
                .q_len = 61,
                .kv_len = 150,
                .head_dim = 20,
                .value_dim = 9,
                .causal = true,
                .has_window = true,
                .window_left = 40}},
    {.name = "biased gradients", .bias = BIAS_MASKS_SOME, .params = {.backward = true, .q_len = 33, .kv_len = 65}},
};

/* asked: what the name of forward's kernel has to say. */
static void check(vkring_device *on, struct attention_case c, enum vkring_type type, const char *asked, int seed)
{
    struct case_data data = {0};
    struct case_result result = {0};
    c.seed = (uint64_t)seed;
    c.params.type = type;
    c.params.batch = 2;
    c.params.heads = 4;
    c.params.kv_heads = 2;
    c.params.head_dim = c.params.head_dim ? c.params.head_dim : 16;
    bool passes = case_make_data(&c, &data) && case_run(&c, on, NULL, &data, &result) && case_refer(&c, &data, &result.info.rows) &&
                  case_judge(&c, &data, &result);
    const bool operations = strcmp(asked, " operations") == 0;
    const bool ends = memchr(result.info.kernel, '\0', sizeof(result.info.kernel));
    bool as_asked = ends && strstr(result.info.kernel, "forward_matrix") && strstr(result.info.kernel, asked) &&
                    !strstr(result.info.kernel, " operations") == !operations;
    case_free_result(&result);
    case_free_data(&data);
    ck_assert_msg(passes, "%s", c.name);
    ck_assert_msg(as_asked, "%s ran on other kernels", c.name);
}

START_TEST(both_types_match_the_oracle)
{
    check(device, of_both_types[_i / 2], _i % 2 == 0 ? VKRING_TYPE_F16 : VKRING_TYPE_BF16, "", 4000 + _i);
}
END_TEST

START_TEST(f16_matches_the_oracle)
{
    check(device, of_f16[_i], VKRING_TYPE_F16, "", 4200 + _i);
}
END_TEST

START_TEST(bf16_matches_the_oracle)
{
    check(device, of_bf16[_i], VKRING_TYPE_BF16, "", 4300 + _i);
}
END_TEST

START_TEST(few_registers_hold_enough)
{
    vkring_device *other = test_device_open(&few_registers);
    for (size_t i = 0; i < sizeof(of_few_registers) / sizeof(of_few_registers[0]); i++)
        check(other, of_few_registers[i], VKRING_TYPE_F16, "", 4400 + (int)i);
    vkring_device_destroy(&other);
}
END_TEST

/* Of the kernels that are asked for beside those of VKRING_KERNELS. */
static void check_with(const char *words, vkring_device *on, const struct attention_case *c, enum vkring_type type, const char *asked,
                       int seed)
{
    char with[256];
    snprintf(with, sizeof(with), "%s %s", usual_kernels, words);
    setenv("VKRING_KERNELS", with, 1);
    check(on, *c, type, asked, seed);
    ask_as_usual();
}

static void check_with_operations(vkring_device *on, const struct attention_case *c, enum vkring_type type, bool operations, int seed)
{
    check_with("matrix_operations=1", on, c, type, operations ? " operations" : "", seed);
}

START_TEST(subgroups_share_columns)
{
    vkring_device *other = test_device_open(&few_registers);
    check_with("matrix_column_parts=2", other, &in_parts[0], VKRING_TYPE_BF16, " column_parts=2", 4700);
    check_with("matrix_column_parts=8 matrix_row_tiles=2 matrix_subgroups=8", other, &in_parts[1], VKRING_TYPE_F16, " column_parts=8",
               4701);
    check_with("matrix_column_parts=16 matrix_subgroups=16", other, &in_parts[2], VKRING_TYPE_F16, " column_parts=16 row_parts=8", 4702);
    vkring_device_destroy(&other);
}
END_TEST

START_TEST(operations_match_the_oracle)
{
    check_with("matrix_operations=1 matrix_loads_ahead=1", device, &by_operations[_i], VKRING_TYPE_F16, " operations", 4500 + _i);
}
END_TEST

/* Rows of whole octets; and of quads, which are not loaded ahead. */
START_TEST(lanes_have_what_was_loaded_ahead)
{
    const struct attention_case of_quads = {.name = "rows apart by quads",
                                            .placement = {ORDER_HEADS_FIRST, .padding = 4},
                                            .params = {.backward = true, .q_len = 33, .kv_len = 65, NARROW}};
    check_with("matrix_loads_ahead=1", device, &of_f16[4], VKRING_TYPE_F16, " loads_ahead", 4550);
    check_with("matrix_loads_ahead=1", device, &of_quads, VKRING_TYPE_F16, " loads_ahead", 4551);
}
END_TEST

/*
 * Columns that are staged with their rows one after the other: two octets of them, eight side by side, of odd elements, and in parts.
 * Gradients, of exact weights, are by kernels that other tests have, too.
 */
START_TEST(values_may_be_turned)
{
    const struct attention_case wide = {.name = "wide, turned",
                                        .placement = {ORDER_PADDED, .padding = 8},
                                        .params = {.q_len = 9, .kv_len = 65, .head_dim = 8, .value_dim = 64, .dropout = 0.5}};
    const struct attention_case odd = {.name = "off by an element, turned, in parts",
                                       .placement = {.offset_elements = 1},
                                       .params = {.q_len = 33, .kv_len = 70, .value_dim = 41, .causal = true, .segment_ids = true}};
    vkring_device *other = test_device_open(&few_registers);
    check_with("matrix_turns_values=1", device, &of_both_types[0], VKRING_TYPE_F16, " turns_values", 4800);
    check_with("matrix_turns_values=1", device, &wide, VKRING_TYPE_F16, " turns_values", 4801);
    check_with("matrix_turns_values=1 matrix_column_parts=2", other, &odd, VKRING_TYPE_F16, " few_registers turns_values", 4802);
    check_with("matrix_turns_values=1", device, &of_both_types[0], VKRING_TYPE_BF16, "", 4803);
    vkring_device_destroy(&other);
}
END_TEST

/* In whole matrices by the kernels that the library's self-test has, too. */
START_TEST(operations_match_with_few_registers)
{
    const struct attention_case whole = {.name = "causal", .params = {.backward = true, .q_len = 65, .kv_len = 333, .causal = true}};
    vkring_device *other = test_device_open(&few_registers);
    check_with_operations(other, &of_few_registers[0], VKRING_TYPE_F16, true, 4600);
    check_with_operations(other, &whole, VKRING_TYPE_F16, true, 4601);
    vkring_device_destroy(&other);
}
END_TEST

/* bf16 without such elements, dropout, and devices without. Kernels that other tests have, too. */
START_TEST(shared_memory_serves_where_operations_do_not)
{
    const struct vk_limit_overrides without = {.no_matrix_operations = true};
    vkring_device *other = test_device_open(&without);
    check_with_operations(device, &of_both_types[0], VKRING_TYPE_BF16, device->limits.bfloat16_shape.m > 0, 4700);
    check_with_operations(device, &of_f16[4], VKRING_TYPE_F16, false, 4701);
    check_with_operations(other, &of_both_types[0], VKRING_TYPE_F16, false, 4702);
    vkring_device_destroy(&other);
}
END_TEST

/* Asking for what is not there is no error: there are problems without such kernels, too. */
START_TEST(others_take_over)
{
    struct vk_limit_overrides overrides = {.no_matrices = true};
    vkring_device *other = _i == 0 ? test_device_open(&overrides) : device;
    const struct attention_case c = {
        .name = "others",
        .seed = 4100,
        .params = {.type = _i == 0 ? VKRING_TYPE_F16 : VKRING_TYPE_F32, .batch = 1, .q_len = 17, .kv_len = 33, .heads = 2, .head_dim = 16}};
    struct case_data data = {0};
    struct case_result result = {0};
    bool passes = case_make_data(&c, &data) && case_run(&c, other, NULL, &data, &result) && case_refer(&c, &data, &result.info.rows) &&
                  case_judge(&c, &data, &result);
    bool on_matrices = strstr(result.info.kernel, "forward_matrix");
    case_free_result(&result);
    case_free_data(&data);
    if (_i == 0)
        vkring_device_destroy(&other);
    ck_assert(passes && !on_matrices);
}
END_TEST

/* More rows to a subgroup than matrices have, all by itself, and longer steps. One case, forward: compilers of CPUs take long. */
START_TEST(wished_tiles_are_right)
{
    struct attention_case c = {.name = "wished tiles", .seed = 4200};
    struct case_data data = {0};
    struct case_result result = {0};
    c.params = (struct vkring_plan_params){.type = VKRING_TYPE_F16, .batch = 1, .q_len = 65, .kv_len = 333, .heads = 2, .head_dim = 8};
    setenv("VKRING_KERNELS", "matrix=1 matrix_row_tiles=2 matrix_subgroups=1 matrix_rows_per_step=16", 1);
    const bool passes = case_make_data(&c, &data) && case_run(&c, device, NULL, &data, &result) &&
                        case_refer(&c, &data, &result.info.rows) && case_judge(&c, &data, &result);
    /* on lavapipe's matrices of 8 rows */
    const bool as_wished = strstr(result.info.kernel, " tile_rows=16 rows_per_step=16 ") || device->limits.matrix_shapes[0].m != 8;
    ck_assert_msg(passes && as_wished, "%s", result.info.kernel);
    case_free_result(&result);
    case_free_data(&data);
}
END_TEST

/* In this build, and for the matrices that kernels choose: see matrix_tiles.c. */
static bool has_operations(void)
{
    const struct vkring_matrix_shape shape = matrix_tiles_shape(&device->limits);
    return device->limits.matrix_operations && shape.n == shape.k && spirv_matrix_kernel_by_operations(SPIRV_FORWARD, VKRING_TYPE_F16).code;
}

int main(void)
{
    Suite *suite = suite_create("matrix kernels");
    TCase *tcase = tcase_create("cases"), *parts = tcase_create("parts");
    setenv("VKRING_KERNELS", "matrix=1 matrix_operations=0", 0);
    usual_kernels = strdup(getenv("VKRING_KERNELS"));
    tcase_add_checked_fixture(tcase, ask_as_usual, NULL);
    tcase_add_checked_fixture(parts, ask_as_usual, NULL);
    device = test_device_open(NULL);
    if (device->limits.matrix_shape_count == 0 || !spirv_matrix_kernel(SPIRV_FORWARD, VKRING_TYPE_BF16).code) {
        printf("skipped: the device has no matrix units, or this build no kernels for them\n");
        vkring_device_destroy(&device);
        return TEST_SKIPPED;
    }
    tcase_add_loop_test(tcase, both_types_match_the_oracle, 0, 2 * sizeof(of_both_types) / sizeof(of_both_types[0]));
    tcase_add_loop_test(tcase, f16_matches_the_oracle, 0, sizeof(of_f16) / sizeof(of_f16[0]));
    tcase_add_loop_test(tcase, bf16_matches_the_oracle, 0, sizeof(of_bf16) / sizeof(of_bf16[0]));
    tcase_add_test(tcase, few_registers_hold_enough);
    tcase_add_test(parts, subgroups_share_columns);
    tcase_add_test(tcase, lanes_have_what_was_loaded_ahead);
    tcase_add_test(tcase, values_may_be_turned);
    tcase_add_loop_test(tcase, others_take_over, 0, 2);
    tcase_add_test(tcase, wished_tiles_are_right);
    if (has_operations()) {
        tcase_add_loop_test(tcase, operations_match_the_oracle, 0, sizeof(by_operations) / sizeof(by_operations[0]));
        tcase_add_test(tcase, operations_match_with_few_registers);
        tcase_add_test(tcase, shared_memory_serves_where_operations_do_not);
    }
    suite_add_tcase(suite, tcase);
    suite_add_tcase(suite, parts);
    const int status = device_suite_run(suite, &device, 1);
    free(usual_kernels);
    return status;
}
