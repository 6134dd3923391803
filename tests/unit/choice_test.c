/* SPDX-License-Identifier: MIT */
/* Choices of kernels in words: there and back, what is refused, and which choices are near. */
#include <stdio.h>
#include <string.h>

#include <attention/choice_text.h>
#include <attention/forward_choice.h>
#include <base/checked.h>

#include "../harness/suite.h"

static const struct problem problem = {.batch = 1, .q_len = 64, .kv_len = 64, .heads = 4, .kv_heads = 2, .head_dim = 64, .value_dim = 64};

static vkring_device gpu(void)
{
    vkring_device device = {.info = {.name = "a device", .kind = VKRING_DEVICE_DISCRETE}};
    device.limits = (struct vk_limits){
        .max_workgroup_count = {65535, 65535, 65535},
        .max_workgroup_invocations = 256,
        .subgroup_size = 32,
        .min_subgroup_size = 32,
        .max_subgroup_size = 64,
        .subgroup_size_control = true,
        .subgroup_shuffle = true,
        .lane_registers = 128,
    };
    return device;
}

/* With matrix units, and registers enough to use them. */
static vkring_device gpu_with_matrices(void)
{
    vkring_device device = gpu();
    device.limits.max_workgroup_invocations = 1024;
    device.limits.shared_memory_bytes = 65536;
    device.limits.lane_registers = 256;
    device.limits.matrix_shape_count = 1;
    device.limits.matrix_shapes[0] = (struct vkring_matrix_shape){16, 16, 16};
    return device;
}

static const struct problem halves = {.type = VKRING_TYPE_F16,
                                      .batch = 1,
                                      .q_len = 4096,
                                      .kv_len = 4096,
                                      .heads = 4,
                                      .kv_heads = 2,
                                      .head_dim = 64,
                                      .value_dim = 64,
                                      .backward = true};

START_TEST(words_go_there_and_back)
{
    const vkring_device device = gpu();
    const struct kernel_choice choice = kernel_choice_best(&device, &problem);
    struct kernel_choice other = kernel_choice_portable(&device);
    char words[CHOICE_TEXT], again[CHOICE_TEXT];
    choice_describe(&choice, words);
    ck_assert_int_eq(choice_parse(&device, &problem, words, &other), VKRING_OK);
    choice_describe(&other, again);
    ck_assert_str_eq(words, again);
    ck_assert_int_eq(choice_check(&device, &problem, &choice), VKRING_OK);
}
END_TEST

START_TEST(a_word_changes_what_it_names)
{
    const vkring_device device = gpu();
    const struct kernel_choice before = kernel_choice_best(&device, &problem);
    struct kernel_choice after = before;
    ck_assert_int_eq(choice_parse(&device, &problem, "  lanes_per_row=16\tfew_registers ", &after), VKRING_OK);
    ck_assert_uint_eq(after.lanes_per_row, 16);
    ck_assert(after.few_registers && after.shuffle);
    ck_assert_uint_eq(after.rows_per_lane, before.rows_per_lane);
    ck_assert_int_eq(choice_parse(&device, &problem, "few_registers=0 lanes_per_row=1", &after), VKRING_OK);
    ck_assert(!after.few_registers && !after.shuffle);
}
END_TEST

static const char *const unknown[] = {
    "lanes",
    "lanes_per_row",
    "lanes_per_row=",
    "lanes_per_row=x",
    "lanes_per_row=4x",
    "lanes_per_row=-4",
    "few_registers=2",
    "=4",
    "rows=2",
    "lanes_per_row=4,rows_per_lane=2",
    "lanes_per_row=99999999999",
};

START_TEST(a_word_that_is_none_is_named)
{
    const vkring_device device = gpu();
    struct kernel_choice choice = kernel_choice_best(&device, &problem);
    ck_assert_int_eq(choice_parse(&device, &problem, unknown[_i], &choice), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, unknown[_i]));
}
END_TEST

/* A CPU whose loads from one address serve all lanes. */
static vkring_device cpu(void)
{
    vkring_device device = gpu();
    device.info = (struct vkring_device_info){.name = "a CPU", .kind = VKRING_DEVICE_CPU, .driver = "llvmpipe (Mesa 26.1.6)"};
    device.limits.subgroup_size = device.limits.min_subgroup_size = device.limits.max_subgroup_size = 8;
    device.limits.subgroup_size_control = false;
    device.limits.integers_64bit = true;
    return device;
}

static const struct {
    enum vkring_type type;
    bool int8_keys;
    uint32_t dim, rows; /* that share their keys */
    uint32_t kv_heads;
    uint32_t lanes_per_row, rows_per_lane, keys_per_step, key_heads;
} shared[] = {
    {VKRING_TYPE_F32, false, 64, 1, 8, 2, 1, 2, 4},   {VKRING_TYPE_F32, false, 64, 1, 6, 4, 1, 4, 2},
    {VKRING_TYPE_F32, false, 64, 1, 1, 8, 1, 8, 1},   {VKRING_TYPE_F32, false, 64, 2, 4, 2, 2, 2, 4},
    {VKRING_TYPE_F32, false, 64, 2, 3, 8, 2, 8, 1},   {VKRING_TYPE_F32, false, 64, 3, 8, 1, 1, 4, 1},
    {VKRING_TYPE_F32, true, 64, 3, 4, 4, 2, 8, 1},    {VKRING_TYPE_F16, true, 64, 1, 8, 8, 1, 8, 1},
    {VKRING_TYPE_F16, false, 64, 2, 4, 2, 2, 4, 4},   {VKRING_TYPE_BF16, false, 64, 4, 2, 4, 4, 8, 2},
    {VKRING_TYPE_BF16, false, 64, 4, 1, 4, 2, 8, 1},  {VKRING_TYPE_F16, true, 64, 5, 4, 1, 1, 4, 1},
    {VKRING_TYPE_F32, false, 128, 1, 32, 2, 1, 1, 4}, {VKRING_TYPE_F32, false, 128, 4, 8, 8, 4, 4, 1},
    {VKRING_TYPE_F16, false, 128, 3, 8, 4, 4, 4, 2},  {VKRING_TYPE_F32, false, 66, 1, 4, 2, 1, 1, 4},
};

static struct problem few_rows(int i)
{
    struct problem few = problem;
    few.type = shared[i].type;
    few.int8_keys = shared[i].int8_keys;
    few.head_dim = few.value_dim = shared[i].dim;
    few.q_len = shared[i].rows;
    few.heads = few.kv_heads = shared[i].kv_heads;
    return few;
}

START_TEST(lanes_of_a_cpu_share_few_rows)
{
    vkring_device device = cpu();
    struct problem few = few_rows(_i);
    const struct kernel_choice choice = kernel_choice_best(&device, &few);
    ck_assert_uint_eq(choice.lanes_per_row, shared[_i].lanes_per_row);
    ck_assert_uint_eq(choice.rows_per_lane, shared[_i].rows_per_lane);
    ck_assert_uint_eq(choice.keys_per_step, shared[_i].keys_per_step);
    ck_assert_int_eq(choice.uniform_loads, shared[_i].lanes_per_row > 1);
    ck_assert_uint_eq(choice.keys_per_step_general, choice.uniform_loads ? choice.keys_per_step : 2);
    ck_assert_int_eq(choice_check(&device, &few, &choice), VKRING_OK);
    few.backward = true;
    ck_assert(!kernel_choice_best(&device, &few).uniform_loads);
    few.backward = false;
    device.limits.integers_64bit = false;
    ck_assert(!kernel_choice_best(&device, &few).uniform_loads);
}
END_TEST

START_TEST(lanes_of_a_cpu_have_rows_of_several_key_heads)
{
    const vkring_device device = cpu();
    struct problem few = few_rows(_i);
    const struct kernel_choice choice = kernel_choice_best(&device, &few), forward = forward_choice(&device, &few, &choice);
    ck_assert_uint_eq(kernel_choice_key_heads(&forward), shared[_i].key_heads);
    ck_assert_uint_eq(kernel_choice_packed_heads(&forward), shared[_i].key_heads);
    ck_assert_uint_ge(kernel_choice_tile_rows(&forward), min_u64(few.q_len, forward.rows_per_lane));
    few.bias = (struct vkring_bias_params){.present = true, .per_head = true};
    const struct kernel_choice biased = kernel_choice_best(&device, &few), apart = forward_choice(&device, &few, &biased);
    ck_assert_uint_eq(kernel_choice_key_heads(&apart), 1);
}
END_TEST

/* Of each key head; and none of several where there are more rows than lanes of one have. */
START_TEST(groups_of_several_key_heads_are_packed)
{
    const vkring_device device = cpu();
    struct problem few = problem;
    few.q_len = 1;
    few.heads = 16;
    few.kv_heads = 8;
    const struct kernel_choice choice = kernel_choice_best(&device, &few), forward = forward_choice(&device, &few, &choice);
    ck_assert_uint_eq(kernel_choice_key_heads(&forward), 4);
    ck_assert_uint_eq(kernel_choice_packed_heads(&forward), 8);
    ck_assert_uint_eq(kernel_choice_tile_rows(&forward), 1);
    few.q_len = 2;
    const struct kernel_choice more = forward_choice(&device, &few, &choice);
    ck_assert_uint_eq(kernel_choice_key_heads(&more), 1);
    ck_assert_uint_eq(kernel_choice_packed_heads(&more), 2);
}
END_TEST

/* Of f32, where many rows meet most keys of several heads. */
START_TEST(keys_of_a_cpu_are_copied_by_head)
{
    const vkring_device device = cpu(), other = gpu();
    struct problem many = problem;
    many.window_left = many.window_right = -1;
    ck_assert_uint_eq(kernel_choice_best(&device, &many).copy_worth_rows, 1024);
    ck_assert_uint_eq(kernel_choice_best(&other, &many).copy_worth_rows, 0);
    struct problem others[] = {many, many, many, many, many};
    others[0].window_left = 100;
    others[1].window_right = 100;
    others[2].segment_ids = true;
    others[3].type = VKRING_TYPE_F16;
    others[4].heads = others[4].kv_heads = 1;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        ck_assert_uint_eq(kernel_choice_best(&device, &others[i]).copy_worth_rows, 0);
}
END_TEST

static const struct {
    uint32_t dim;
    uint64_t rows; /* of queries, and of keys */
    bool backward, broadcast;
    uint32_t rows_per_lane, keys_per_step;
} together[] = {
    {64, 1024, false, false, 8, 1},  {64, 4096, false, true, 4, 2},   {64, 4096, true, true, 2, 2},
    {128, 2048, false, true, 2, 2},  {128, 4096, false, true, 4, 2},  {128, 4096, true, true, 2, 2},
    {256, 1024, false, false, 4, 1}, {256, 4096, false, false, 4, 2}, {256, 4096, true, false, 4, 2},
};

/* On drivers that read an address for each lane, as far as what there is to do is worth compiling more for. */
START_TEST(lanes_of_older_drivers_read_keys_together)
{
    vkring_device device = cpu();
    snprintf(device.info.driver, sizeof(device.info.driver), "llvmpipe (Mesa 25.0.7)");
    struct problem one = problem;
    one.heads = one.kv_heads = 8;
    one.head_dim = one.value_dim = together[_i].dim;
    one.q_len = one.kv_len = together[_i].rows;
    one.backward = together[_i].backward;
    const struct kernel_choice choice = kernel_choice_best(&device, &one);
    ck_assert_int_eq(choice.broadcast, together[_i].broadcast);
    ck_assert_uint_eq(choice.lanes_per_row, together[_i].broadcast ? 1 : 8);
    ck_assert_uint_eq(choice.rows_per_lane, together[_i].rows_per_lane);
    ck_assert_uint_eq(choice.keys_per_step, together[_i].keys_per_step);
    ck_assert_uint_eq(choice.keys_per_step_general, 1);
    ck_assert_int_eq(choice_check(&device, &one, &choice), VKRING_OK);
}
END_TEST

static const char *const beyond[] = {
    "subgroup=16",
    "subgroup=128",
    "subgroup=48",
    "workgroup=512",
    "workgroup=0",
    "workgroup=96",
    "lanes_per_row=0",
    "lanes_per_row=3",
    "lanes_per_row=64",
    "rows_per_lane=32",
    "rows_per_lane=3",
    "keys_per_step=0",
    "keys_per_step=32",
    "keys_per_step_general=5",
    "broadcast=1",
    "uniform_loads=1",
    "matrix_row_tiles=3",
    "matrix_row_tiles=16",
    "matrix_subgroups=5",
    "matrix_subgroups=32",
    "matrix_rows_per_step=24",
    "matrix_rows_per_step=256",
    "matrix_column_parts=3",
    "matrix_column_parts=32",
    "matrix_row_tiles=268435456",
};

START_TEST(what_the_device_cannot_do_is_named)
{
    const vkring_device device = gpu();
    struct kernel_choice choice = kernel_choice_best(&device, &problem);
    choice.subgroup_size = 0;
    ck_assert_int_eq(choice_parse(&device, &problem, beyond[_i], &choice), VKRING_OK);
    ck_assert_int_eq(choice_check(&device, &problem, &choice), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, beyond[_i]));
}
END_TEST

START_TEST(neighbours_can_be_run_and_differ)
{
    const vkring_device device = gpu();
    const struct kernel_choice choice = kernel_choice_best(&device, &problem);
    struct kernel_choice neighbours[CHOICE_NEIGHBOURS];
    char words[CHOICE_NEIGHBOURS + 1][CHOICE_TEXT];
    const uint32_t count = choice_neighbours(&device, &problem, &choice, neighbours);
    ck_assert_uint_gt(count, 20);
    choice_describe(&choice, words[count]);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(choice_check(&device, &problem, &neighbours[i]), VKRING_OK);
        choice_describe(&neighbours[i], words[i]);
        ck_assert(!neighbours[i].keeps_score_grads); /* of no use without backward */
        ck_assert_uint_eq(neighbours[i].keys_per_step_general, choice.keys_per_step_general);
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i + 1; j <= count; j++)
            ck_assert_str_ne(words[i], words[j]);
}
END_TEST

START_TEST(what_lies_between_is_on_the_way)
{
    const vkring_device device = gpu();
    const struct kernel_choice from = kernel_choice_best(&device, &problem);
    struct kernel_choice half = from, whole = from, aside = from;
    half.lanes_per_row *= 2;
    whole.lanes_per_row = half.lanes_per_row;
    whole.rows_per_lane *= 2;
    aside.lanes_per_row *= 4;
    ck_assert(choice_lies_between(&from, &half, &whole) && choice_lies_between(&from, &from, &whole));
    ck_assert(!choice_lies_between(&from, &aside, &whole) && !choice_lies_between(&from, &whole, &half));
}
END_TEST

/* Of each kernel on matrix units. */
static void check_room(const vkring_device *device, const struct kernel_choice *choice)
{
    for (enum spirv_kernel which = 0; which < SPIRV_KERNELS; which++) {
        const struct matrix_tiles *tiles = kernel_choice_matrices(choice, which);
        if (tiles) {
            ck_assert_uint_le(matrix_tiles_shared_bytes(which, tiles, &halves), device->limits.shared_memory_bytes);
            ck_assert_uint_le(matrix_tiles_workgroup_size(tiles), device->limits.max_workgroup_invocations);
            ck_assert_uint_ge(tiles->rows_per_step, 4 * tiles->lanes_per_row);
        }
    }
}

START_TEST(tiles_of_matrix_units_are_words)
{
    const vkring_device device = gpu_with_matrices();
    struct kernel_choice choice = kernel_choice_best(&device, &halves);
    const struct matrix_tiles *forward = &choice.matrices[SPIRV_FORWARD];
    ck_assert(choice.matrix);
    ck_assert_uint_eq(matrix_tiles_row_tiles(forward), 1);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_row_tiles=2 matrix_subgroups=2 matrix_rows_per_step=16", &choice), VKRING_OK);
    ck_assert_int_eq(choice_check(&device, &halves, &choice), VKRING_OK);
    ck_assert_uint_eq(matrix_tiles_rows(forward), 64);
    ck_assert_uint_eq(matrix_tiles_workgroup_size(forward), 64);
    ck_assert_uint_eq(forward->rows_per_step, 16);
    ck_assert_uint_eq(choice.matrices[SPIRV_KEY_GRADIENT].rows_per_step, 16);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_row_tiles=8 matrix_subgroups=16 matrix_rows_per_step=128", &choice), VKRING_OK);
    ck_assert_int_eq(choice_check(&device, &halves, &choice), VKRING_OK);
    ck_assert(choice.matrix && forward->shape.m);
    check_room(&device, &choice);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_row_tiles=0 matrix_subgroups=0 matrix_rows_per_step=0", &choice), VKRING_OK);
    const struct kernel_choice best = kernel_choice_best(&device, &halves);
    ck_assert(matrix_tiles_equal(forward, &best.matrices[SPIRV_FORWARD]));
}
END_TEST

/* As those of Intel, whose subgroups have so many lanes; matrices of f16 are 8 high, 16 deep, and as wide. */
static vkring_device gpu_of_few_registers(uint32_t lanes)
{
    vkring_device device = gpu_with_matrices();
    device.limits.lane_registers = 128;
    device.limits.subgroup_size = device.limits.min_subgroup_size = lanes;
    device.limits.shared_memory_bytes = 49152;
    device.limits.matrix_shapes[0] = (struct vkring_matrix_shape){8, lanes, 16};
    return device;
}

/* Forward of a head's dimensions, with rows that lanes find again at each step. */
static bool is_on_matrix_units(const vkring_device *device, const struct problem *of)
{
    const struct kernel_choice best = kernel_choice_best(device, of);
    const struct matrix_tiles *forward = kernel_choice_matrices(&best, SPIRV_FORWARD);
    ck_assert(!forward || forward->few_registers);
    return forward;
}

START_TEST(few_registers_hold_forward)
{
    const vkring_device narrow = gpu_of_few_registers(8), wide = gpu_of_few_registers(16);
    struct problem of = halves;
    of.backward = false;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
    of.softcap = 30;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
    of.value_dim = 256;
    ck_assert(!is_on_matrix_units(&wide, &of) && !is_on_matrix_units(&narrow, &of));
    of.softcap = 0;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
}
END_TEST

/* On narrow subgroups without segment ids. */
START_TEST(few_registers_hold_gradients)
{
    const vkring_device narrow = gpu_of_few_registers(8), wide = gpu_of_few_registers(16);
    struct problem of = halves;
    of.type = _i == 0 ? VKRING_TYPE_F16 : VKRING_TYPE_BF16;
    of.head_dim = of.value_dim = 128;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
    of.softcap = 30;
    of.dropout = 0.5;
    ck_assert(is_on_matrix_units(&wide, &of) && is_on_matrix_units(&narrow, &of));
    of.segment_ids = true;
    ck_assert(is_on_matrix_units(&wide, &of) && !is_on_matrix_units(&narrow, &of));
    of.segment_ids = false;
    of.head_dim = of.value_dim = 256;
    ck_assert(!is_on_matrix_units(&wide, &of) && !is_on_matrix_units(&narrow, &of));
}
END_TEST

/* Of gradients with much to find of each score a lane has one quad of a step and row. */
START_TEST(costly_gradients_have_short_steps)
{
    const vkring_device device = gpu_of_few_registers(8);
    struct problem of = halves;
    const struct kernel_choice plain = kernel_choice_best(&device, &of);
    of.alibi = true;
    const struct kernel_choice costly = kernel_choice_best(&device, &of);
    ck_assert_uint_eq(plain.matrices[SPIRV_QUERY_GRADIENT].rows_per_step, 32);
    ck_assert_uint_eq(costly.matrices[SPIRV_QUERY_GRADIENT].rows_per_step, 16);
    ck_assert_uint_eq(costly.matrices[SPIRV_FORWARD].rows_per_step, 32);
}
END_TEST

/* Each subgroup's sums of so many rows and columns are an eighth of its lanes' registers. */
START_TEST(subgroups_share_columns_where_registers_are_few)
{
    const vkring_device device = gpu_of_few_registers(16);
    struct problem of = halves;
    const uint32_t parts[][2] = {{32, 1}, {64, 2}, {128, 4}};
    for (int i = 0; i < 3; i++) {
        of.head_dim = of.value_dim = parts[i][0];
        const struct kernel_choice best = kernel_choice_best(&device, &of);
        ck_assert_uint_eq(best.matrices[SPIRV_FORWARD].column_parts, parts[i][1]);
        ck_assert_uint_eq(best.matrices[SPIRV_KEY_GRADIENT].column_parts, 2 * parts[i][1]);
        ck_assert(best.matrices[SPIRV_KEY_GRADIENT].separate_sums);
        ck_assert_uint_eq(matrix_tiles_row_tiles(&best.matrices[SPIRV_FORWARD]), 1);
        ck_assert_uint_eq(matrix_tiles_row_tiles(&best.matrices[SPIRV_KEY_GRADIENT]), 2);
        check_room(&device, &best);
    }
}
END_TEST

/* Rows are a subgroup's own then. */
START_TEST(narrow_subgroups_have_a_row_each)
{
    const vkring_device device = gpu_of_few_registers(8);
    struct problem of = halves;
    of.head_dim = of.value_dim = 128;
    const struct kernel_choice best = kernel_choice_best(&device, &of);
    const struct matrix_tiles *keys = &best.matrices[SPIRV_KEY_GRADIENT];
    ck_assert_uint_eq(keys->column_parts, 16);
    ck_assert_uint_eq(matrix_tiles_rows(keys), keys->subgroups);
    check_room(&device, &best);
}
END_TEST

START_TEST(columns_are_shared_on_request)
{
    const vkring_device device = gpu_with_matrices();
    struct kernel_choice choice = kernel_choice_best(&device, &halves);
    const struct matrix_tiles *forward = &choice.matrices[SPIRV_FORWARD];
    ck_assert_uint_eq(forward->column_parts, 1);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_column_parts=2", &choice), VKRING_OK);
    ck_assert_int_eq(choice_check(&device, &halves, &choice), VKRING_OK);
    ck_assert(forward->column_parts == 2 && forward->few_registers);
    ck_assert_uint_eq(forward->subgroups % 2, 0);
    ck_assert_uint_eq(matrix_tiles_rows(forward), forward->subgroups / 2 * forward->shape.m);
    check_room(&device, &choice);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_subgroups=1", &choice), VKRING_OK);
    ck_assert_uint_eq(forward->column_parts, 1);
}
END_TEST

START_TEST(a_subgroup_has_a_row)
{
    vkring_device device = gpu_with_matrices();
    struct kernel_choice choice;
    device.limits.matrix_shapes[0] = (struct vkring_matrix_shape){4, 8, 8};
    choice = kernel_choice_best(&device, &halves);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_column_parts=8", &choice), VKRING_OK);
    ck_assert_uint_le(choice.matrices[SPIRV_FORWARD].column_parts, 4);
    check_room(&device, &choice);
}
END_TEST

START_TEST(bias_gradients_are_on_matrix_units)
{
    const vkring_device device = gpu_with_matrices();
    struct problem biased = halves;
    biased.bias.present = true;
    const struct kernel_choice without = kernel_choice_best(&device, &halves), with = kernel_choice_best(&device, &biased);
    ck_assert(!kernel_choice_matrices(&without, SPIRV_BIAS_GRADIENT));
    ck_assert(kernel_choice_matrices(&with, SPIRV_BIAS_GRADIENT));
    check_room(&device, &with);
}
END_TEST

/* Of forward, and of gradients if there are any. */
static int kernels_by_operations(const vkring_device *device, const struct problem *of)
{
    struct kernel_choice choice = kernel_choice_best(device, of);
    const struct matrix_tiles *gradients = &choice.matrices[SPIRV_KEY_GRADIENT];
    ck_assert(choice.matrix);
    ck_assert_int_eq(choice_check(device, of, &choice), VKRING_OK);
    ck_assert_int_eq(gradients->operations, choice.matrices[SPIRV_QUERY_GRADIENT].operations);
    check_room(device, &choice);
    return choice.matrices[SPIRV_FORWARD].operations + gradients->operations;
}

static vkring_device gpu_with_operations(void)
{
    vkring_device device = gpu_with_matrices();
    device.limits.matrix_operations = true;
    snprintf(device.info.driver, sizeof(device.info.driver), "NVIDIA 580.159.04");
    return device;
}

/* With NVIDIA's driver, without dropout, and of matrices that can be both sums and factors; gradients of scores that are dot products. */
START_TEST(operations_on_matrices_are_used)
{
    vkring_device device = gpu_with_operations(), without = gpu_with_matrices();
    struct problem other = halves;
    struct kernel_choice choice;
    ck_assert_int_eq(kernels_by_operations(&without, &halves), 0);
    without.limits.matrix_operations = true;
    ck_assert_int_eq(kernels_by_operations(&without, &halves), 0);
    ck_assert_int_eq(kernels_by_operations(&device, &halves), 2);
    choice = kernel_choice_best(&device, &halves);
    ck_assert(choice.matrices[SPIRV_FORWARD].loads_ahead);
    ck_assert_int_eq(choice_parse(&device, &halves, "matrix_operations=0", &choice), VKRING_OK);
    ck_assert(!choice.matrices[SPIRV_FORWARD].operations && !choice.matrices[SPIRV_KEY_GRADIENT].operations);
    other.softcap = 5;
    ck_assert_int_eq(kernels_by_operations(&device, &other), 1);
    other.dropout = 0.5;
    ck_assert_int_eq(kernels_by_operations(&device, &other), 0);
    other = halves;
    other.type = VKRING_TYPE_BF16;
    ck_assert_int_eq(kernels_by_operations(&device, &other), 0);
    ck_assert(!kernel_choice_best(&device, &other).matrices[SPIRV_FORWARD].loads_ahead);
    device.limits.bfloat16_shape = device.limits.matrix_shapes[0];
    ck_assert_int_eq(kernels_by_operations(&device, &other), 2);
    device.limits.matrix_shapes[0].n = 2 * device.limits.matrix_shapes[0].k;
    ck_assert_int_eq(kernels_by_operations(&device, &halves), 0);
}
END_TEST

/* Of one that goes through shared memory, and the other way round. */
START_TEST(operations_are_a_neighbour_where_there_are_any)
{
    struct kernel_choice neighbours[CHOICE_NEIGHBOURS];
    for (int i = 0; i < 2; i++) {
        const vkring_device device = i ? gpu_with_operations() : gpu_with_matrices();
        const struct kernel_choice choice = kernel_choice_best(&device, &halves);
        const uint32_t count = choice_neighbours(&device, &halves, &choice, neighbours);
        uint32_t with = 0, on_matrices = 0;
        for (uint32_t j = 0; j < count; j++) {
            with += neighbours[j].matrix && neighbours[j].matrices[SPIRV_FORWARD].operations;
            on_matrices += neighbours[j].matrix;
            check_room(&device, &neighbours[j]);
        }
        ck_assert_msg(i ? with > 0 && with < on_matrices : with == 0, "%u of %u neighbours", with, on_matrices);
    }
}
END_TEST

/* Whatever it differs in is of use: other tiles, or no matrix units. */
START_TEST(neighbours_on_matrix_units_have_other_tiles)
{
    const vkring_device device = gpu_with_matrices();
    const struct kernel_choice choice = kernel_choice_best(&device, &halves);
    struct kernel_choice neighbours[CHOICE_NEIGHBOURS];
    const uint32_t count = choice_neighbours(&device, &halves, &choice, neighbours);
    uint32_t without = 0, seen[3] = {0};
    for (uint32_t i = 0; i < count; i++) {
        const struct kernel_choice *other = &neighbours[i];
        const struct matrix_tiles *a = &choice.matrices[SPIRV_FORWARD], *b = &other->matrices[SPIRV_FORWARD];
        without += !other->matrix;
        seen[0] |= matrix_tiles_row_tiles(a) != matrix_tiles_row_tiles(b);
        seen[1] |= a->subgroups != b->subgroups;
        seen[2] |= a->rows_per_step != b->rows_per_step;
        check_room(&device, other);
        ck_assert_uint_eq(other->lanes_per_row, choice.lanes_per_row);
    }
    ck_assert_uint_eq(without, 1);
    ck_assert(seen[0] && seen[1] && seen[2]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("choices of kernels");
    TCase *words = tcase_create("words");
    tcase_add_test(words, words_go_there_and_back);
    tcase_add_test(words, a_word_changes_what_it_names);
    tcase_add_loop_test(words, a_word_that_is_none_is_named, 0, (int)(sizeof(unknown) / sizeof(unknown[0])));
    tcase_add_loop_test(words, what_the_device_cannot_do_is_named, 0, (int)(sizeof(beyond) / sizeof(beyond[0])));
    tcase_add_loop_test(words, lanes_of_a_cpu_share_few_rows, 0, (int)(sizeof(shared) / sizeof(shared[0])));
    tcase_add_test(words, keys_of_a_cpu_are_copied_by_head);
    tcase_add_loop_test(words, lanes_of_older_drivers_read_keys_together, 0, (int)(sizeof(together) / sizeof(together[0])));
    tcase_add_loop_test(words, lanes_of_a_cpu_have_rows_of_several_key_heads, 0, (int)(sizeof(shared) / sizeof(shared[0])));
    tcase_add_test(words, groups_of_several_key_heads_are_packed);
    tcase_add_test(words, neighbours_can_be_run_and_differ);
    tcase_add_test(words, what_lies_between_is_on_the_way);
    if (spirv_matrix_kernel(SPIRV_FORWARD, VKRING_TYPE_F16).code) {
        tcase_add_test(words, tiles_of_matrix_units_are_words);
        tcase_add_test(words, few_registers_hold_forward);
        tcase_add_loop_test(words, few_registers_hold_gradients, 0, 2);
        tcase_add_test(words, costly_gradients_have_short_steps);
        tcase_add_test(words, subgroups_share_columns_where_registers_are_few);
        tcase_add_test(words, narrow_subgroups_have_a_row_each);
        tcase_add_test(words, columns_are_shared_on_request);
        tcase_add_test(words, a_subgroup_has_a_row);
        tcase_add_test(words, bias_gradients_are_on_matrix_units);
        tcase_add_test(words, neighbours_on_matrix_units_have_other_tiles);
    }
    if (spirv_matrix_kernel_by_operations(SPIRV_FORWARD, VKRING_TYPE_F16).code) {
        tcase_add_test(words, operations_on_matrices_are_used);
        tcase_add_test(words, operations_are_a_neighbour_where_there_are_any);
    }
    suite_add_tcase(suite, words);
    return suite_run(suite);
}
