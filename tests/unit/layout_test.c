/* SPDX-License-Identifier: MIT */
/* Layouts: every row on one rank, every kept pair met once, and in no more steps than it takes. */
#include <stdlib.h>
#include <string.h>

#include <attention/mask.h>
#include <ring/schedule.h>

#include "../harness/kept_pairs.h"
#include "../harness/suite.h"

static const enum vkring_layout kinds[] = {VKRING_LAYOUT_CONTIGUOUS, VKRING_LAYOUT_ZIGZAG, VKRING_LAYOUT_STRIPED};
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

/* Of all steps of all ranks. */
static double sum_pairs(const struct vkring_plan_params *params, uint32_t ranks)
{
    struct problem problem;
    double pairs = 0;
    struct layout layout = make(params, 0, ranks);
    ck_assert_int_eq(problem_resolve(params, &problem), VKRING_OK);
    for (uint32_t step = 0; step < ranks; step++)
        for (uint32_t rank = 0; rank < ranks; rank++)
            pairs += kept_pairs(&problem, &layout, rank, step);
    layout_free(&layout);
    return pairs;
}

/* In how many spans a row is. */
static uint32_t holders_of(const struct layout_side *side, uint32_t ranks, uint64_t row)
{
    uint32_t holders = 0;
    for (size_t i = 0; i < (size_t)ranks * side->count; i++) {
        const struct layout_span *span = &side->spans[i];
        if (span->rows > 0 && row >= span->first && (row - span->first) % span->stride == 0)
            holders += (row - span->first) / span->stride < span->rows;
    }
    return holders;
}

/* Returns how many rows the rank holds. */
static uint64_t check_spans(const struct layout_side *side, uint32_t rank, uint64_t rows)
{
    uint64_t local = 0, next = 0;
    bool ended = false, good = true;
    for (uint32_t i = 0; i < side->count; i++) {
        const struct layout_span *span = layout_span_of(side, rank, i);
        ended = ended || span->rows == 0;
        if (span->rows == 0)
            continue;
        good = good && !ended && span->local == local && span->first >= next && span->stride > 0;
        local += span->rows;
        next = span->first + (span->rows - 1) * span->stride + 1;
    }
    ck_assert(good && next <= rows);
    return local;
}

/* As many rows as there are, none of which is held twice: of many, some are looked at. */
static void check_side(const struct layout_side *side, uint32_t ranks, const uint64_t *rows_of_rank, uint64_t rows)
{
    const uint64_t looks = rows < 300 ? rows : 300;
    uint64_t sum = 0;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        const uint64_t held = check_spans(side, rank, rows);
        if (rows_of_rank)
            ck_assert_uint_eq(held, rows_of_rank[rank]);
        sum += held;
    }
    ck_assert_uint_eq(sum, rows);
    for (uint64_t look = 0; look < looks; look++) {
        const uint64_t spread = looks == rows ? look : look < 100 ? look : look < 200 ? rows - 1 - (look - 100) : rows / 100 * (look - 200);
        ck_assert_uint_eq(holders_of(side, ranks, spread), 1);
    }
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

START_TEST(stripes_follow_the_ranks)
{
    const uint32_t ranks = many_ranks[_i];
    const struct vkring_plan_params params = params_of(VKRING_LAYOUT_STRIPED, 10007, 11);
    struct layout layout = make(&params, 0, ranks);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        const struct layout_span *span = layout_span_of(&layout.queries, rank, 0);
        ck_assert_uint_eq(layout_query_rows(&layout, rank), span->rows);
        ck_assert_uint_eq(span->first, rank);
        ck_assert(span->rows == 1 || span->stride == ranks);
    }
    layout_free(&layout);
}
END_TEST

/* The rank that a row goes to when rows are dealt in rounds. */
static void deal(uint32_t ranks, const uint64_t *rows_of_rank, uint64_t rows, uint32_t *out_rank_of_row)
{
    uint64_t row = 0;
    for (uint64_t round = 0; row < rows; round++)
        for (uint32_t rank = 0; rank < ranks; rank++)
            if (rows_of_rank[rank] > round)
                out_rank_of_row[row++] = rank;
}

START_TEST(stripes_are_dealt_in_rounds)
{
    static const uint64_t shares[][5] = {{7, 3, 0, 7, 4}, {1, 1, 1, 1, 1}, {0, 0, 9, 0, 0},
                                         {2, 1, 2, 2, 2}, {1, 9, 9, 9, 8}, {5, 4, 3, 2, 1}};
    uint32_t rank_of_row[64];
    uint64_t rows = 0;
    for (int rank = 0; rank < 5; rank++)
        rows += shares[_i][rank];
    deal(5, shares[_i], rows, rank_of_row);
    struct vkring_plan_params params = params_of(VKRING_LAYOUT_STRIPED, rows, 0);
    params.query_rows_of_rank = shares[_i];
    struct layout layout = make(&params, 0, 5);
    for (uint32_t rank = 0; rank < 5; rank++)
        for (uint32_t i = 0; i < layout.queries.count; i++) {
            const struct layout_span *span = layout_span_of(&layout.queries, rank, i);
            for (uint64_t row = 0; row < span->rows; row++)
                ck_assert_uint_eq(rank_of_row[span->first + row * span->stride], rank);
        }
    layout_free(&layout);
}
END_TEST

/* Numbers from 0 on, the last of them twice: one less above 0 than there are spans, of which all are dealt in rounds, or as many. */
START_TEST(the_last_rows_are_runs_where_numbers_are_many)
{
    enum { RANKS = LAYOUT_SPANS + 2, LAST = 100 };
    const uint32_t most = _i == 0 ? LAYOUT_SPANS - 2 : LAYOUT_SPANS - 1, ranks = most + 3;
    uint64_t rows[RANKS], sum = 0;
    for (uint32_t rank = 0; rank < ranks; rank++)
        sum += rows[rank] = rank <= most ? 3 * rank : LAST;
    struct vkring_plan_params params = params_of(VKRING_LAYOUT_STRIPED, sum, sum);
    params.query_rows_of_rank = params.key_rows_of_rank = rows;
    struct layout layout = make(&params, 0, ranks);
    const struct layout_span *last = layout_span_of(&layout.queries, ranks - 1, layout.queries.count - 1);
    ck_assert_uint_eq(layout.queries.count, LAYOUT_SPANS - (_i == 0 ? 1 : 0));
    ck_assert_uint_eq(last->stride, _i == 0 ? 2 : 1);
    ck_assert_uint_eq(last->rows, LAST - 3 * most);
    layout_free(&layout);
}
END_TEST

/* More different numbers of rows than spans. */
START_TEST(as_many_shares_as_ranks)
{
    enum { RANKS = 100 };
    uint64_t rows[RANKS], sum = 0;
    for (uint32_t rank = 0; rank < RANKS; rank++)
        sum += rows[rank] = 1000 + 2 * (rank * 37 % RANKS);
    struct vkring_plan_params params = params_of(VKRING_LAYOUT_STRIPED, sum, sum);
    params.query_rows_of_rank = rows;
    struct layout layout = make(&params, 0, RANKS);
    ck_assert_uint_eq(layout.queries.count, LAYOUT_SPANS);
    check_side(&layout.queries, RANKS, rows, sum);
    ck_assert_double_eq(sum_pairs(&params, RANKS), (double)sum * (double)(sum + 1) / 2);
    layout_free(&layout);
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
            ck_assert_double_eq_tol(sum_pairs(&params, many_ranks[_i]), all, 1e-9 * all);
        }
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
    uint32_t steps;
    ck_assert_int_eq(problem_resolve(params, &problem), VKRING_OK);
    ck_assert_int_eq(schedule_steps(&problem, &layout, &steps), VKRING_OK);
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
                        if (kept_pairs(&problem, &layout, rank, step) > 0)
                            last = step;
                layout_free(&layout);
                ck_assert_uint_eq(steps_of(&params, ranks), last + 1);
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
    tcase_add_loop_test(tcase, stripes_follow_the_ranks, 0, MANY_RANKS);
    tcase_add_loop_test(tcase, stripes_are_dealt_in_rounds, 0, 6);
    tcase_add_loop_test(tcase, the_last_rows_are_runs_where_numbers_are_many, 0, 2);
    tcase_add_test(tcase, as_many_shares_as_ranks);
    tcase_add_loop_test(tcase, every_kept_pair_is_met_once, 0, NOT_SO_MANY);
    tcase_add_test(tcase, auto_is_zigzag_where_work_grows_along_the_sequence);
    tcase_add_loop_test(tcase, steps_end_with_the_last_pair, 0, FEW);
    tcase_add_test(tcase, a_window_moves_packets_as_far_as_it_reaches);
    tcase_add_test(tcase, bad_layouts_are_refused);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
