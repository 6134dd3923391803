/* SPDX-License-Identifier: MIT */
/* What simulated ranks need of memory, and the longest sequence that fits into what they have. */
#include "../harness/suite.h"
#include "simulated_ring.h"

START_TEST(tensors_are_those_of_the_rank)
{
    struct vkring_plan_params problem = problem_of(40, false, VKRING_LAYOUT_AUTO);
    const struct vkring_simulated_rank rank = pair_a_second();
    ck_assert_uint_eq(simulate(&problem, 4, &rank, 1).results[0].tensor_bytes, 10 * 4 * DIM * 4);
    problem.backward = true;
    ck_assert_uint_eq(simulate(&problem, 4, &rank, 1).results[0].tensor_bytes, 10 * (8 * DIM * 4 + 8));
    problem.type = VKRING_TYPE_F16;
    problem.segment_ids = true;
    ck_assert_uint_eq(simulate(&problem, 4, &rank, 1).results[0].tensor_bytes, 10 * (9 * DIM * 2 + 8 + 8));
    problem.bias = (struct vkring_bias_params){.present = true, .per_query = true};
    ck_assert_uint_eq(simulate(&problem, 4, &rank, 1).results[0].tensor_bytes, 10 * (9 * DIM * 2 + 8 + 8 + 2 * 40 * 4));
}
END_TEST

START_TEST(tensors_without_number_fit_nowhere)
{
    const struct vkring_bias_params bias = {.present = true, .per_query = true};
    struct vkring_plan_params problem = problem_of((uint64_t)1 << 32, false, VKRING_LAYOUT_AUTO);
    struct vkring_simulated_rank rank = pair_a_second();
    rank.memory_bytes = (uint64_t)1 << 60;
    if (_i == 0) {
        problem.bias = bias; /* 2^66 bytes */
    } else {
        problem.q_len = ((uint64_t)1 << 54) - 1; /* of rows of 1 KiB, and as many of outputs */
        problem.head_dim = 256;
        problem.kv_len = 1;
    }
    const struct vkring_simulated_result result = simulate(&problem, 1, &rank, 1).results[0];
    ck_assert_uint_eq(result.tensor_bytes, UINT64_MAX);
    ck_assert(!result.fits);
}
END_TEST

static struct vkring_plan_memory memory_on(const struct vkring_device_info *device, uint64_t queries)
{
    struct vkring_plan_params problem = problem_of(1000, false, VKRING_LAYOUT_AUTO);
    struct vkring_simulated_rank rank = pair_a_second();
    problem.q_len = queries;
    rank.device = device;
    return simulate(&problem, 1, &rank, 1).results[0].memory;
}

/* Of few rows kernels of GPUs take a subgroup to a tile, of the least size. */
START_TEST(subgroups_are_the_least_that_there_are)
{
    const struct vkring_device_info least = {.kind = VKRING_DEVICE_DISCRETE, .subgroup_size = 64, .min_subgroup_size = 32};
    const struct vkring_device_info narrow = {.kind = VKRING_DEVICE_DISCRETE, .subgroup_size = 32};
    const struct vkring_device_info wide = {.kind = VKRING_DEVICE_DISCRETE, .subgroup_size = 64};
    ck_assert_uint_eq(memory_on(&least, 2).device_bytes, memory_on(&narrow, 2).device_bytes);
    ck_assert_uint_ne(memory_on(&least, 2).device_bytes, memory_on(&wide, 2).device_bytes);
}
END_TEST

static bool fits(const struct vkring_simulation_params *params, uint64_t kv_len)
{
    struct vkring_plan_params problem = *params->problem;
    struct vkring_simulation_params longer = *params;
    struct vkring_simulation whole;
    struct vkring_simulated_result results[MOST_RANKS];
    bool fit = true;
    problem.q_len = problem.kv_len = kv_len;
    longer.problem = &problem;
    ck_assert_int_eq(vkring_simulate(&longer, &whole, NULL, results), VKRING_OK);
    for (uint32_t rank = 0; rank < params->ranks; rank++)
        fit = fit && results[rank].fits;
    return fit;
}

START_TEST(the_longest_sequence_fits_and_one_key_more_does_not)
{
    for (int backward = 0; backward < 2; backward++) {
        struct vkring_plan_params problem = problem_of(1000, _i % 2, VKRING_LAYOUT_AUTO);
        struct vkring_simulated_rank rank = pair_a_second();
        const struct vkring_simulation_params params = {.problem = &problem, .ranks = 1 + (uint32_t)_i, .rank = &rank, .rank_count = 1};
        uint64_t longest = 0;
        problem.backward = backward;
        ck_assert_int_eq(vkring_simulate_longest(&params, &longest), VKRING_OK);
        ck_assert_uint_eq(longest, UINT64_MAX);
        rank.memory_bytes = 10 << 20;
        ck_assert_int_eq(vkring_simulate_longest(&params, &longest), VKRING_OK);
        ck_assert_uint_gt(longest, 1000);
        ck_assert(fits(&params, longest));
        ck_assert(!fits(&params, longest + 1));
        rank.memory_bytes = 1;
        ck_assert_int_eq(vkring_simulate_longest(&params, &longest), VKRING_OK);
        ck_assert_uint_eq(longest, 0);
    }
}
END_TEST

/* Two thirds of the memory on the middle rank: its third of the queries is what has to shrink. */
START_TEST(the_smallest_memory_limits_the_sequence)
{
    const struct vkring_plan_params problem = problem_of(1000, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank ranks[3];
    const struct vkring_simulation_params params = {.problem = &problem, .ranks = 3, .rank = ranks, .rank_count = 3};
    uint64_t even = 0, uneven = 0;
    for (int i = 0; i < 3; i++) {
        ranks[i] = pair_a_second();
        ranks[i].memory_bytes = 12 << 20;
    }
    ck_assert_int_eq(vkring_simulate_longest(&params, &even), VKRING_OK);
    ranks[1].memory_bytes = 8 << 20;
    ck_assert_int_eq(vkring_simulate_longest(&params, &uneven), VKRING_OK);
    ck_assert_uint_lt(uneven, even * 3 / 4);
    ck_assert_uint_gt(uneven, even / 2);
}
END_TEST

/* The first rank has most queries, the second most keys. */
START_TEST(the_most_keys_limit_the_sequence)
{
    uint64_t longest = 0, query_rows[] = {600, 400}, key_rows[] = {100, 900};
    struct vkring_plan_params problem = problem_of(1000, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank rank = pair_a_second();
    const struct vkring_simulation_params params = {.problem = &problem, .ranks = 2, .rank = &rank, .rank_count = 1};
    problem.query_rows_of_rank = query_rows;
    problem.key_rows_of_rank = key_rows;
    rank.memory_bytes = 10 << 20;
    ck_assert_int_eq(vkring_simulate_longest(&params, &longest), VKRING_OK);
    ck_assert_uint_gt(longest, 1000);
    for (int i = 0; i < 2; i++) {
        query_rows[i] *= longest / 1000;
        key_rows[i] *= longest / 1000;
    }
    ck_assert(fits(&params, longest / 1000 * 1000));
}
END_TEST

/* Of no rows all shares are 0, however long the keys. */
START_TEST(no_queries_fit_with_any_keys)
{
    const uint64_t none[2] = {0};
    uint64_t equal = 0, given = 0;
    struct vkring_plan_params problem = problem_of(1000, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank rank = pair_a_second();
    const struct vkring_simulation_params params = {.problem = &problem, .ranks = 2, .rank = &rank, .rank_count = 1};
    problem.q_len = 0;
    rank.memory_bytes = 10 << 20;
    ck_assert_int_eq(vkring_simulate_longest(&params, &equal), VKRING_OK);
    problem.query_rows_of_rank = none;
    ck_assert_int_eq(vkring_simulate_longest(&params, &given), VKRING_OK);
    ck_assert_uint_gt(given, 0);
    ck_assert_uint_eq(given, equal);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulated memory");
    TCase *tcase = tcase_create("loops");
    suite_add(suite, "tensors", tensors_are_those_of_the_rank);
    suite_add(suite, "subgroups", subgroups_are_the_least_that_there_are);
    tcase_add_loop_test(tcase, tensors_without_number_fit_nowhere, 0, 2);
    tcase_add_loop_test(tcase, the_longest_sequence_fits_and_one_key_more_does_not, 0, 4);
    suite_add_tcase(suite, tcase);
    suite_add(suite, "memory", the_smallest_memory_limits_the_sequence);
    suite_add(suite, "keys", the_most_keys_limit_the_sequence);
    suite_add(suite, "no queries", no_queries_fit_with_any_keys);
    return suite_run(suite);
}
