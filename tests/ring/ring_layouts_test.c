/* SPDX-License-Identifier: MIT */
/*
 * Every layout under every option, forward and backward, also on more ranks than other suites have: right on every rank. VKRING_TEST_F16=1
 * takes f16 tensors, and equal shares alone.
 */
#include "../harness/every_option.h"
#include "world.h"

static vkring_device *device;
static vkring_comm *comm;

static struct attention_case with_every_option(enum vkring_layout layout)
{
    return (struct attention_case){
        .name = "every option",
        .seed = 40,
        .bias = BIAS_MASKS_SOME,
        .params = {.type = environment_number("VKRING_TEST_F16", 0) ? VKRING_TYPE_F16 : VKRING_TYPE_F32,
                   .batch = 2,
                   .q_len = 91,
                   .kv_len = 131,
                   .heads = 2,
                   .kv_heads = 1,
                   .head_dim = 16,
                   EVERY_OPTION(70),
                   .layout = layout,
                   .backward = true,
                   .timeout_seconds = 300},
    };
}

START_TEST(every_option_in_every_layout)
{
    const struct attention_case c = with_every_option((enum vkring_layout)_i);
    ck_assert(world_agrees(case_passes(&c, device, comm)));
}
END_TEST

/* As a cache that grows on all ranks alike meets new rows. */
START_TEST(queries_in_one_layout_and_keys_in_another)
{
    struct attention_case c = with_every_option(_i == 0 ? VKRING_LAYOUT_CONTIGUOUS : VKRING_LAYOUT_ZIGZAG);
    c.params.has_key_layout = true;
    c.params.key_layout = VKRING_LAYOUT_STRIPED;
    ck_assert(world_agrees(case_passes(&c, device, comm)));
}
END_TEST

/* Each rank's weight is 0 … 4, the last rank takes what is left. */
static void cut_unevenly(uint64_t rows, uint32_t first_weight, uint64_t *out_rows)
{
    uint64_t left = rows;
    for (uint32_t rank = 0; rank + 1 < world_size; rank++) {
        const uint64_t share = (first_weight + 3 * rank) % 5 * rows / (4 * (uint64_t)world_size);
        out_rows[rank] = share < left ? share : left;
        left -= out_rows[rank];
    }
    out_rows[world_size - 1] = left;
}

START_TEST(stripes_of_any_share)
{
    uint64_t query_rows[64], key_rows[64];
    struct attention_case c = with_every_option(VKRING_LAYOUT_STRIPED);
    c.params.has_query_offset = true;
    c.params.query_offset = 20;
    cut_unevenly(c.params.q_len, (uint32_t)_i, query_rows);
    cut_unevenly(c.params.kv_len, 2 * (uint32_t)_i + 1, key_rows);
    c.params.query_rows_of_rank = query_rows;
    if (_i > 0)
        c.params.key_rows_of_rank = key_rows;
    c.params.dispatch_seconds = _i == 2 ? 1e-9 : 0;
    ck_assert(world_agrees(case_passes(&c, device, comm)));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("ring layouts");
    TCase *tcase = tcase_create("layouts");
    device = world_begin(&argc, &argv);
    comm = world_comm();
    world_share_reference();
    tcase_add_loop_test(tcase, every_option_in_every_layout, VKRING_LAYOUT_CONTIGUOUS, VKRING_LAYOUT_AUTO);
    if (!environment_number("VKRING_TEST_F16", 0)) {
        tcase_add_loop_test(tcase, queries_in_one_layout_and_keys_in_another, 0, 2);
        tcase_add_loop_test(tcase, stripes_of_any_share, 0, 3);
    }
    suite_add_tcase(suite, tcase);
    return world_end(suite, &device, 1, &comm);
}
