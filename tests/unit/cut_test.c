/* SPDX-License-Identifier: MIT */
/* Rows cut over ranks: every row goes to one rank, in proportion to the shares, at any magnitude. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ring/cut.h>

#include "../harness/suite.h"

enum { MOST_RANKS = 64 };

__extension__ typedef unsigned __int128 uint128;

static void cut(uint64_t rows, uint32_t ranks, const double *shares, uint64_t *out)
{
    ck_assert_int_eq(vkring_cut_rows(rows, ranks, shares, out), VKRING_OK);
    ck_assert_int_eq(cut_validate("rows", rows, ranks, out), VKRING_OK);
}

/* The contract, for shares that are whole numbers times one factor. */
static void assert_exact(uint64_t rows, uint32_t ranks, const uint64_t *weights, double factor)
{
    double shares[MOST_RANKS];
    uint64_t out[MOST_RANKS];
    uint64_t sum = 0, before = 0;
    for (uint32_t r = 0; r < ranks; r++) {
        shares[r] = (double)weights[r] * factor;
        sum += weights[r];
    }
    cut(rows, ranks, shares, out);
    for (uint32_t r = 0; r < ranks; r++) {
        uint64_t first = (uint64_t)((uint128)rows * before / sum);
        before += weights[r];
        ck_assert_uint_eq(out[r], (uint64_t)((uint128)rows * before / sum) - first);
    }
}

static const uint64_t many_rows[] = {0,
                                     1,
                                     2,
                                     3,
                                     5,
                                     7,
                                     63,
                                     1000,
                                     4096,
                                     999983,
                                     1u << 31,
                                     0xffffffffu,
                                     UINT64_C(1) << 53,
                                     (UINT64_C(1) << 53) + 1,
                                     (UINT64_C(1) << 63) - 1,
                                     UINT64_C(1) << 63,
                                     UINT64_MAX};
enum { MANY_ROWS = sizeof(many_rows) / sizeof(many_rows[0]) };

START_TEST(null_shares_are_equal_ones)
{
    uint64_t out[MOST_RANKS], by_shares[MOST_RANKS];
    double ones[MOST_RANKS];
    for (uint32_t r = 0; r < MOST_RANKS; r++)
        ones[r] = 1;
    for (int i = 0; i < MANY_ROWS; i++) {
        for (uint32_t ranks = 1; ranks <= MOST_RANKS; ranks++) {
            cut(many_rows[i], ranks, NULL, out);
            cut(many_rows[i], ranks, ones, by_shares);
            ck_assert_mem_eq(out, by_shares, ranks * sizeof(out[0]));
            for (uint32_t r = 0; r < ranks; r++) {
                ck_assert_uint_ge(out[r], many_rows[i] / ranks);
                ck_assert_uint_le(out[r], many_rows[i] / ranks + (many_rows[i] % ranks != 0));
            }
        }
    }
}
END_TEST

START_TEST(boundaries_are_the_contracts)
{
    uint64_t out[5];
    cut(10, 3, (double[]){1, 1, 1}, out);
    ck_assert_mem_eq(out, ((uint64_t[]){3, 3, 4}), 3 * sizeof(out[0]));
    cut(6, 3, (double[]){1, 2, 3}, out);
    ck_assert_mem_eq(out, ((uint64_t[]){1, 2, 3}), 3 * sizeof(out[0]));
    cut(10, 3, (double[]){0.1, 0.2, 0.7}, out);
    ck_assert_mem_eq(out, ((uint64_t[]){1, 2, 7}), 3 * sizeof(out[0]));
    cut(7, 5, NULL, out);
    ck_assert_mem_eq(out, ((uint64_t[]){1, 1, 2, 1, 2}), 5 * sizeof(out[0]));
}
END_TEST

START_TEST(whole_shares_cut_exactly_at_any_scale)
{
    const double factors[] = {1, 0.5, 0x1p-1000, 0x1p900, 0x1p-1060};
    srand(1);
    for (int trial = 0; trial < 300; trial++) {
        uint32_t ranks = 1 + (uint32_t)rand() % MOST_RANKS;
        uint64_t weights[MOST_RANKS];
        for (uint32_t r = 0; r < ranks; r++)
            weights[r] = (uint64_t)rand() % 3 ? (uint64_t)rand() % 4000 : 0;
        weights[(uint32_t)rand() % ranks] = 1;
        for (int i = 0; i < MANY_ROWS; i++)
            assert_exact(many_rows[i], ranks, weights, factors[trial % 5]);
    }
}
END_TEST

START_TEST(any_shares_give_every_row_to_one_rank)
{
    srand(2);
    for (int trial = 0; trial < 3000; trial++) {
        uint32_t ranks = 1 + (uint32_t)rand() % MOST_RANKS;
        double shares[MOST_RANKS], sum = 0;
        uint64_t out[MOST_RANKS];
        double exponent = trial % 2 ? 300 : 3;
        for (uint32_t r = 0; r < ranks; r++)
            shares[r] = rand() % 4 ? pow(10, exponent * (2.0 * rand() / RAND_MAX - 1)) : 0;
        shares[(uint32_t)rand() % ranks] = 1;
        for (uint32_t r = 0; r < ranks; r++)
            sum += shares[r];
        uint64_t rows = many_rows[trial % MANY_ROWS];
        cut(rows, ranks, shares, out);
        for (uint32_t r = 0; r < ranks; r++) {
            double ideal = (double)rows * (shares[r] / sum);
            ck_assert(fabs((double)out[r] - ideal) <= 1 + 1e-12 * (double)rows);
            ck_assert(shares[r] > 0 || out[r] == 0);
        }
    }
}
END_TEST

START_TEST(extreme_shares)
{
    uint64_t out[4];
    cut(1000, 4, (double[]){1e-300, 1e300, 0, 1e-300}, out);
    ck_assert_mem_eq(out, ((uint64_t[]){0, 1000, 0, 0}), sizeof(out));
    cut(9, 3, (double[]){1.7e308, 1.7e308, 1.7e308}, out);
    ck_assert_mem_eq(out, ((uint64_t[]){3, 3, 3}), 3 * sizeof(out[0]));
    cut(9, 3, (double[]){5e-324, 5e-324, 5e-324}, out);
    ck_assert_mem_eq(out, ((uint64_t[]){3, 3, 3}), 3 * sizeof(out[0]));
    cut(UINT64_MAX, 2, (double[]){0, 5e-324}, out);
    ck_assert_mem_eq(out, ((uint64_t[]){0, UINT64_MAX}), 2 * sizeof(out[0]));
}
END_TEST

START_TEST(bad_shares_are_refused)
{
    uint64_t out[3] = {7, 7, 7};
    const double bad[][3] = {{1, -1, 1}, {1, NAN, 1}, {1, INFINITY, 1}, {1, -INFINITY, 1}, {0, 0, 0}};
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(vkring_cut_rows(10, 3, bad[i], out), VKRING_ERROR_INVALID_ARGUMENT);
        ck_assert_uint_eq(vkring_last_error()->rank, i < 4 ? 1 : VKRING_NONE);
    }
    ck_assert_int_eq(vkring_cut_rows(10, 0, NULL, out), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_mem_eq(out, ((uint64_t[]){7, 7, 7}), sizeof(out));
}
END_TEST

START_TEST(a_brought_cut_adds_up)
{
    const uint64_t cut_of_ten[] = {3, 0, 7};
    ck_assert_int_eq(cut_validate("x", 10, 3, cut_of_ten), VKRING_OK);
    ck_assert_int_eq(cut_validate("x", 0, 0, NULL), VKRING_OK);
    ck_assert_int_eq(cut_validate("key_rows_of_rank", 11, 3, cut_of_ten), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_str_eq(vkring_last_error()->message, "key_rows_of_rank adds up to 10 rows, not 11");
    ck_assert_int_eq(cut_validate("x", 1, 2, (uint64_t[]){UINT64_MAX, 2}), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "2^64"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cut");
    suite_add(suite, "shares", null_shares_are_equal_ones);
    suite_add(suite, "shares", boundaries_are_the_contracts);
    suite_add(suite, "shares", whole_shares_cut_exactly_at_any_scale);
    suite_add(suite, "shares", any_shares_give_every_row_to_one_rank);
    suite_add(suite, "shares", extreme_shares);
    suite_add(suite, "shares", bad_shares_are_refused);
    suite_add(suite, "brought", a_brought_cut_adds_up);
    return suite_run(suite);
}
