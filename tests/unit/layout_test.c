/* SPDX-License-Identifier: MIT */
/* Layouts: every row on one rank, every kept pair met once, and the work of each step as even as theory says. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <attention/mask.h>
#include <ring/schedule.h>

#include "../harness/suite.h"

static const enum vkring_layout kinds[] = {VKRING_LAYOUT_CONTIGUOUS, VKRING_LAYOUT_ZIGZAG};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static const uint32_t many_ranks[] = {1, 2, 3, 4, 5, 8, 13, 64, 257, 1000, 4096};
enum { MANY_RANKS = sizeof(many_ranks) / sizeof(many_ranks[0]) };

static struct vkring_plan_params params_of(enum vkring_layout layout, uint64_t q_len, uint64_t kv_len)
{
    return (struct vkring_plan_params){
        .batch = 1, .q_len = q_len, .kv_len = kv_len, .heads = 1, .head_dim = 8, .causal = true, .layout = layout};
}

static struct layout make(const struct vkring_plan_params *params, uint32_t rank, uint32_t ranks)
{
    struct layout layout;
    ck_assert_int_eq(layout_make(rank, ranks, params, &layout), VKRING_OK);
    return layout;
}

struct sums {
    double all, critical, mean; /* pairs of all steps; of the slowest rank of each step; of the mean rank of each */
    double unevenness;          /* the largest step over its mean, after step 0 */
};

static struct sums sum_pairs(const struct vkring_plan_params *params, uint32_t ranks)
{
    struct problem problem;
    struct sums sums = {0};
    struct layout layout = make(params, 0, ranks);
    ck_assert_int_eq(problem_resolve(params, &problem), VKRING_OK);
    for (uint32_t step = 0; step < ranks; step++) {
        double most = 0, all = 0;
        for (uint32_t rank = 0; rank < ranks; rank++) {
            const double pairs = schedule_kept_pairs(&problem, &layout, rank, step);
            most = fmax(most, pairs);
            all += pairs;
        }
        sums.all += all;
        sums.critical += most;
        sums.mean += all / ranks;
        if (step > 0 && all > 0)
            sums.unevenness = fmax(sums.unevenness, most * ranks / all);
    }
    layout_free(&layout);
    return sums;
}

static int compare_spans(const void *a, const void *b)
{
    const struct layout_span *x = a, *y = b;
    return x->first != y->first ? (x->first > y->first) - (x->first < y->first) : (x->rows > y->rows) - (x->rows < y->rows);
}

static void check_side(const struct layout_side *side, uint32_t ranks, const uint64_t *rows_of_rank, uint64_t rows)
{
    struct layout_span *sorted = calloc((size_t)ranks * LAYOUT_SPANS, sizeof(*sorted));
    uint64_t next = 0;
    ck_assert_ptr_nonnull(sorted);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        uint64_t local = 0, last = 0;
        for (uint32_t i = 0; i < LAYOUT_SPANS; i++) {
            const struct layout_span *span = layout_span_of(side, rank, i);
            ck_assert_uint_eq(span->local, local);
            ck_assert_uint_ge(span->first, last);
            ck_assert_uint_ge(span->first, span->local); /* layout_span_origin is a row */
            local += span->rows;
            last = span->first + span->rows;
            sorted[(size_t)rank * LAYOUT_SPANS + i] = *span;
        }
        if (rows_of_rank)
            ck_assert_uint_eq(local, rows_of_rank[rank]);
    }
    qsort(sorted, (size_t)ranks * LAYOUT_SPANS, sizeof(*sorted), compare_spans);
    for (size_t i = 0; i < (size_t)ranks * LAYOUT_SPANS; i++) {
        ck_assert_uint_eq(sorted[i].first, next);
        next += sorted[i].rows;
    }
    ck_assert_uint_eq(next, rows);
    free(sorted);
}

START_TEST(every_row_is_on_one_rank)
{
    static const uint64_t lengths[] = {0, 1, 2, 7, 48, 4096, 999983, UINT64_C(1) << 40};
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
            const struct vkring_plan_params params = params_of(kinds[kind], lengths[i], lengths[i] / 3);
            struct layout layout = make(&params, 0, many_ranks[_i]);
            check_side(&layout.queries, many_ranks[_i], NULL, params.q_len);
            check_side(&layout.keys, many_ranks[_i], NULL, params.kv_len);
            layout_free(&layout);
        }
}
END_TEST

START_TEST(uneven_shares_are_kept)
{
    const uint32_t ranks = many_ranks[_i];
    uint64_t *rows = calloc(ranks, sizeof(*rows)), sum = 0;
    ck_assert_ptr_nonnull(rows);
    for (uint32_t rank = 0; rank < ranks; rank++)
        sum += rows[rank] = rank * 7919u % 11 * (rank % 3);
    for (int kind = 0; kind < KINDS; kind++) {
        struct vkring_plan_params params = params_of(kinds[kind], sum, 100);
        params.query_rows_of_rank = rows;
        struct layout layout = make(&params, 0, ranks);
        check_side(&layout.queries, ranks, rows, sum);
        layout_free(&layout);
    }
    free(rows);
}
END_TEST

/* Lengths that nothing divides, and a window. */
START_TEST(every_kept_pair_is_met_once)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (int window = 0; window < 2; window++) {
            struct problem problem;
            struct vkring_plan_params params = params_of(kinds[kind], 9973, 10007);
            params.has_window = window;
            params.window_left = window ? 1000 : 0;
            params.window_right = window ? -1 : 0;
            ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
            const double all = mask_kept_pairs(&problem, &(struct mask_block){0, 9973, 0, 10007});
            ck_assert_double_eq_tol(sum_pairs(&params, many_ranks[_i]).all, all, 1e-9 * all);
        }
}
END_TEST

START_TEST(zigzag_steps_are_even)
{
    const uint32_t ranks = many_ranks[_i];
    const struct vkring_plan_params params = params_of(VKRING_LAYOUT_ZIGZAG, 16 * (uint64_t)ranks, 16 * (uint64_t)ranks);
    const struct sums sums = sum_pairs(&params, ranks);
    ck_assert_double_le(sums.unevenness, 1);
    ck_assert_double_eq_tol(sums.critical, sums.mean, 1e-9 * sums.mean);
}
END_TEST

/* At S = 48 on 4 ranks: a rank's own triangle, and three whole squares for contiguous or three halves for zigzag. */
START_TEST(critical_paths_are_those_of_theory)
{
    const struct vkring_plan_params contiguous = params_of(VKRING_LAYOUT_CONTIGUOUS, 48, 48);
    const struct vkring_plan_params zigzag = params_of(VKRING_LAYOUT_ZIGZAG, 48, 48);
    ck_assert_double_eq(sum_pairs(&contiguous, 4).critical, 12 * 13 / 2 + 3 * 12 * 12);
    ck_assert_double_eq(sum_pairs(&zigzag, 4).critical, 12 * 13 / 2 + 3 * 12 * 12 / 2);
}
END_TEST

START_TEST(auto_is_zigzag_where_work_grows_along_the_sequence)
{
    struct vkring_rank_rows rows;
    struct vkring_plan_params params = params_of(VKRING_LAYOUT_AUTO, 48, 48);
    ck_assert_int_eq(vkring_rows_of_rank(&params, 4, 1, &rows), VKRING_OK);
    ck_assert_int_eq(rows.layout, VKRING_LAYOUT_ZIGZAG);
    ck_assert_uint_eq(rows.query_rows, 12);
    ck_assert_uint_eq(rows.query_spans[0].first, 6);
    ck_assert_uint_eq(rows.query_spans[1].first, 36);
    ck_assert_int_eq(vkring_rows_of_rank(&params, 1, 0, &rows), VKRING_OK);
    ck_assert_int_eq(rows.layout, VKRING_LAYOUT_CONTIGUOUS);
    params.has_window = true;
    params.window_left = 5;
    ck_assert_int_eq(vkring_rows_of_rank(&params, 4, 0, &rows), VKRING_OK);
    ck_assert_int_eq(rows.layout, VKRING_LAYOUT_CONTIGUOUS);
    params.has_window = params.causal = false;
    ck_assert_int_eq(vkring_rows_of_rank(&params, 4, 0, &rows), VKRING_OK);
    ck_assert_int_eq(rows.layout, VKRING_LAYOUT_CONTIGUOUS);
}
END_TEST

static uint32_t steps_of(const struct vkring_plan_params *params, uint32_t ranks)
{
    struct problem problem;
    struct layout layout = make(params, 0, ranks);
    ck_assert_int_eq(problem_resolve(params, &problem), VKRING_OK);
    const uint32_t steps = schedule_steps(&problem, &layout);
    layout_free(&layout);
    return steps;
}

/* Against a look at every step of every rank. */
START_TEST(steps_end_with_the_last_pair)
{
    const uint32_t ranks = many_ranks[_i];
    for (int kind = 0; kind < KINDS; kind++)
        for (int causal = 0; causal < 2; causal++)
            for (int64_t reach = 0; reach < 300; reach = reach * 3 + 2) {
                struct problem problem;
                struct vkring_plan_params params = params_of(kinds[kind], 97, 301);
                params.causal = causal;
                params.has_window = true;
                params.window_left = reach;
                params.window_right = causal ? -1 : reach / 2;
                struct layout layout = make(&params, 0, ranks);
                ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
                uint32_t last = 0;
                for (uint32_t step = 0; step < ranks; step++)
                    for (uint32_t rank = 0; rank < ranks; rank++)
                        if (schedule_kept_pairs(&problem, &layout, rank, step) > 0)
                            last = step;
                ck_assert_uint_eq(schedule_steps(&problem, &layout), last + 1);
                layout_free(&layout);
            }
}
END_TEST

START_TEST(a_window_moves_packets_as_far_as_it_reaches)
{
    struct vkring_plan_params params = params_of(VKRING_LAYOUT_AUTO, 8000, 8000);
    ck_assert_uint_eq(steps_of(&params, 8), 8);
    params.has_window = true;
    params.window_right = -1;
    const struct {
        int64_t reach;
        uint32_t steps;
    } reaches[] = {{0, 1}, {1, 2}, {500, 2}, {1000, 2}, {1001, 3}, {2000, 3}, {7000, 8}, {9000, 8}};
    for (size_t i = 0; i < sizeof(reaches) / sizeof(reaches[0]); i++) {
        params.window_left = reaches[i].reach;
        ck_assert_uint_eq(steps_of(&params, 8), reaches[i].steps);
    }
}
END_TEST

START_TEST(bad_layouts_are_refused)
{
    struct vkring_rank_rows rows;
    const uint64_t too_few[] = {3, 4};
    struct vkring_plan_params params = params_of((enum vkring_layout)9, 8, 8);
    ck_assert_int_eq(vkring_rows_of_rank(&params, 2, 0, &rows), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "layout"));
    params.layout = VKRING_LAYOUT_ZIGZAG;
    ck_assert_int_eq(vkring_rows_of_rank(&params, 2, 2, &rows), VKRING_ERROR_INVALID_ARGUMENT);
    params.query_rows_of_rank = too_few;
    ck_assert_int_eq(vkring_rows_of_rank(&params, 2, 0, &rows), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "query_rows_of_rank"));
}
END_TEST

int main(void)
{
    /* 1000 ranks where every rank is looked at in every step */
    enum { NOT_SO_MANY = MANY_RANKS - 1, FEW = MANY_RANKS - 3 };
    Suite *suite = suite_create("layout");
    TCase *tcase = tcase_create("layout");
    tcase_add_loop_test(tcase, every_row_is_on_one_rank, 0, MANY_RANKS);
    tcase_add_loop_test(tcase, uneven_shares_are_kept, 0, MANY_RANKS);
    tcase_add_loop_test(tcase, every_kept_pair_is_met_once, 0, NOT_SO_MANY);
    tcase_add_loop_test(tcase, zigzag_steps_are_even, 0, NOT_SO_MANY);
    tcase_add_test(tcase, critical_paths_are_those_of_theory);
    tcase_add_test(tcase, auto_is_zigzag_where_work_grows_along_the_sequence);
    tcase_add_loop_test(tcase, steps_end_with_the_last_pair, 0, FEW);
    tcase_add_test(tcase, a_window_moves_packets_as_far_as_it_reaches);
    tcase_add_test(tcase, bad_layouts_are_refused);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
