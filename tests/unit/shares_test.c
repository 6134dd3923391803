/* SPDX-License-Identifier: MIT */
/* Rows by speed: all of them dealt out, and all ranks done together as nearly as whole rows allow. */
#include <math.h>
#include <string.h>

#include <ring/schedule.h>
#include <vkring/simulate.h>

#include "../harness/dice.h"
#include "../harness/kept_pairs.h"
#include "../harness/suite.h"

enum { MOST_RANKS = 64, ROUNDS = 40 };

static const enum vkring_layout kinds[] = {VKRING_LAYOUT_CONTIGUOUS, VKRING_LAYOUT_ZIGZAG, VKRING_LAYOUT_STRIPED};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static struct vkring_plan_params params_of(enum vkring_layout layout, bool causal, uint64_t q_len, uint64_t kv_len)
{
    return (struct vkring_plan_params){
        .batch = 1, .q_len = q_len, .kv_len = kv_len, .heads = 1, .head_dim = 8, .causal = causal, .layout = layout};
}

static uint64_t sum_of(const uint64_t *rows, uint32_t ranks)
{
    uint64_t sum = 0;
    for (uint32_t rank = 0; rank < ranks; rank++)
        sum += rows[rank];
    return sum;
}

/* The most of any rank's time, over that of work without ends. */
static double unevenness(const struct vkring_plan_params *params, uint32_t ranks, const double *speeds, const uint64_t *rows)
{
    struct vkring_plan_params cut = *params;
    struct problem problem;
    struct layout layout;
    double most = 0, pairs = 0, speed = 0;
    cut.query_rows_of_rank = rows;
    ck_assert_int_eq(problem_resolve(&cut, &problem), VKRING_OK);
    ck_assert_int_eq(layout_make(0, ranks, &cut, &layout), VKRING_OK);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        double its = 0;
        for (uint32_t step = 0; step < ranks; step++)
            its += kept_pairs(&problem, &layout, rank, step);
        most = speeds[rank] > 0 ? fmax(most, its / speeds[rank]) : most;
        pairs += its;
        speed += speeds[rank];
    }
    layout_free(&layout);
    return most / (pairs / speed);
}

START_TEST(unlike_ranks_end_together)
{
    struct dice dice = {.seed = 1 + (uint64_t)_i};
    double speeds[MOST_RANKS];
    uint64_t rows[MOST_RANKS];
    const uint32_t ranks = 1 + (uint32_t)throw_dice(&dice, MOST_RANKS);
    for (uint32_t rank = 0; rank < ranks; rank++)
        speeds[rank] = 1 + (double)throw_dice(&dice, 1000) / 100;
    for (int kind = 0; kind < KINDS; kind++)
        for (int mask = 0; mask < 4; mask++) {
            struct vkring_plan_params params = params_of(kinds[kind], mask > 0, 100000, mask == 3 ? 30000 : 100000);
            params.has_query_offset = true; /* 0: rows after the last key keep all keys */
            params.has_window = mask == 2;
            params.window_left = mask == 2 ? 3000 : 0;
            params.window_right = mask == 2 ? -1 : 0;
            ck_assert_int_eq(vkring_shares_cut(&params, ranks, speeds, NULL, rows), VKRING_OK);
            ck_assert_uint_eq(sum_of(rows, ranks), 100000);
            ck_assert_double_le(unevenness(&params, ranks, speeds, rows), kinds[kind] == VKRING_LAYOUT_STRIPED ? 1.05 : 1.02);
        }
}
END_TEST

START_TEST(shares_follow_speed_times_area)
{
    const double speeds[] = {1, 2, 4};
    uint64_t rows[3];
    struct vkring_plan_params params = params_of(VKRING_LAYOUT_CONTIGUOUS, false, 700, 700);
    ck_assert_int_eq(vkring_shares_cut(&params, 3, speeds, NULL, rows), VKRING_OK);
    ck_assert(rows[0] == 100 && rows[1] == 200 && rows[2] == 400);
    params.causal = true;
    params.layout = VKRING_LAYOUT_AUTO;
    ck_assert_int_eq(vkring_shares_cut(&params, 3, speeds, NULL, rows), VKRING_OK);
    ck_assert(rows[0] == 100 && rows[1] == 200 && rows[2] == 400);
    /* 700 rows of a triangle: a seventh of it is above row 700 · sqrt(1/7), three above row 700 · sqrt(3/7) */
    params.layout = VKRING_LAYOUT_CONTIGUOUS;
    ck_assert_int_eq(vkring_shares_cut(&params, 3, speeds, NULL, rows), VKRING_OK);
    ck_assert_double_eq_tol((double)rows[0], 700 * sqrt(1 / 7.0), 2);
    ck_assert_double_eq_tol((double)(rows[0] + rows[1]), 700 * sqrt(3 / 7.0), 2);
}
END_TEST

START_TEST(memory_limits_a_fast_rank)
{
    const double speeds[] = {1, 100, 1};
    const uint64_t most[] = {1000, 200, UINT64_MAX};
    uint64_t rows[3];
    const struct vkring_plan_params params = params_of(VKRING_LAYOUT_CONTIGUOUS, false, 1000, 1000);
    ck_assert_int_eq(vkring_shares_cut(&params, 3, speeds, most, rows), VKRING_OK);
    ck_assert(rows[0] == 400 && rows[1] == 200 && rows[2] == 400);
}
END_TEST

/* No number says how long the slowest would take. */
START_TEST(ranks_of_hardly_any_speed_get_no_rows)
{
    const double speeds[] = {1e-308, 5e-324, 1e308};
    const uint64_t most[] = {10, 10, 6};
    for (int kind = 0; kind < KINDS; kind++) {
        const struct vkring_plan_params params = params_of(kinds[kind], false, 10, 12);
        uint64_t rows[3];
        ck_assert_int_eq(vkring_shares_cut(&params, 3, speeds, NULL, rows), VKRING_OK);
        ck_assert_uint_eq(rows[2], 10);
        ck_assert_int_eq(vkring_shares_cut(&params, 3, speeds, most, rows), VKRING_OK);
        ck_assert_uint_eq(rows[2], 6);
        ck_assert_uint_eq(sum_of(rows, 3), 10);
    }
}
END_TEST

START_TEST(limits_are_kept_and_all_rows_dealt)
{
    struct dice dice = {.seed = 100 + (uint64_t)_i};
    double speeds[MOST_RANKS];
    uint64_t rows[MOST_RANKS], most[MOST_RANKS], room = 0;
    const uint32_t ranks = 1 + (uint32_t)throw_dice(&dice, MOST_RANKS);
    const uint64_t q_len = throw_dice(&dice, 3000);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        speeds[rank] = rank + 1 < ranks ? (double)throw_dice(&dice, 5) / 4 : 1;
        most[rank] = throw_dice(&dice, 200);
        room += speeds[rank] > 0 ? most[rank] : 0;
    }
    for (int kind = 0; kind < KINDS; kind++) {
        struct vkring_plan_params params = params_of(kinds[kind], _i % 2, q_len, 1 + throw_dice(&dice, 3000));
        const enum vkring_status status = vkring_shares_cut(&params, ranks, speeds, most, rows);
        if (status != VKRING_OK) {
            ck_assert_int_eq(status, VKRING_ERROR_OUT_OF_DEVICE_MEMORY);
            ck_assert_uint_lt(room, q_len);
            continue;
        }
        ck_assert_uint_eq(sum_of(rows, ranks), q_len);
        for (uint32_t rank = 0; rank < ranks; rank++) {
            ck_assert_uint_le(rows[rank], most[rank]);
            ck_assert(speeds[rank] > 0 || rows[rank] == 0);
        }
    }
}
END_TEST

/* Of speeds 1 : 2 : 4, equal shares leave 3/7 of the speed; by speed, all but the ends of packets. */
/* Where double precision has no fractions left. */
START_TEST(very_long_sequences_are_dealt_too)
{
    struct dice dice = {.seed = 200 + (uint64_t)_i};
    double speeds[MOST_RANKS];
    uint64_t rows[MOST_RANKS], most[MOST_RANKS];
    const uint32_t ranks = 2 + (uint32_t)throw_dice(&dice, 6);
    const uint64_t q_len = ((uint64_t)1 << 53) + throw_dice(&dice, (uint64_t)1 << 52) + throw_dice(&dice, 1024);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        speeds[rank] = 1 + (double)throw_dice(&dice, 1000) / 10;
        most[rank] = q_len / ranks + throw_dice(&dice, q_len / ranks) + 1 + throw_dice(&dice, 1024);
    }
    for (int kind = 0; kind < KINDS; kind++) {
        const struct vkring_plan_params params = params_of(kinds[kind], _i % 2, q_len, q_len / 2);
        ck_assert_int_eq(vkring_shares_cut(&params, ranks, speeds, most, rows), VKRING_OK);
        ck_assert_uint_eq(sum_of(rows, ranks), q_len);
        for (uint32_t rank = 0; rank < ranks; rank++)
            ck_assert_uint_le(rows[rank], most[rank]);
    }
}
END_TEST

START_TEST(a_ring_of_unlike_ranks_runs_at_the_sum_of_their_speeds)
{
    const double speeds[] = {1, 2, 4};
    struct vkring_simulated_rank ranks[3] = {{.unified_memory = true}, {.unified_memory = true}, {.unified_memory = true}};
    for (int causal = 0; causal < 2; causal++) {
        struct vkring_plan_params params = params_of(VKRING_LAYOUT_AUTO, causal, 4096, 4096);
        struct vkring_simulation whole;
        uint64_t rows[3];
        const struct vkring_simulation_params simulation = {.problem = &params, .ranks = 3, .rank = ranks, .rank_count = 3};
        for (int i = 0; i < 3; i++)
            ranks[i].forward_flops = speeds[i] * 1e9;
        ck_assert_int_eq(vkring_simulate(&simulation, &whole, NULL, NULL), VKRING_OK);
        ck_assert_double_lt(whole.ideal_seconds / whole.total_seconds, 0.45);
        ck_assert_int_eq(vkring_shares_cut(&params, 3, speeds, NULL, rows), VKRING_OK);
        params.query_rows_of_rank = rows;
        ck_assert_int_eq(vkring_simulate(&simulation, &whole, NULL, NULL), VKRING_OK);
        ck_assert_double_gt(whole.ideal_seconds / whole.total_seconds, 0.95);
    }
}
END_TEST

START_TEST(bad_speeds_are_refused)
{
    const double bad[][2] = {{1, -1}, {1, NAN}, {INFINITY, 1}, {0, 0}};
    const struct vkring_plan_params params = params_of(VKRING_LAYOUT_AUTO, false, 10, 10);
    uint64_t rows[2] = {7, 7};
    ck_assert_int_eq(vkring_shares_cut(&params, 2, bad[_i], NULL, rows), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "speed"));
    ck_assert(rows[0] == 7 && rows[1] == 7);
}
END_TEST

/* Some of them are out of range. */
START_TEST(other_parameters_do_not_count)
{
    const double speeds[] = {1, 2, 5};
    const struct vkring_plan_params whole = params_of(VKRING_LAYOUT_AUTO, true, 100, 100);
    const struct vkring_plan_params bare = {.q_len = 100, .kv_len = 100, .causal = true, .layout = VKRING_LAYOUT_AUTO};
    uint64_t rows[3], of_bare[3];
    struct vkring_plan_params wrong = whole;
    wrong.dropout = 2;
    wrong.kv_heads = 3;
    wrong.batch = UINT64_MAX;
    ck_assert_int_eq(vkring_shares_cut(&whole, 3, speeds, NULL, rows), VKRING_OK);
    ck_assert_int_eq(vkring_shares_cut(&bare, 3, speeds, NULL, of_bare), VKRING_OK);
    ck_assert_mem_eq(rows, of_bare, sizeof(rows));
    ck_assert_int_eq(vkring_shares_cut(&wrong, 3, speeds, NULL, of_bare), VKRING_OK);
    ck_assert_mem_eq(rows, of_bare, sizeof(rows));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shares");
    TCase *tcase = tcase_create("loops");
    tcase_add_loop_test(tcase, unlike_ranks_end_together, 0, ROUNDS);
    tcase_add_loop_test(tcase, limits_are_kept_and_all_rows_dealt, 0, ROUNDS);
    tcase_add_loop_test(tcase, very_long_sequences_are_dealt_too, 0, ROUNDS);
    tcase_add_loop_test(tcase, bad_speeds_are_refused, 0, 4);
    suite_add_tcase(suite, tcase);
    suite_add(suite, "area", shares_follow_speed_times_area);
    suite_add(suite, "extremes", ranks_of_hardly_any_speed_get_no_rows);
    suite_add(suite, "memory", memory_limits_a_fast_rank);
    suite_add(suite, "ring", a_ring_of_unlike_ranks_runs_at_the_sum_of_their_speeds);
    suite_add(suite, "parameters", other_parameters_do_not_count);
    return suite_run(suite);
}
