/* SPDX-License-Identifier: MIT */
/* Masks: every function against a look at each pair, as the contract says which are kept. */
#include <stdint.h>

#include <attention/mask.h>

#include "../harness/suite.h"

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool keeps(const struct problem *problem, int64_t position, int64_t key)
{
    const int64_t block = (int64_t)problem->causal_block;
    if (problem->causal && floor_divide(position, block) < floor_divide(key, block))
        return false;
    return (problem->window_left < 0 || position - key <= problem->window_left) &&
           (problem->window_right < 0 || key - position <= problem->window_right);
}

static bool limits_keep_key(const struct mask_limits *limits, const struct problem *problem, int64_t i, int64_t j)
{
    const int64_t step = (int64_t)problem->causal_block;
    return j >= i + limits->lower && j <= i + limits->upper &&
           (!mask_has_stairs(problem) || j <= limits->key_stair + (i + limits->query_phase) / step * step);
}

static bool limits_keep_row(const struct mask_limits *limits, const struct problem *problem, int64_t i, int64_t j)
{
    const int64_t step = (int64_t)problem->causal_block;
    return j >= i + limits->lower && j <= i + limits->upper &&
           (!mask_has_stairs(problem) || i >= limits->row_stair + (j + limits->key_phase) / step * step);
}

/* Ranges are tight, but for a block of which nothing is kept between keys that are. */
static void check_block(const struct problem *problem, const struct mask_block *block)
{
    const struct mask_limits limits = mask_limits_of(problem, block);
    const struct mask_range keys = mask_kept_keys(problem, block), rows = mask_kept_rows(problem, block);
    uint64_t pairs = 0;
    bool agreed = true;
    struct mask_range seen_keys = {UINT64_MAX, 0}, seen_rows = {UINT64_MAX, 0};
    for (uint64_t i = 0; i < block->rows; i++)
        for (uint64_t j = 0; j < block->keys; j++) {
            const int64_t position = (int64_t)(block->query_row + i) + problem->query_offset;
            const bool kept = keeps(problem, position, (int64_t)(block->key_row + j));
            agreed = agreed && limits_keep_key(&limits, problem, (int64_t)i, (int64_t)j) == kept &&
                     limits_keep_row(&limits, problem, (int64_t)i, (int64_t)j) == kept;
            if (!kept)
                continue;
            pairs++;
            seen_keys.first = j < seen_keys.first ? j : seen_keys.first;
            seen_keys.end = j + 1 > seen_keys.end ? j + 1 : seen_keys.end;
            seen_rows.first = i < seen_rows.first ? i : seen_rows.first;
            seen_rows.end = i + 1 > seen_rows.end ? i + 1 : seen_rows.end;
        }
    ck_assert(agreed);
    ck_assert_double_eq(mask_kept_pairs(problem, block), (double)pairs);
    if (pairs == 0)
        return;
    ck_assert_uint_eq(keys.first, seen_keys.first);
    ck_assert_uint_eq(keys.end, seen_keys.end);
    ck_assert_uint_eq(rows.first, seen_rows.first);
    ck_assert_uint_eq(rows.end, seen_rows.end);
}

static void check_offsets(const struct problem *masks)
{
    for (int64_t offset = -30; offset <= 30; offset++)
        for (uint64_t query_row = 0; query_row < 12; query_row += 5)
            for (uint64_t key_row = 0; key_row < 12; key_row += 4) {
                struct problem problem = *masks;
                const struct mask_block block = {query_row, 9, key_row, 13};
                problem.query_offset = offset;
                check_block(&problem, &block);
            }
}

START_TEST(masks_keep_what_single_pairs_say)
{
    static const int64_t reaches[] = {-1, 0, 1, 4, 7, 40};
    for (uint64_t block = 0; block <= 7; block++)
        for (size_t left = 0; left < 6; left++)
            for (size_t right = 0; right < 6; right++) {
                const struct problem masks = {
                    .causal = block > 0,
                    .causal_block = block > 0 ? block : 1,
                    .window_left = reaches[left],
                    .window_right = reaches[right],
                };
                check_offsets(&masks);
            }
}
END_TEST

START_TEST(offsets_at_the_ends_of_their_range)
{
    struct problem problem = {.causal = true, .causal_block = 1, .window_left = -1, .window_right = -1, .query_offset = INT64_MAX};
    const struct mask_block block = {5, 7, 3, 11};
    ck_assert_int_eq(mask_limits_of(&problem, &block).upper, 11);
    ck_assert_uint_eq(mask_kept_keys(&problem, &block).end, 11);
    problem.query_offset = INT64_MIN;
    ck_assert_int_eq(mask_limits_of(&problem, &block).upper, -7);
    ck_assert_uint_eq(mask_kept_keys(&problem, &block).end, 0);
    problem.window_left = INT64_MAX;
    problem.query_offset = INT64_MAX;
    ck_assert_uint_eq(mask_kept_keys(&problem, &block).first, 2);
}
END_TEST

START_TEST(without_a_mask_all_is_kept)
{
    const struct problem problem = {.query_offset = -100, .causal_block = 1, .window_left = -1, .window_right = -1};
    const struct mask_block block = {0, 7, 50, 11};
    ck_assert(!mask_is_band(&problem));
    ck_assert_uint_eq(mask_kept_keys(&problem, &block).end, 11);
    ck_assert_double_eq(mask_kept_pairs(&problem, &block), 77);
}
END_TEST

static void check_alibi(int64_t offset, uint64_t query_row, uint64_t key_row)
{
    const struct problem problem = {.query_offset = offset, .kv_len = 20, .alibi = true};
    const struct mask_block block = {query_row, 9, key_row, 8};
    const struct mask_alibi alibi = mask_alibi_of(&problem, &block);
    for (int64_t i = 0; i < 9; i++) {
        const int64_t position = (int64_t)query_row + i + offset;
        const int64_t nearest = position < 0 ? 0 : position > 19 ? 19 : position;
        const int64_t plain = i + alibi.diagonal;
        const int64_t clamped = plain < alibi.low ? alibi.low : plain > alibi.high ? alibi.high : plain;
        const int64_t beyond = plain > clamped ? plain - clamped : clamped - plain;
        ck_assert_int_eq(clamped + (int64_t)key_row, nearest);
        ck_assert_float_eq((float)beyond + alibi.far, (float)(position > nearest ? position - nearest : nearest - position));
    }
}

START_TEST(rows_beyond_the_keys_lie_at_the_nearest_key)
{
    for (int64_t offset = -60; offset <= 60; offset++) {
        check_alibi(offset, 0, 0);
        check_alibi(offset, 4, 8);
        check_alibi(offset, 11, 12);
    }
    check_alibi(1 << 24, 3, 12);
    check_alibi(-(1 << 24), 3, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mask");
    suite_add(suite, "pairs", masks_keep_what_single_pairs_say);
    suite_add(suite, "pairs", offsets_at_the_ends_of_their_range);
    suite_add(suite, "pairs", without_a_mask_all_is_kept);
    suite_add(suite, "alibi", rows_beyond_the_keys_lie_at_the_nearest_key);
    return suite_run(suite);
}
