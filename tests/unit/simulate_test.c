/* SPDX-License-Identifier: MIT */
/* Simulated runs against what is worked out by hand, in seconds that are chosen to be whole. */
#include <math.h>
#include <string.h>

#include <ring/work.h>

#include "../harness/suite.h"
#include "simulated_ring.h"

static void check_seconds(double seconds, double expected)
{
    ck_assert_double_eq_tol(seconds, expected, 1e-9 * fabs(expected) + 1e-12);
}

START_TEST(equal_ranks_with_fast_links_lose_nothing)
{
    const struct vkring_plan_params problem = problem_of(40, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank rank = pair_a_second();
    rank.link_bytes_per_second = BYTES_PER_KEY; /* 10 s a packet, and 100 s of work a step */
    rank.link_latency_seconds = 1;
    const struct outcome outcome = simulate(&problem, 4, &rank, 1);
    check_seconds(outcome.whole.total_seconds, 400);
    check_seconds(outcome.whole.ideal_seconds, 400);
    ck_assert_uint_eq(outcome.whole.steps, 4);
    for (int i = 0; i < 4; i++) {
        check_seconds(outcome.turns[i].compute_seconds, 100);
        check_seconds(outcome.turns[i].transfer_seconds, i ? 12 : 0);
        check_seconds(outcome.turns[i].end_seconds, 100 * (i + 1));
        check_seconds(outcome.results[i].exposed_wait_seconds, 0);
        check_seconds(outcome.results[i].compute_seconds, 400);
        check_seconds(outcome.results[i].sent_bytes, 3 * 10 * BYTES_PER_KEY);
        check_seconds(outcome.results[i].received_bytes, 3 * 10 * BYTES_PER_KEY);
    }
}
END_TEST

/* A packet takes 300 s, the work of a step 100 s: each rank passes on what it just received. */
START_TEST(slow_links_set_the_pace)
{
    const struct vkring_plan_params problem = problem_of(40, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank rank = pair_a_second();
    rank.link_bytes_per_second = BYTES_PER_KEY / 30.0;
    const struct outcome outcome = simulate(&problem, 4, &rank, 1);
    check_seconds(outcome.whole.total_seconds, 3 * 300 + 100);
    check_seconds(outcome.results[2].exposed_wait_seconds, 3 * 200);
    check_seconds(outcome.turns[3].exposed_wait_seconds, 200);
}
END_TEST

/* Copies take 20 s a packet: the own one to the host first, each that comes to the device. */
START_TEST(copies_to_and_from_a_device_of_its_own_memory)
{
    const struct vkring_plan_params problem = problem_of(40, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank rank = pair_a_second();
    rank.unified_memory = false;
    rank.copy_bytes_per_second = BYTES_PER_KEY / 2.0;
    rank.link_bytes_per_second = BYTES_PER_KEY / 30.0;
    const struct outcome outcome = simulate(&problem, 4, &rank, 1);
    check_seconds(outcome.whole.total_seconds, 20 + 3 * 300 + 20 + 100);
    rank.link_bytes_per_second = BYTES_PER_KEY;
    check_seconds(simulate(&problem, 4, &rank, 1).whole.total_seconds, 20 + 400);
}
END_TEST

/* Both slots are full while a slow rank computes, so that what it should pass on waits. */
START_TEST(a_slow_rank_holds_up_those_behind_it)
{
    const struct vkring_plan_params problem = problem_of(40, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank ranks[4];
    for (int i = 0; i < 4; i++)
        ranks[i] = pair_a_second();
    ranks[1].forward_flops /= 4;
    const struct outcome outcome = simulate(&problem, 4, ranks, 4);
    check_seconds(outcome.whole.total_seconds, 4 * 400);
    /* rank 1 takes the packet of step 3 when it is done with that of step 1: so late rank 2 gets no packet, but rank 0's next is taken */
    check_seconds(outcome.results[2].total_seconds, 400);
    check_seconds(outcome.results[0].total_seconds, 800);
    check_seconds(outcome.whole.ideal_seconds, 1600 / 3.25);
}
END_TEST

/* The link behind rank 2 takes 1000 s a packet: it takes a packet when it has passed on that of two steps before. */
START_TEST(a_slow_link_holds_up_those_before_it)
{
    const struct vkring_plan_params problem = problem_of(40, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank ranks[4];
    for (int i = 0; i < 4; i++)
        ranks[i] = pair_a_second();
    ranks[2].link_bytes_per_second = BYTES_PER_KEY / 100.0;
    const struct outcome outcome = simulate(&problem, 4, ranks, 4);
    check_seconds(outcome.results[0].total_seconds, 2100);
    check_seconds(outcome.results[1].total_seconds, 2000);
    check_seconds(outcome.results[2].total_seconds, 3000);
    check_seconds(outcome.results[3].total_seconds, 3100);
}
END_TEST

/* Without unified memory a packet waits in the host's slot, and is passed on, only when the device's is free. */
START_TEST(a_slow_device_of_its_own_memory_takes_one_packet_more)
{
    const struct vkring_plan_params problem = problem_of(40, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank ranks[5];
    for (int i = 0; i < 5; i++) {
        ranks[i] = pair_a_second();
        ranks[i].unified_memory = false;
    }
    ranks[1].forward_flops /= 4;
    const struct outcome outcome = simulate(&problem, 5, ranks, 5);
    check_seconds(outcome.results[2].total_seconds, 2 * 256 + 64);
    check_seconds(outcome.results[1].total_seconds, 5 * 256);
}
END_TEST

/* At S = 48 on 4 ranks with free links: the last contiguous rank does 510 pairs, each zigzag one 294. */
START_TEST(causal_layouts_take_what_theory_says)
{
    const struct vkring_plan_params contiguous = problem_of(48, true, VKRING_LAYOUT_CONTIGUOUS);
    const struct vkring_plan_params zigzag = problem_of(48, true, VKRING_LAYOUT_AUTO);
    const struct vkring_simulated_rank rank = pair_a_second();
    const struct outcome outcome = simulate(&zigzag, 4, &rank, 1);
    check_seconds(simulate(&contiguous, 4, &rank, 1).whole.total_seconds, 510);
    check_seconds(outcome.whole.total_seconds, 294);
    check_seconds(outcome.whole.ideal_seconds, 294);
    ck_assert_int_eq(outcome.whole.layout, VKRING_LAYOUT_ZIGZAG);
    check_seconds(outcome.whole.flop, 48.0 * 49 / 2 * FLOP_PER_PAIR);
}
END_TEST

START_TEST(shares_like_speeds_make_unlike_ranks_even)
{
    static const uint64_t rows[] = {8, 16, 32};
    struct vkring_plan_params problem = problem_of(56, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank ranks[3];
    for (int i = 0; i < 3; i++) {
        ranks[i] = pair_a_second();
        ranks[i].forward_flops *= 1 << i;
    }
    problem.key_rows_of_rank = NULL;
    check_seconds(simulate(&problem, 3, ranks, 3).whole.total_seconds, 56.0 * 18);
    problem.query_rows_of_rank = rows;
    const struct outcome outcome = simulate(&problem, 3, ranks, 3);
    check_seconds(outcome.whole.total_seconds, outcome.whole.ideal_seconds);
    check_seconds(outcome.whole.total_seconds, 56.0 * 8);
}
END_TEST

START_TEST(tasks_have_a_cost_of_their_own)
{
    const struct vkring_plan_params problem = problem_of(40, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank rank = pair_a_second();
    rank.task_seconds = 7;
    check_seconds(simulate(&problem, 4, &rank, 1).whole.total_seconds, 4 * 107);
}
END_TEST

/* 35 FLOP a pair at 2.5 times those of forward: 15 for the gradient of its query, 20 for those of its key. */
START_TEST(gradients_come_home_behind_the_own_keys)
{
    struct vkring_plan_params problem = problem_of(20, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank rank = pair_a_second();
    problem.backward = true;
    rank.backward_flops = FLOP_PER_PAIR * 2.5 / 3.5;
    struct outcome outcome = simulate(&problem, 2, &rank, 1);
    check_seconds(outcome.whole.total_seconds, 2 * 100 * 3.5);
    check_seconds(outcome.whole.ideal_seconds, 2 * 100 * 3.5);
    ck_assert_uint_eq(outcome.whole.turns, 3);
    /* the first packet and the sum, each 500 s: queries 150, wait 350, queries 150, keys 200, then keys 200 while the sum comes */
    rank.link_bytes_per_second = BYTES_PER_KEY / 50.0;
    outcome = simulate(&problem, 2, &rank, 1);
    check_seconds(outcome.whole.total_seconds, 500 + 350 + 500);
    check_seconds(outcome.results[0].exposed_wait_seconds, 350 + 300);
    check_seconds(outcome.results[0].sent_bytes, 2 * 10 * BYTES_PER_KEY);
}
END_TEST

/*
 * As before on 3 ranks: the packets are there at 500 and 1000, the sum of step 1 is made at 850 and goes behind the second packet; it comes
 * at 1500, while that of step 2 waits for it, and home 500 later.
 */
START_TEST(sums_go_before_queries_that_wait)
{
    struct vkring_plan_params problem = problem_of(30, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank rank = pair_a_second();
    problem.backward = true;
    rank.backward_flops = FLOP_PER_PAIR * 2.5 / 3.5;
    rank.link_bytes_per_second = BYTES_PER_KEY / 50.0;
    check_seconds(simulate(&problem, 3, &rank, 1).whole.total_seconds, 2000);
}
END_TEST

/* 20 s a packet or a sum: the own packet, the first sum, one read and written, the one that comes home. */
START_TEST(sums_are_copied_from_and_to_slots)
{
    struct vkring_plan_params problem = problem_of(30, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank rank = pair_a_second();
    problem.backward = true;
    rank.backward_flops = FLOP_PER_PAIR * 2.5 / 3.5;
    rank.unified_memory = false;
    rank.copy_bytes_per_second = BYTES_PER_KEY / 2.0;
    check_seconds(simulate(&problem, 3, &rank, 1).whole.total_seconds, 20 + 3 * 350 + 20 + 40 + 20);
}
END_TEST

/* A window over three steps: the keys of rank 0 are met last by rank 2, whose link is the slow one. */
START_TEST(sums_go_home_from_the_last_that_adds)
{
    struct vkring_plan_params problem = problem_of(60, true, VKRING_LAYOUT_AUTO);
    struct vkring_simulated_rank ranks[6];
    for (int i = 0; i < 6; i++)
        ranks[i] = pair_a_second();
    ranks[2].link_latency_seconds = 1e6;
    problem.has_window = problem.backward = true;
    problem.window_left = 15;
    problem.window_right = -1;
    const struct outcome outcome = simulate(&problem, 6, ranks, 6);
    ck_assert_uint_eq(outcome.whole.steps, 3);
    ck_assert_double_gt(outcome.results[0].total_seconds, 2e6);
    ck_assert_double_lt(outcome.results[5].exposed_wait_seconds, 1e6);
}
END_TEST

/*
 * Rank 2 takes 250000 s a step, 3/7 of it for queries, which come first at step 0: its sum of step 4 is ready after 3/7 + 4 steps. Rank 1
 * can only then send it the last sum, that of step 6, to the same slot, and rank 0 its last a step before.
 */
START_TEST(a_slot_takes_a_sum_once_the_one_before_was_passed_on)
{
    const double step = 100 * 2.5 * 1000;
    struct vkring_plan_params problem = problem_of(60, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank ranks[6];
    for (int i = 0; i < 6; i++)
        ranks[i] = pair_a_second();
    ranks[2].forward_flops /= 1000;
    problem.backward = true;
    const struct outcome outcome = simulate(&problem, 6, ranks, 6);
    check_seconds(outcome.results[1].total_seconds, (3.0 / 7 + 4) * step);
    check_seconds(outcome.results[0].total_seconds, (3.0 / 7 + 3) * step);
    check_seconds(outcome.whole.total_seconds, 6 * step);
}
END_TEST

/*
 * The link behind rank 0 takes 1000 s for each packet and sum: its own packet, that of rank 2 and its first sum have gone at 3000. Only
 * then its gradients come home, to the slot of that sum, though they are made long before; its work of 3 · 350 is then done.
 */
START_TEST(the_way_home_waits_for_a_slot_too)
{
    struct vkring_plan_params problem = problem_of(30, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank ranks[3];
    for (int i = 0; i < 3; i++) {
        ranks[i] = pair_a_second();
        ranks[i].backward_flops = FLOP_PER_PAIR * 2.5 / 3.5;
    }
    ranks[0].link_bytes_per_second = BYTES_PER_KEY / 100.0;
    problem.backward = true;
    check_seconds(simulate(&problem, 3, ranks, 3).results[0].exposed_wait_seconds, 3000 - 3 * 350);
}
END_TEST

/* To rank 3 a sum comes from rank 2, which is slow, then its own gradients from rank 5: it is done as much later as these take longer. */
START_TEST(sums_come_one_after_another)
{
    double seconds[2];
    struct vkring_plan_params problem = problem_of(60, true, VKRING_LAYOUT_AUTO);
    struct vkring_simulated_rank ranks[6];
    for (int i = 0; i < 6; i++)
        ranks[i] = pair_a_second();
    ranks[2].forward_flops /= 1000;
    problem.has_window = problem.backward = true;
    problem.window_left = 15;
    problem.window_right = -1;
    for (int i = 0; i < 2; i++) {
        ranks[5].link_latency_seconds = 100 * (i + 1);
        seconds[i] = simulate(&problem, 6, ranks, 6).results[3].total_seconds;
    }
    check_seconds(seconds[1] - seconds[0], 2 * 100);
}
END_TEST

/* Tiles of 8 rows, steps of 8 keys. */
static const struct vkring_device_info cpu = {
    .kind = VKRING_DEVICE_CPU, .driver = "llvmpipe Mesa 26.1.6", .subgroup_size = 8, .unified_memory = true};
/* What a row of it takes, in pairs, and what an element that is only moved does. */
enum { CPU_ROW_PAIRS = 32, CPU_ACCESS_FLOP = 64 };

/*
 * A CPU makes both gradients from one look at the scores: half of the own keys before the first packet, half after the last. Beside scores:
 * of 16 query rows, outputs and their gradients are read and query gradients cleared; of 16 keys, a sum begins with a copy, and at home the
 * own part is added.
 */
START_TEST(a_cpu_halves_the_own_keys)
{
    const double access = CPU_ACCESS_FLOP / (FLOP_PER_PAIR * 2.5);
    const double step = 16 * 16 + 16 * CPU_ROW_PAIRS, start = 3 * 16 * DIM * access;
    const double begin_sum = 2 * 16 * 2 * DIM * access, end_sum = 3 * 16 * 2 * DIM * access;
    struct vkring_plan_params problem = problem_of(32, false, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank rank = pair_a_second();
    problem.backward = true;
    rank.device = &cpu;
    rank.backward_flops = FLOP_PER_PAIR * 2.5;
    rank.link_bytes_per_second = 16 * BYTES_PER_KEY / (0.4 * step); /* a packet or sum takes 0.4 of a step */
    struct outcome outcome = simulate(&problem, 2, &rank, 1);
    check_seconds(outcome.turns[0].compute_seconds, start + 0.5 * step);
    check_seconds(outcome.whole.total_seconds, start + begin_sum + 2 * step + end_sum);
    rank.link_bytes_per_second /= 3; /* 1.2: waits for the packet, and at home for the sum */
    outcome = simulate(&problem, 2, &rank, 1);
    check_seconds(outcome.whole.total_seconds, (1.2 + 1 + 1.2) * step + begin_sum + end_sum);
}
END_TEST

/* Half of what the mask keeps of tiles along the diagonal, but for it, is computed for nothing. */
START_TEST(tiles_along_a_diagonal_are_computed_whole)
{
    const struct vkring_plan_params problem = problem_of(64, true, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulated_rank rank = pair_a_second();
    const double kept = 64 * 65 / 2, whole = 8 * 8 * (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8);
    struct outcome outcome = simulate(&problem, 1, &rank, 1);
    check_seconds(outcome.whole.total_seconds, kept);
    rank.device = &cpu;
    outcome = simulate(&problem, 1, &rank, 1);
    check_seconds(outcome.whole.total_seconds, whole + 64 * CPU_ROW_PAIRS);
    check_seconds(outcome.whole.flop, kept * FLOP_PER_PAIR);
    check_seconds(outcome.whole.ideal_seconds, kept);
}
END_TEST

/* Of 64 · 65 / 2 pairs that are kept; and of a row's own key alone, in tiles of 8 rows and steps of 8 keys. */
START_TEST(the_part_that_is_kept)
{
    const struct kernel_choice choice = {
        .workgroup_size = 8, .lanes_per_row = 1, .rows_per_lane = 1, .keys_per_step = 8, .row_pairs = CPU_ROW_PAIRS};
    struct vkring_plan_params params = problem_of(64, true, VKRING_LAYOUT_CONTIGUOUS);
    struct problem problem;
    ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
    check_seconds(work_kept_part(&problem, &choice), (64 * 65 / 2) / (8 * 8 * 36 + 64.0 * CPU_ROW_PAIRS));
    params.has_window = true;
    ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
    check_seconds(work_kept_part(&problem, &choice), 64 / (8 * 8 * 8 + 64.0 * CPU_ROW_PAIRS));
    params.has_query_offset = true;
    params.query_offset = -100;
    ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
    check_seconds(work_kept_part(&problem, &choice), 1);
}
END_TEST

/* Free links, a device that never waits: all ranks of any number are done when their work is. */
START_TEST(backward_loses_nothing_with_fast_links)
{
    static const uint32_t many[] = {1, 2, 3, 4, 5, 8};
    for (int causal = 0; causal < 2; causal++) {
        struct vkring_plan_params problem = problem_of(16 * (uint64_t)many[_i], causal, VKRING_LAYOUT_AUTO);
        const struct vkring_simulated_rank rank = pair_a_second();
        problem.backward = true;
        const struct outcome outcome = simulate(&problem, many[_i], &rank, 1);
        check_seconds(outcome.whole.total_seconds, outcome.whole.ideal_seconds);
    }
}
END_TEST

START_TEST(a_window_ends_the_run_early)
{
    struct vkring_plan_params problem = problem_of(40, true, VKRING_LAYOUT_AUTO);
    struct vkring_simulated_rank rank = pair_a_second();
    rank.link_bytes_per_second = BYTES_PER_KEY;
    problem.has_window = true;
    problem.window_left = 5;
    problem.window_right = -1;
    problem.backward = true;
    const struct outcome outcome = simulate(&problem, 4, &rank, 1);
    ck_assert_uint_eq(outcome.whole.steps, 2);
    check_seconds(outcome.results[0].sent_bytes, 2 * 10 * BYTES_PER_KEY);
    check_seconds(outcome.results[0].received_bytes, 2 * 10 * BYTES_PER_KEY);
}
END_TEST

START_TEST(a_thousand_ranks_are_simulated)
{
    const uint32_t ranks = 1000;
    const struct vkring_plan_params problem = problem_of(16 * (uint64_t)ranks, true, VKRING_LAYOUT_ZIGZAG);
    struct vkring_simulated_rank rank = pair_a_second();
    struct vkring_simulation whole;
    const struct vkring_simulation_params params = {.problem = &problem, .ranks = ranks, .rank = &rank, .rank_count = 1};
    ck_assert_int_eq(vkring_simulate(&params, &whole, NULL, NULL), VKRING_OK);
    ck_assert_uint_eq(whole.steps, ranks);
    check_seconds(whole.total_seconds, whole.ideal_seconds);
}
END_TEST

/* A rank needs its neighbour's keys alone: work of the square of the ranks would take minutes. */
START_TEST(ranks_under_a_window_are_many)
{
    enum { RANKS = 65536 };
    const struct vkring_simulated_rank rank = pair_a_second();
    struct vkring_plan_params problem = problem_of(16 * (uint64_t)RANKS, true, VKRING_LAYOUT_CONTIGUOUS);
    struct vkring_simulation whole;
    const struct vkring_simulation_params params = {.problem = &problem, .ranks = RANKS, .rank = &rank, .rank_count = 1};
    problem.has_window = true;
    problem.window_left = 16;
    problem.window_right = -1;
    ck_assert_int_eq(vkring_simulate(&params, &whole, NULL, NULL), VKRING_OK);
    ck_assert_uint_eq(whole.steps, 2);
}
END_TEST

static void check_refused(const struct vkring_simulation_params *params, const char *word)
{
    struct vkring_simulation whole;
    uint64_t longest;
    ck_assert_int_eq(vkring_simulate(params, &whole, NULL, NULL), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, word));
    ck_assert_int_eq(vkring_simulate_longest(params, &longest), VKRING_ERROR_INVALID_ARGUMENT);
}

START_TEST(bad_numbers_are_refused)
{
    struct vkring_plan_params problem = problem_of(40, false, VKRING_LAYOUT_AUTO);
    struct vkring_simulated_rank ranks[2] = {pair_a_second(), pair_a_second()};
    struct vkring_simulation_params params = {.problem = &problem, .ranks = 2, .rank = ranks, .rank_count = 2};
    ranks[1].forward_flops = 0;
    check_refused(&params, "forward_flops of rank 1");
    ranks[1].forward_flops = 1;
    ranks[1].link_bytes_per_second = -1;
    check_refused(&params, "link_bytes_per_second of rank 1");
    ranks[1].link_bytes_per_second = INFINITY;
    check_refused(&params, "link_bytes_per_second of rank 1");
    ranks[1] = pair_a_second();
    params.backward = true;
    check_refused(&params, "backward");
    params.backward = false;
    params.rank_count = 3;
    check_refused(&params, "rank_count");
    params.rank_count = 2;
    params.ranks = 0;
    check_refused(&params, "no ranks");
    params.ranks = 2;
    problem.head_dim = 0;
    check_refused(&params, "head_dim");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulate");
    TCase *tcase = tcase_create("loops");
    suite_add(suite, "compute bound", equal_ranks_with_fast_links_lose_nothing);
    suite_add(suite, "link bound", slow_links_set_the_pace);
    suite_add(suite, "copies", copies_to_and_from_a_device_of_its_own_memory);
    suite_add(suite, "slots", a_slow_rank_holds_up_those_behind_it);
    suite_add(suite, "slow link", a_slow_link_holds_up_those_before_it);
    suite_add(suite, "device slots", a_slow_device_of_its_own_memory_takes_one_packet_more);
    suite_add(suite, "causal", causal_layouts_take_what_theory_says);
    suite_add(suite, "shares", shares_like_speeds_make_unlike_ranks_even);
    suite_add(suite, "tasks", tasks_have_a_cost_of_their_own);
    suite_add(suite, "gradients", gradients_come_home_behind_the_own_keys);
    suite_add(suite, "order of sums", sums_go_before_queries_that_wait);
    suite_add(suite, "copies of sums", sums_are_copied_from_and_to_slots);
    suite_add(suite, "joint gradients", a_cpu_halves_the_own_keys);
    suite_add(suite, "whole tiles", tiles_along_a_diagonal_are_computed_whole);
    suite_add(suite, "kept", the_part_that_is_kept);
    suite_add(suite, "way home", sums_go_home_from_the_last_that_adds);
    suite_add(suite, "slots of sums", a_slot_takes_a_sum_once_the_one_before_was_passed_on);
    suite_add(suite, "slots of sums", the_way_home_waits_for_a_slot_too);
    suite_add(suite, "order of sums", sums_come_one_after_another);
    suite_add(suite, "window", a_window_ends_the_run_early);
    tcase_add_loop_test(tcase, backward_loses_nothing_with_fast_links, 0, 6);
    suite_add_tcase(suite, tcase);
    suite_add(suite, "many", a_thousand_ranks_are_simulated);
    suite_add(suite, "many", ranks_under_a_window_are_many);
    suite_add(suite, "refusals", bad_numbers_are_refused);
    return suite_run(suite);
}
