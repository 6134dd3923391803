/* SPDX-License-Identifier: MIT */
/* Few query rows around the ring: states of splits of 8 keys go on from packet to packet, and are merged after the last. */
#include <string.h>

#include "world.h"

static vkring_device *device;
static vkring_comm *comm;

#define FEW_ROWS .batch = 2, .q_len = 5, .kv_len = 333, .heads = 4, .kv_heads = 1, .head_dim = 16, .timeout_seconds = 300

static const struct attention_case cases[] = {
    {.name = "one query", .params = {.batch = 1, .q_len = 1, .kv_len = 333, .heads = 4, .kv_heads = 1, .head_dim = 16}},
    {.name = "causal", .params = {FEW_ROWS, .causal = true}},
    {.name = "zigzag", .params = {FEW_ROWS, .causal = true, .layout = VKRING_LAYOUT_ZIGZAG}},
    {.name = "striped, with everything that depends on positions",
     .params = {FEW_ROWS, .causal = true, .alibi = true, .sinks = true, .dropout = 0.2, .layout = VKRING_LAYOUT_STRIPED}},
    {.name = "heads of own keys, on no boundary of quads",
     .placement = {ORDER_PADDED, .padding = 1},
     .params = {.batch = 2, .q_len = 1, .kv_len = 333, .heads = 4, .head_dim = 20, .alibi = true, .sinks = true}},
    {.name = "heads of own keys, bf16, striped",
     .params = {.type = VKRING_TYPE_BF16,
                .batch = 1,
                .q_len = 1,
                .kv_len = 333,
                .heads = 6,
                .head_dim = 16,
                .causal = true,
                .dropout = 0.2,
                .layout = VKRING_LAYOUT_STRIPED}},
    {.name = "block gaps", .inputs = INPUTS_BLOCK_GAPS, .params = {FEW_ROWS}},
    {.name = "a window in few packets",
     .params = {FEW_ROWS, .causal = true, .has_window = true, .window_left = 9, .window_right = -1, .dispatch_seconds = 1e-9}},
    {.name = "segments", .params = {FEW_ROWS, .type = VKRING_TYPE_F16, .segment_ids = true}},
    {.name = "gradients", .params = {FEW_ROWS, .causal = true, .backward = true}},
};

START_TEST(a_named_case)
{
    struct attention_case c = cases[_i];
    struct case_data data = {0};
    struct case_result first = {0}, second = {0};
    c.seed = (uint64_t)_i;
    if (!case_is_supported(&c, device->limits.storage_16bit))
        return;
    bool good = case_make_data(&c, &data) && case_run(&c, device, comm, &data, &first);
    good = world_agrees(good) && case_run(&c, device, comm, &data, &second);
    good = world_agrees(good) && case_refer(&c, &data, &first.info.rows) && case_judge(&c, &data, &first);
    good = good && world_expect(case_same_bits(&c, &first, &second), "other bits the second time");
    good = good && world_expect(first.info.rows.query_rows == 0 || strstr(first.info.kernel, " split"), "keys were not split");
    ck_assert_msg(world_agrees(good), "%s", c.name);
    case_free_result(&first);
    case_free_result(&second);
    case_free_data(&data);
}
END_TEST

int main(int argc, char **argv)
{
    const struct vk_limit_overrides overrides = {.split_keys = 8};
    Suite *suite = suite_create("few queries around the ring");
    TCase *tcase = tcase_create("cases");
    vkring_device *devices[2];
    devices[0] = world_begin(&argc, &argv);
    devices[1] = device = test_device_open(&overrides);
    world_loosen_order(device);
    comm = world_comm();
    tcase_add_loop_test(tcase, a_named_case, 0, sizeof(cases) / sizeof(cases[0]));
    suite_add_tcase(suite, tcase);
    return world_end(suite, devices, 2, &comm);
}
