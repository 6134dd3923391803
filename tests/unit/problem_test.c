/* SPDX-License-Identifier: MIT */
/* Problems: defaults, and what is refused. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <attention/problem.h>

#include "../harness/suite.h"

START_TEST(zero_means_the_default)
{
    const struct vkring_plan_params params = {.batch = 1, .q_len = 3, .kv_len = 10, .heads = 4, .head_dim = 64};
    struct problem problem;
    ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
    ck_assert_uint_eq(problem.kv_heads, 4);
    ck_assert_uint_eq(problem.value_dim, 64);
    ck_assert_int_eq(problem.query_offset, 7);
    ck_assert_double_eq(problem.scale, 0.125);
}
END_TEST

START_TEST(what_is_given_is_taken_also_when_zero)
{
    const struct vkring_plan_params params = {
        .batch = 1, .q_len = 3, .kv_len = 10, .heads = 4, .head_dim = 64, .has_scale = true, .has_query_offset = true};
    struct problem problem;
    ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
    ck_assert_int_eq(problem.query_offset, 0);
    ck_assert_double_eq(problem.scale, 0);
}
END_TEST

START_TEST(masks_and_modifiers_default_to_none)
{
    const struct vkring_plan_params params = {.batch = 1, .q_len = 3, .kv_len = 10, .heads = 4, .head_dim = 64};
    struct problem problem;
    ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
    ck_assert_uint_eq(problem.causal_block, 1);
    ck_assert_int_eq(problem.window_left, -1);
    ck_assert_int_eq(problem.window_right, -1);
    ck_assert(!problem.bias.present && !problem.alibi && !problem.sinks && !problem.segment_ids);
}
END_TEST

START_TEST(a_causal_block_is_no_longer_than_the_keys)
{
    const struct vkring_plan_params params = {
        .batch = 1, .q_len = 3, .kv_len = 10, .heads = 4, .head_dim = 64, .causal = true, .causal_block = UINT64_MAX};
    struct problem problem;
    ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
    ck_assert_uint_eq(problem.causal_block, 10);
}
END_TEST

static void set_block_without_causal(struct vkring_plan_params *params)
{
    params->causal_block = 2;
}

static void set_window_below_unlimited(struct vkring_plan_params *params)
{
    params->has_window = true;
    params->window_right = -2;
}

static void set_window_without_has_window(struct vkring_plan_params *params)
{
    params->window_left = 3;
}

static void set_negative_softcap(struct vkring_plan_params *params)
{
    params->softcap = -1;
}

static void set_infinite_softcap(struct vkring_plan_params *params)
{
    params->softcap = INFINITY;
}

static void set_dropout_of_all(struct vkring_plan_params *params)
{
    params->dropout = 1;
}

static void set_dropout_nan(struct vkring_plan_params *params)
{
    params->dropout = NAN;
}

static void set_bias_of_another_type(struct vkring_plan_params *params)
{
    params->bias = (struct vkring_bias_params){.present = true, .type = VKRING_TYPE_BF16};
}

static void set_scale_beyond_f32(struct vkring_plan_params *params)
{
    params->has_scale = true;
    params->scale = 1e300;
}

static const struct {
    void (*spoil)(struct vkring_plan_params *params);
    const char *names; /* what the message must contain */
} refusals[] = {
    {set_block_without_causal, "causal_block"},
    {set_window_below_unlimited, "window_right"},
    {set_window_without_has_window, "window_left"},
    {set_negative_softcap, "softcap"},
    {set_infinite_softcap, "softcap"},
    {set_dropout_of_all, "dropout"},
    {set_dropout_nan, "dropout"},
    {set_bias_of_another_type, "bias"},
    {set_scale_beyond_f32, "scale"},
};

START_TEST(what_cannot_be_is_refused_by_name)
{
    struct vkring_plan_params params = {.type = VKRING_TYPE_F16, .batch = 1, .q_len = 3, .kv_len = 10, .heads = 4, .head_dim = 64};
    struct problem problem;
    ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
    refusals[_i].spoil(&params);
    ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_msg(strstr(vkring_last_error()->message, refusals[_i].names) != NULL, "%s", vkring_last_error()->message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("problem");
    suite_add(suite, "defaults", zero_means_the_default);
    suite_add(suite, "defaults", what_is_given_is_taken_also_when_zero);
    suite_add(suite, "defaults", masks_and_modifiers_default_to_none);
    suite_add(suite, "defaults", a_causal_block_is_no_longer_than_the_keys);
    TCase *refused = tcase_create("refused");
    tcase_add_loop_test(refused, what_cannot_be_is_refused_by_name, 0, sizeof(refusals) / sizeof(refusals[0]));
    suite_add_tcase(suite, refused);
    return suite_run(suite);
}
