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

/* Of positions counted from those of the block's first row and key. */
static bool limits_keep_key(const struct mask_limits *limits, const struct problem *problem, int64_t p, int64_t q)
{
    const int64_t step = (int64_t)problem->causal_block;
    return q >= p + limits->lower && q <= p + limits->upper &&
           (!mask_has_stairs(problem) || q <= limits->key_stair + (p + limits->query_phase) / step * step);
}

static bool limits_keep_row(const struct mask_limits *limits, const struct problem *problem, int64_t p, int64_t q)
{
    const int64_t step = (int64_t)problem->causal_block;
    return q >= p + limits->lower && q <= p + limits->upper &&
           (!mask_has_stairs(problem) || p >= limits->row_stair + (q + limits->key_phase) / step * step);
}

static bool has_inside(const struct mask_range *range, const struct mask_range *seen, bool tight)
{
    return tight ? range->first == seen->first && range->end == seen->end : range->first <= seen->first && range->end >= seen->end;
}

/* Ranges are tight, but for a block of which nothing is kept between keys that are, and where rows or keys lie apart. */
static void check_block(const struct problem *problem, const struct mask_block *block)
{
    const struct mask_limits limits = mask_limits_of(problem, block);
    const struct mask_range keys = mask_kept_keys(problem, block), rows = mask_kept_rows(problem, block);
    const bool any = mask_keeps_any(problem, block), tight = block->query_stride == 1 && block->key_stride == 1;
    uint64_t pairs = 0;
    bool agreed = true;
    struct mask_range seen_keys = {UINT64_MAX, 0}, seen_rows = {UINT64_MAX, 0};
    for (uint64_t i = 0; i < block->rows; i++)
        for (uint64_t j = 0; j < block->keys; j++) {
            const int64_t p = (int64_t)(i * block->query_stride), q = (int64_t)(j * block->key_stride);
            const int64_t position = (int64_t)block->query_row + p + problem->query_offset;
            const bool kept = keeps(problem, position, (int64_t)block->key_row + q);
            agreed = agreed && limits_keep_key(&limits, problem, p, q) == kept && limits_keep_row(&limits, problem, p, q) == kept;
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
    ck_assert(any == (pairs > 0) || (any && mask_has_stairs(problem)));
    if (pairs > 0)
        ck_assert(has_inside(&keys, &seen_keys, tight) && has_inside(&rows, &seen_rows, tight));
}

enum { BLOCK_ROWS = 9, BLOCK_KEYS = 13 };

/* Of each row, as walk.glsl goes: the first key within its window, and where those within its other limits end. */
struct row_reaches {
    uint64_t begin[BLOCK_ROWS], end[BLOCK_ROWS];
};

static struct row_reaches reaches_of(const struct problem *problem, const struct mask_block *block)
{
    struct row_reaches reaches = {0};
    struct problem upper = *problem, window = *problem;
    upper.window_left = -1;
    window.causal = false;
    window.window_right = -1;
    for (uint64_t i = 0; i < block->rows; i++) {
        const int64_t position = (int64_t)(block->query_row + i * block->query_stride) + problem->query_offset;
        for (uint64_t j = 0; j < block->keys; j++) {
            const int64_t key = (int64_t)(block->key_row + j * block->key_stride);
            reaches.begin[i] += !keeps(&window, position, key);
            reaches.end[i] += keeps(&upper, position, key);
        }
    }
    return reaches;
}

/* From the first key of a tile's first row to the end of its last row's. */
static bool visits_as_tiles_do(const struct problem *problem, const struct mask_block *block, const struct row_reaches *reaches,
                               const struct mask_cell *cell)
{
    const double cells = mask_visited_pairs(problem, block, cell) / (double)(cell->rows * cell->keys);
    uint64_t least = 0, most = 0;
    for (uint64_t row = 0; row < block->rows; row += cell->rows) {
        const uint64_t last = row + cell->rows < block->rows ? row + cell->rows - 1 : block->rows - 1;
        const uint64_t begin = reaches->begin[row], end = reaches->end[last];
        const uint64_t steps = end > begin ? (end - begin + cell->keys - 1) / cell->keys : 0;
        least += steps;
        most += steps + (begin > 0);
    }
    if (!mask_keeps_any(problem, block))
        least = most = 0;
    return cells >= (double)least && cells <= (double)most;
}

static void check_cells(const struct problem *problem, const struct mask_block *block)
{
    static const struct mask_cell cells[] = {{1, 1}, {2, 4}, {4, 3}, {3, 1}, {1, 8}, {16, 16}};
    const struct row_reaches reaches = reaches_of(problem, block);
    bool as_tiles_do = true;
    for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++)
        as_tiles_do = as_tiles_do && visits_as_tiles_do(problem, block, &reaches, &cells[i]);
    ck_assert(as_tiles_do); /* one for all: asserts add up */
    if (!mask_has_stairs(problem) || mask_kept_pairs(problem, block) > 0)
        ck_assert_double_eq(mask_visited_pairs(problem, block, &cells[0]), mask_kept_pairs(problem, block));
}

static void check_offsets(const struct problem *masks, uint64_t query_stride, uint64_t key_stride)
{
    const int64_t step = query_stride + key_stride > 2 ? 7 : 1;
    for (int64_t offset = -30; offset <= 30; offset += step)
        for (uint64_t query_row = 0; query_row < 12; query_row += 5)
            for (uint64_t key_row = 0; key_row < 12; key_row += 4) {
                struct problem problem = *masks;
                const struct mask_block block = {query_row, BLOCK_ROWS, key_row, BLOCK_KEYS, query_stride, key_stride};
                problem.query_offset = offset;
                check_block(&problem, &block);
                check_cells(&problem, &block);
            }
}

static void check_strides(const struct problem *masks)
{
    static const uint64_t strides[][2] = {{1, 1}, {1, 3}, {4, 1}, {3, 3}, {2, 5}, {7, 4}};
    for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++)
        check_offsets(masks, strides[i][0], strides[i][1]);
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
                check_strides(&masks);
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

/* Numbers that only arithmetic reaches: half of the pairs of rows and keys that lie alike, and the same one position on. */
START_TEST(pairs_of_long_blocks)
{
    const struct problem problem = {.causal = true, .causal_block = 1, .window_left = -1, .window_right = -1};
    const double rows = 1 << 20;
    struct mask_block block = {5, 1 << 20, 5, 1 << 20, 4096, 4096};
    ck_assert_double_eq(mask_kept_pairs(&problem, &block), rows * (rows + 1) / 2);
    block.key_row = 6;
    ck_assert_double_eq(mask_kept_pairs(&problem, &block), rows * (rows - 1) / 2);
    block.key_stride = 2048;
    ck_assert_double_eq(mask_kept_pairs(&problem, &block), rows / 2 * (rows / 2 - 1) + rows / 2 * rows);
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
    const struct mask_block block = {query_row, 3, key_row, 8, 4, 1};
    const struct mask_alibi alibi = mask_alibi_of(&problem, &block);
    for (int64_t i = 0; i < 9; i += 4) {
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
    suite_add(suite, "pairs", pairs_of_long_blocks);
    suite_add(suite, "pairs", without_a_mask_all_is_kept);
    suite_add(suite, "alibi", rows_beyond_the_keys_lie_at_the_nearest_key);
    return suite_run(suite);
}
