/* SPDX-License-Identifier: MIT */
/* Few query rows: keys split over workgroups, here into splits of 8, and heads of a group packed into a tile; with every option, and right.
 */
#include <string.h>

#include "../harness/attention_case.h"
#include "../harness/loose_order.h"
#include "../harness/opened_device.h"

/* Kernels as they are chosen here, and as on a GPU: wider tiles, several lanes a row. */
enum { OF_DEVICE, OF_GPU, KERNELS };
static vkring_device *devices[KERNELS];

#define ONE_ROW .batch = 1, .q_len = 1, .kv_len = 777, .heads = 8, .kv_heads = 2, .head_dim = 16
#define FEW_ROWS .batch = 2, .q_len = 5, .kv_len = 333, .heads = 4, .kv_heads = 2, .head_dim = 16

#define OWN_KEYS .batch = 2, .q_len = 1, .kv_len = 201, .heads = 4, .head_dim = 24

static const struct attention_case cases[] = {
    {.name = "one query, wide heads",
     .params = {.batch = 1, .q_len = 1, .kv_len = 200, .heads = 8, .kv_heads = 2, .head_dim = 128, .value_dim = 64}},
    {.name = "one query", .params = {ONE_ROW}},
    {.name = "one query, f16", .params = {ONE_ROW, .type = VKRING_TYPE_F16}},
    {.name = "few queries, bf16", .params = {FEW_ROWS, .type = VKRING_TYPE_BF16, .causal = true}},
    {.name = "cut finely", .params = {FEW_ROWS, .dispatch_seconds = 1e-9}},
    {.name = "causal, cut finely", .params = {FEW_ROWS, .causal = true, .dispatch_seconds = 1e-9}},
    {.name = "block gaps", .inputs = INPUTS_BLOCK_GAPS, .params = {FEW_ROWS}},
    {.name = "big logits", .inputs = INPUTS_BIG_LOGITS, .params = {FEW_ROWS}},
    {.name = "huge key", .inputs = INPUTS_HUGE_KEY, .params = {FEW_ROWS}},
    {.name = "values one", .inputs = INPUTS_VALUES_ONE, .params = {FEW_ROWS}},
    {.name = "a window of few splits", .params = {FEW_ROWS, .causal = true, .has_window = true, .window_left = 20, .window_right = -1}},
    {.name = "first rows keep nothing", .params = {FEW_ROWS, .causal = true, .has_query_offset = true, .query_offset = -3}},
    {.name = "nothing kept", .params = {FEW_ROWS, .causal = true, .has_query_offset = true, .query_offset = -99}},
    {.name = "nothing kept but sinks", .params = {FEW_ROWS, .causal = true, .has_query_offset = true, .query_offset = -99, .sinks = true}},
    {.name = "segments", .segments = SEGMENTS_SORTED, .params = {FEW_ROWS, .segment_ids = true}},
    {.name = "segments in any order", .segments = SEGMENTS_UNSORTED, .params = {FEW_ROWS, .segment_ids = true}},
    {.name = "no segment met", .segments = SEGMENTS_DISJOINT, .params = {FEW_ROWS, .segment_ids = true, .sinks = true}},
    {.name = "bias of a row, masking",
     .bias = BIAS_MASKS_SOME,
     .params = {FEW_ROWS, .bias = {.present = true, .per_query = true, .per_batch = true}}},
    {.name = "bias of a head, masking rows", .bias = BIAS_MASKS_ROWS, .params = {FEW_ROWS, .bias = {.present = true, .per_head = true}}},
    {.name = "alibi and sinks", .params = {FEW_ROWS, .alibi = true, .sinks = true, .causal = true}},
    {.name = "dropout and softcap", .params = {FEW_ROWS, .dropout = 0.3, .softcap = 3}},
    {.name = "groups of 7, odd dimensions",
     .placement = {ORDER_PADDED, .padding = 3},
     .params = {.batch = 2, .q_len = 2, .kv_len = 200, .heads = 7, .kv_heads = 1, .head_dim = 33, .value_dim = 7, .causal = true}},
    {.name = "a group past a tile",
     .placement = {ORDER_HEADS_FIRST},
     .params = {.batch = 1, .q_len = 3, .kv_len = 200, .heads = 24, .kv_heads = 1, .head_dim = 16, .alibi = true}},
    {.name = "heads of own keys", .params = {OWN_KEYS}},
    {.name = "heads of own keys, f16, all that tells heads apart",
     .params = {OWN_KEYS, .type = VKRING_TYPE_F16, .alibi = true, .sinks = true, .dropout = 0.3, .causal = true}},
    {.name = "heads of own keys, bf16, heads first, segments",
     .segments = SEGMENTS_SORTED,
     .placement = {ORDER_HEADS_FIRST},
     .params = {OWN_KEYS, .type = VKRING_TYPE_BF16, .segment_ids = true}},
    {.name = "heads of own keys, a bias of each", .params = {OWN_KEYS, .bias = {.present = true, .per_head = true, .per_query = true}}},
    {.name = "heads of own keys, a bias of all", .params = {OWN_KEYS, .bias = {.present = true, .per_batch = true, .per_query = true}}},
    {.name = "f32 on no boundary of quads", .placement = {ORDER_PADDED, .padding = 1}, .params = {OWN_KEYS, .value_dim = 132}},
    {.name = "f16 on no boundary of quads", .placement = {ORDER_PADDED, .padding = 1}, .params = {OWN_KEYS, .type = VKRING_TYPE_F16}},
    {.name = "bf16 on no boundary of quads", .placement = {ORDER_PADDED, .padding = 2}, .params = {OWN_KEYS, .type = VKRING_TYPE_BF16}},
    {.name = "groups on no boundary of quads, f16",
     .placement = {ORDER_PADDED, .padding = 1},
     .params = {ONE_ROW, .type = VKRING_TYPE_F16, .sinks = true}},
    {.name = "two rows of own keys, odd dimensions",
     .placement = {ORDER_PADDED, .padding = 3},
     .params = {.batch = 1, .q_len = 2, .kv_len = 99, .heads = 6, .head_dim = 33, .value_dim = 7, .causal = true}},
    {.name = "groups of 3, three key heads, odd dimensions, bf16",
     .params = {.type = VKRING_TYPE_BF16, .batch = 1, .q_len = 1, .kv_len = 99, .heads = 9, .kv_heads = 3, .head_dim = 5, .value_dim = 9}},
    {.name = "gradients", .params = {FEW_ROWS, .causal = true, .sinks = true, .backward = true}},
    {.name = "gradients, f16", .params = {FEW_ROWS, .type = VKRING_TYPE_F16, .alibi = true, .backward = true}},
    {.name = "no keys", .params = {.batch = 2, .q_len = 3, .kv_len = 0, .heads = 4, .kv_heads = 2, .head_dim = 16}},
    {.name = "fewer keys than a split", .params = {.batch = 2, .q_len = 3, .kv_len = 7, .heads = 4, .kv_heads = 2, .head_dim = 16}},
};

static const int named = (int)(sizeof(cases) / sizeof(cases[0]));

/* As on a GPU every third: kernels take their time to compile. */
START_TEST(a_named_case)
{
    const int index = _i < named ? _i : 3 * (_i - named);
    struct attention_case c = cases[index];
    vkring_device *device = devices[_i < named ? OF_DEVICE : OF_GPU];
    c.seed = (uint64_t)_i;
    if (case_is_supported(&c, device->limits.storage_16bit))
        ck_assert_msg(case_passes(&c, device, NULL), "%s", c.name);
}
END_TEST

/* Small enough that most of them split their keys. */
START_TEST(a_random_case)
{
    struct attention_case c = case_random(environment_number("VKRING_TEST_SEED", 2026), (uint64_t)_i, 1, NULL);
    vkring_device *device = devices[(unsigned)_i / CASES_OF_KERNELS % KERNELS];
    if (case_is_supported(&c, device->limits.storage_16bit))
        ck_assert_msg(case_passes(&c, device, NULL), "case %d", _i);
}
END_TEST

START_TEST(splits_give_the_same_bits_again)
{
    const struct attention_case c = {.name = "again", .seed = 9, .params = {ONE_ROW, .causal = true}};
    struct case_data data;
    struct case_result first, second;
    ck_assert(case_make_data(&c, &data) && case_run(&c, devices[_i], NULL, &data, &first) &&
              case_run(&c, devices[_i], NULL, &data, &second));
    ck_assert_ptr_nonnull(strstr(first.info.kernel, " split"));
    /* subgroups of 4 lanes, as on CPUs with vectors of 128 bits, have no room for the rows of a group */
    ck_assert(strstr(first.info.kernel, " packed") || devices[_i]->limits.subgroup_size < 8);
    ck_assert(case_same_bits(&c, &first, &second));
    case_free_result(&first);
    case_free_result(&second);
    case_free_data(&data);
}
END_TEST

/* Where lanes take parts of keys from loads that are the same in all, those without rows of one key head have rows of others. */
START_TEST(key_heads_stand_beside_each_other)
{
    const struct vkring_plan_params params = {OWN_KEYS};
    struct vkring_plan_info info;
    vkring_plan *plan = NULL;
    ck_assert_int_eq(vkring_plan_create(devices[OF_DEVICE], NULL, &params, &plan), VKRING_OK);
    vkring_plan_get_info(plan, &info);
    ck_assert_int_eq(strstr(info.kernel, "forward_uniform") != NULL, strstr(info.kernel, " key_heads") != NULL);
    vkring_plan_destroy(&plan);
}
END_TEST

/* With as many as keep a device busy there is nothing to split or to pack. */
START_TEST(many_rows_are_left_as_they_are)
{
    const struct vkring_plan_params params = {.batch = 1, .q_len = 1 << 17, .kv_len = 777, .heads = 8, .kv_heads = 2, .head_dim = 16};
    struct vkring_plan_info info;
    vkring_plan *plan = NULL;
    ck_assert_int_eq(vkring_plan_create(devices[_i], NULL, &params, &plan), VKRING_OK);
    vkring_plan_get_info(plan, &info);
    ck_assert_ptr_null(strstr(info.kernel, " split"));
    ck_assert_ptr_null(strstr(info.kernel, " packed"));
    vkring_plan_destroy(&plan);
}
END_TEST

START_TEST(packed_heads_that_lie_far_apart_are_refused)
{
    const uint64_t apart = ((uint64_t)1 << 25) + 4;
    const struct vkring_plan_params params = {.batch = 1, .q_len = 1, .kv_len = 1, .heads = 2, .kv_heads = 1, .head_dim = 16};
    struct vkring_forward_io io = {0};
    vkring_plan *plan = NULL;
    ck_assert_int_eq(vkring_plan_create(devices[OF_DEVICE], NULL, &params, &plan), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_create(devices[OF_DEVICE], (apart + 16) * sizeof(float), &io.query.buffer), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_create(devices[OF_DEVICE], 32 * sizeof(float), &io.output.buffer), VKRING_OK);
    io.key.buffer = io.value.buffer = io.query.buffer;
    ck_assert_int_eq(vkring_forward(plan, &io), VKRING_OK);
    io.query.head_stride = apart;
    ck_assert_int_eq(vkring_forward(plan, &io), VKRING_ERROR_UNSUPPORTED);
    ck_assert_str_eq(vkring_last_error()->message, "query: heads lie more than 128 MiB apart");
    vkring_plan_destroy(&plan);
    vkring_buffer_destroy(&io.query.buffer);
    vkring_buffer_destroy(&io.output.buffer);
}
END_TEST

int main(void)
{
    const struct vk_limit_overrides of_device = {.split_keys = 8};
    /* matrix units split no keys, and take half a minute to compile */
    const struct vk_limit_overrides of_gpu = {.split_keys = 8, .kind = VKRING_DEVICE_DISCRETE, .no_matrices = true};
    Suite *suite = suite_create("few queries");
    TCase *tcase = tcase_create("cases");
    devices[OF_DEVICE] = test_device_open(&of_device);
    devices[OF_GPU] = test_device_open(&of_gpu);
    loose_order_install(devices[OF_GPU], LATE_COPIES);
    tcase_add_loop_test(tcase, splits_give_the_same_bits_again, 0, KERNELS);
    tcase_add_test(tcase, key_heads_stand_beside_each_other);
    tcase_add_loop_test(tcase, many_rows_are_left_as_they_are, 0, KERNELS);
    tcase_add_test(tcase, packed_heads_that_lie_far_apart_are_refused);
    tcase_add_loop_test(tcase, a_named_case, 0, named + (named + 2) / 3);
    tcase_add_loop_test(tcase, a_random_case, 0, (int)environment_number("VKRING_TEST_CASES", 10));
    suite_add_tcase(suite, tcase);
    return device_suite_run(suite, devices, KERNELS);
}
