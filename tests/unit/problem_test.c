/* SPDX-License-Identifier: MIT */
/* Problems: defaults, and the causal arithmetic against a count of single pairs. */
#include <math.h>
#include <stdint.h>

#include <attention/problem.h>

#include "../harness/suite.h"

static bool keeps(const struct problem *problem, uint64_t row, uint64_t key)
{
    return (int64_t)row + problem->query_offset >= (int64_t)key;
}

START_TEST(causal_arithmetic_is_that_of_single_pairs)
{
    for (int64_t offset = -30; offset <= 30; offset++)
        for (uint64_t query_row = 0; query_row < 12; query_row += 5)
            for (uint64_t key_row = 0; key_row < 12; key_row += 4) {
                const struct problem problem = {.causal = true, .query_offset = offset};
                const uint64_t rows = 9, keys = 13;
                const int32_t diagonal = problem_diagonal(&problem, query_row, rows, key_row, keys);
                uint64_t pairs = 0;
                ck_assert_int_ge(diagonal, -(int32_t)rows);
                ck_assert_int_le(diagonal, (int32_t)keys);
                for (uint64_t i = 0; i < rows; i++) {
                    uint64_t row_keys = 0;
                    for (uint64_t j = 0; j < keys; j++) {
                        const bool kept = keeps(&problem, query_row + i, key_row + j);
                        ck_assert_int_eq(kept, (int64_t)j <= (int64_t)i + diagonal);
                        row_keys += kept;
                    }
                    ck_assert_uint_eq(problem_kept_keys(&problem, query_row + i, key_row, keys), row_keys);
                    pairs += row_keys;
                }
                ck_assert_double_eq(problem_kept_pairs(&problem, query_row, rows, key_row, keys), (double)pairs);
            }
}
END_TEST

START_TEST(offsets_at_the_ends_of_their_range)
{
    struct problem problem = {.causal = true, .query_offset = INT64_MAX};
    ck_assert_int_eq(problem_diagonal(&problem, 5, 7, 3, 11), 11);
    ck_assert_uint_eq(problem_kept_keys(&problem, 5, 3, 11), 11);
    problem.query_offset = INT64_MIN;
    ck_assert_int_eq(problem_diagonal(&problem, 5, 7, 3, 11), -7);
    ck_assert_uint_eq(problem_kept_keys(&problem, 5, 3, 11), 0);
}
END_TEST

START_TEST(without_a_mask_all_is_kept)
{
    const struct problem problem = {.query_offset = -100};
    ck_assert_uint_eq(problem_kept_keys(&problem, 0, 50, 11), 11);
    ck_assert_double_eq(problem_kept_pairs(&problem, 0, 7, 50, 11), 77);
}
END_TEST

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

int main(void)
{
    Suite *suite = suite_create("problem");
    suite_add(suite, "causal", causal_arithmetic_is_that_of_single_pairs);
    suite_add(suite, "causal", offsets_at_the_ends_of_their_range);
    suite_add(suite, "causal", without_a_mask_all_is_kept);
    suite_add(suite, "defaults", zero_means_the_default);
    suite_add(suite, "defaults", what_is_given_is_taken_also_when_zero);
    return suite_run(suite);
}
