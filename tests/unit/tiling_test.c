/* SPDX-License-Identifier: MIT */
/* Work cut into dispatches: every row of every head goes into one box, within the device's limits, and keys are cut only when rows cannot
 * be. */
#include <stdlib.h>

#include <attention/tiling.h>

#include "../harness/suite.h"

static const struct tiling_limits roomy = {{65535, 65535, 65535}, (uint64_t)1 << 31, (uint64_t)1 << 30, 64, 1e18};

static uint64_t below(uint64_t *state, uint64_t end)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (*state >> 33) % end;
}

/* Marks each (batch entry, head, row) of each box, and looks at the box's limits on the way. */
static void assert_covers_once(const struct tiling_limits *limits, const struct tiling *tiling)
{
    const uint64_t cells = tiling->batch * tiling->heads * tiling->rows;
    unsigned char *seen = calloc(cells ? cells : 1, 1);
    uint64_t workgroups = 0;
    for (uint64_t index = 0; index < tiling->boxes; index++) {
        const struct tiling_box box = tiling_box_at(tiling, index);
        ck_assert_uint_le(box.tiles, limits->max_workgroup_count[0]);
        ck_assert_uint_le(box.heads, limits->max_workgroup_count[1]);
        ck_assert_uint_le(box.batch, limits->max_workgroup_count[2]);
        ck_assert_uint_le(box.tiles * box.heads * box.batch, limits->max_workgroups);
        ck_assert_uint_eq(box.first_workgroup, workgroups);
        ck_assert_uint_le(box.batch * box.splits, limits->max_workgroup_count[2]);
        ck_assert_uint_le(box.tiles * box.heads * box.batch * box.splits, limits->max_workgroups);
        workgroups += box.tiles * box.heads * box.batch * box.splits;
        for (uint64_t b = 0; b < box.batch; b++)
            for (uint64_t h = 0; h < box.heads; h++)
                for (uint64_t r = 0; r < box.rows; r++)
                    seen[((box.first_batch + b) * tiling->heads + box.first_head + h) * tiling->rows + box.first_row + r]++;
    }
    for (uint64_t i = 0; i < cells; i++)
        ck_assert_uint_eq(seen[i], 1);
    ck_assert_uint_eq(workgroups, tiling_workgroups(tiling));
    free(seen);
}

START_TEST(every_row_is_in_one_box)
{
    uint64_t state = 7;
    for (int i = 0; i < 2000; i++) {
        struct tiling_limits limits = roomy;
        struct tiling tiling;
        for (int axis = 0; axis < 3; axis++)
            limits.max_workgroup_count[axis] = (uint32_t)below(&state, 9) + 1;
        limits.max_workgroups = below(&state, 40) + 1;
        limits.enough_workgroups = below(&state, 9) + 1;
        limits.flop = (double)below(&state, 100000) + 1;
        limits.split = (struct tiling_split){below(&state, 20), below(&state, 3), below(&state, 50), below(&state, 100)};
        tiling_make(&limits, below(&state, 4), below(&state, 6) + 1, below(&state, 70), below(&state, 16) + 1, 4.0, below(&state, 500),
                    &tiling);
        assert_covers_once(&limits, &tiling);
    }
}
END_TEST

START_TEST(what_is_small_stays_whole)
{
    struct tiling tiling;
    tiling_make(&roomy, 3, 8, 1000, 16, 256, 5000, &tiling);
    ck_assert_uint_eq(tiling.boxes, 1);
    ck_assert_uint_eq(tiling.keys, 5000);
}
END_TEST

START_TEST(rows_are_cut_before_keys)
{
    struct tiling_limits limits = roomy;
    struct tiling tiling;
    /* a tile of all keys costs 16 · 256 · 5000 */
    limits.flop = 100.0 * 16 * 256 * 5000;
    tiling_make(&limits, 1, 8, 4000, 16, 256, 5000, &tiling);
    ck_assert_uint_eq(tiling.keys, 5000);
    ck_assert_uint_eq(tiling.box_tiles, 100);
    ck_assert_uint_eq(tiling.boxes, 8 * 3);
}
END_TEST

START_TEST(keys_are_cut_where_rows_cannot_be)
{
    struct tiling_limits limits = roomy;
    struct tiling tiling;
    limits.flop = 64.0 * 16 * 256 * 1000;
    tiling_make(&limits, 1, 8, 4000, 16, 256, 5000, &tiling);
    ck_assert_uint_eq(tiling.keys, 960);
    ck_assert_uint_eq(tiling.box_tiles, 66);
}
END_TEST

START_TEST(keys_are_split_where_rows_are_few)
{
    struct tiling_limits limits = roomy;
    struct tiling tiling;
    limits.split = (struct tiling_split){.keys = 100, .below = 64, .workgroups = 300};
    tiling_make(&limits, 1, 8, 16, 16, 256, 5000, &tiling);
    ck_assert_uint_eq(tiling.splits, 300 / 8);
    ck_assert_uint_eq(tiling_workgroups(&tiling), 8 * (300 / 8));
    tiling_make(&limits, 1, 8, 16, 16, 256, 999, &tiling);
    ck_assert_uint_eq(tiling.splits, 9);
    tiling_make(&limits, 1, 8, 16, 16, 256, 99, &tiling);
    ck_assert_uint_eq(tiling.splits, 1);
    tiling_make(&limits, 1, 8, 8 * 16, 16, 256, 5000, &tiling);
    ck_assert_uint_eq(tiling.splits, 1); /* there are 64 workgroups */
    limits.split.keys_per_row = 20; /* 320 keys for 16 rows */
    tiling_make(&limits, 1, 8, 16, 16, 256, 999, &tiling);
    ck_assert_uint_eq(tiling.splits, 3);
}
END_TEST

START_TEST(no_rows_make_no_boxes)
{
    struct tiling tiling;
    tiling_make(&roomy, 1, 8, 0, 16, 256, 5000, &tiling);
    ck_assert_uint_eq(tiling.boxes, 0);
    tiling_make(&roomy, 0, 8, 10, 16, 256, 5000, &tiling);
    ck_assert_uint_eq(tiling.boxes, 0);
    ck_assert_uint_eq(tiling_workgroups(&tiling), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tiling");
    suite_add(suite, "boxes", every_row_is_in_one_box);
    suite_add(suite, "boxes", what_is_small_stays_whole);
    suite_add(suite, "boxes", rows_are_cut_before_keys);
    suite_add(suite, "boxes", keys_are_cut_where_rows_cannot_be);
    suite_add(suite, "boxes", keys_are_split_where_rows_are_few);
    suite_add(suite, "boxes", no_rows_make_no_boxes);
    return suite_run(suite);
}
