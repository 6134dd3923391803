/* SPDX-License-Identifier: MIT */
/* What kernels CPUs get by their kind. */
#include <stdio.h>

#include <attention/choice_text.h>
#include <attention/forward_choice.h>
#include <base/checked.h>

#include "../harness/suite.h"
#include "described_gpu.h"

static vkring_device cpu(void)
{
    vkring_device device = described_gpu();
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
    struct problem few = described_problem;
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
    struct problem few = described_problem;
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
    const vkring_device device = cpu(), other = described_gpu();
    struct problem many = described_problem;
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
    struct problem one = described_problem;
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

/* Of the packed heads: none of the numbers of rows, heads and dimensions leaves a tile without one. */
START_TEST(tiles_have_a_row_of_each_head)
{
    const vkring_device device = cpu();
    struct problem any = described_problem;
    any.type = (enum vkring_type)(_i % 3);
    any.int8_keys = _i / 3;
    for (any.kv_heads = 1; any.kv_heads <= 9; any.kv_heads++)
        for (any.heads = any.kv_heads; any.heads <= 33 * any.kv_heads; any.heads += any.kv_heads)
            for (any.q_len = 0; any.q_len <= 9; any.q_len++)
                for (any.head_dim = any.value_dim = 16; any.head_dim <= 256; any.head_dim = any.value_dim *= 4) {
                    const struct kernel_choice choice = kernel_choice_best(&device, &any), forward = forward_choice(&device, &any, &choice);
                    ck_assert_msg(kernel_choice_tile_rows(&forward) > 0, "%d key heads, %d heads, %d rows, dimension %d", (int)any.kv_heads,
                                  (int)any.heads, (int)any.q_len, (int)any.head_dim);
                }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("choices of kernels of CPUs");
    TCase *tcase = tcase_create("by kind");
    tcase_add_loop_test(tcase, lanes_of_a_cpu_share_few_rows, 0, (int)(sizeof(shared) / sizeof(shared[0])));
    tcase_add_test(tcase, keys_of_a_cpu_are_copied_by_head);
    tcase_add_loop_test(tcase, lanes_of_older_drivers_read_keys_together, 0, (int)(sizeof(together) / sizeof(together[0])));
    tcase_add_loop_test(tcase, lanes_of_a_cpu_have_rows_of_several_key_heads, 0, (int)(sizeof(shared) / sizeof(shared[0])));
    tcase_add_test(tcase, groups_of_several_key_heads_are_packed);
    tcase_add_loop_test(tcase, tiles_have_a_row_of_each_head, 0, 6);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
