/* SPDX-License-Identifier: MIT */
/* Named problems, each in every type, full and causal, against the oracle. VKRING_TEST_TURNS=1: each in one of these forms. */
#include "../harness/attention_case.h"
#include "../harness/opened_device.h"

static vkring_device *device;

/* All as the structure says; type and causal are filled in. */
static const struct attention_case cases[] = {
    {.name = "plain", .params = {.batch = 2, .q_len = 200, .kv_len = 200, .heads = 2, .head_dim = 64}},
    {.name = "more keys than queries", .params = {.batch = 1, .q_len = 65, .kv_len = 333, .heads = 2, .head_dim = 64}},
    {.name = "more queries than keys", .params = {.batch = 1, .q_len = 333, .kv_len = 65, .heads = 2, .head_dim = 64}},
    {.name = "one query", .params = {.batch = 1, .q_len = 1, .kv_len = 1000, .heads = 4, .kv_heads = 1, .head_dim = 64}},
    {.name = "one key", .params = {.batch = 1, .q_len = 17, .kv_len = 1, .heads = 2, .head_dim = 64}},
    {.name = "grouped heads", .params = {.batch = 2, .q_len = 63, .kv_len = 127, .heads = 8, .kv_heads = 2, .head_dim = 64}},
    {.name = "one key/value head", .params = {.batch = 1, .q_len = 63, .kv_len = 127, .heads = 8, .kv_heads = 1, .head_dim = 64}},
    {.name = "wide", .params = {.batch = 1, .q_len = 65, .kv_len = 65, .heads = 2, .head_dim = 128}},
    {.name = "widest", .params = {.batch = 1, .q_len = 33, .kv_len = 65, .heads = 2, .head_dim = 256}},
    {.name = "thinnest", .params = {.batch = 1, .q_len = 65, .kv_len = 127, .heads = 2, .head_dim = 1}},
    {.name = "wider values", .params = {.batch = 1, .q_len = 65, .kv_len = 65, .heads = 2, .head_dim = 16, .value_dim = 200}},
    {.name = "thinner values", .params = {.batch = 1, .q_len = 65, .kv_len = 65, .heads = 2, .head_dim = 96, .value_dim = 3}},
    {.name = "odd dimensions", .params = {.batch = 1, .q_len = 65, .kv_len = 65, .heads = 3, .head_dim = 33, .value_dim = 65}},
    {.name = "heavy tail", .inputs = INPUTS_HEAVY_TAIL, .params = {.batch = 1, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 64}},
    {.name = "big logits", .inputs = INPUTS_BIG_LOGITS, .params = {.batch = 1, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 64}},
    {.name = "huge key", .inputs = INPUTS_HUGE_KEY, .params = {.batch = 1, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 64}},
    {.name = "block gaps", .inputs = INPUTS_BLOCK_GAPS, .params = {.batch = 1, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 64}},
    {.name = "values one", .inputs = INPUTS_VALUES_ONE, .params = {.batch = 1, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 64}},
    {.name = "one-hot",
     .inputs = INPUTS_ONE_HOT,
     .params = {.batch = 1, .q_len = 65, .kv_len = 333, .heads = 2, .head_dim = 64, .has_query_offset = true, .query_offset = 64}},
    {.name = "no batch", .params = {.batch = 0, .q_len = 65, .kv_len = 65, .heads = 2, .head_dim = 64}},
    {.name = "no queries", .params = {.batch = 2, .q_len = 0, .kv_len = 65, .heads = 2, .head_dim = 64}},
    {.name = "no queries of many heads", .params = {.batch = 2, .q_len = 0, .kv_len = 65, .heads = 10, .kv_heads = 2, .head_dim = 64}},
    {.name = "no keys", .params = {.batch = 2, .q_len = 65, .kv_len = 0, .heads = 2, .head_dim = 64}},
    {.name = "nothing at all", .params = {.batch = 0, .q_len = 0, .kv_len = 0, .heads = 2, .head_dim = 64}},
    {.name = "offset 0",
     .params = {.batch = 1, .q_len = 65, .kv_len = 127, .heads = 2, .head_dim = 64, .has_query_offset = true, .query_offset = 0}},
    {.name = "first rows keep nothing",
     .params = {.batch = 1, .q_len = 65, .kv_len = 127, .heads = 2, .head_dim = 64, .has_query_offset = true, .query_offset = -20}},
    {.name = "last row keeps one",
     .params = {.batch = 1, .q_len = 65, .kv_len = 127, .heads = 2, .head_dim = 64, .has_query_offset = true, .query_offset = -64}},
    {.name = "nothing kept",
     .params = {.batch = 1, .q_len = 65, .kv_len = 127, .heads = 2, .head_dim = 64, .has_query_offset = true, .query_offset = -65}},
    {.name = "past the end",
     .params = {.batch = 1, .q_len = 65, .kv_len = 127, .heads = 2, .head_dim = 64, .has_query_offset = true, .query_offset = 126}},
    {.name = "far past the end",
     .params = {.batch = 1, .q_len = 65, .kv_len = 127, .heads = 2, .head_dim = 64, .has_query_offset = true, .query_offset = INT64_MAX}},
    {.name = "far before the start",
     .params = {.batch = 1, .q_len = 65, .kv_len = 127, .heads = 2, .head_dim = 64, .has_query_offset = true, .query_offset = INT64_MIN}},
    {.name = "scale 0", .params = {.batch = 1, .q_len = 17, .kv_len = 65, .heads = 2, .head_dim = 64, .has_scale = true, .scale = 0}},
    {.name = "scale -0.2", .params = {.batch = 1, .q_len = 17, .kv_len = 65, .heads = 2, .head_dim = 64, .has_scale = true, .scale = -0.2}},
    {.name = "big scale",
     .inputs = INPUTS_ONE_HOT,
     .params = {.batch = 1,
                .q_len = 17,
                .kv_len = 65,
                .heads = 2,
                .head_dim = 16,
                .has_query_offset = true,
                .query_offset = 48,
                .has_scale = true,
                .scale = 1e4}},
    {.name = "padded",
     .placement = {ORDER_PADDED, .padding = 4},
     .params = {.batch = 2, .q_len = 63, .kv_len = 65, .heads = 4, .kv_heads = 2, .head_dim = 64}},
    {.name = "padded oddly",
     .placement = {ORDER_PADDED, .padding = 3},
     .params = {.batch = 2, .q_len = 63, .kv_len = 65, .heads = 4, .kv_heads = 2, .head_dim = 64}},
    {.name = "heads before rows",
     .placement = {ORDER_HEADS_FIRST},
     .params = {.batch = 2, .q_len = 63, .kv_len = 65, .heads = 4, .kv_heads = 2, .head_dim = 64}},
    {.name = "off by one element",
     .placement = {.offset_elements = 1},
     .params = {.batch = 2, .q_len = 63, .kv_len = 65, .heads = 4, .kv_heads = 2, .head_dim = 64}},
    {.name = "keys copied by head",
     .params = {.batch = 2, .q_len = 63, .kv_len = 333, .heads = 4, .kv_heads = 2, .head_dim = 64, .kernels = "copy_worth_rows=1"}},
    {.name = "odd keys copied by head",
     .placement = {ORDER_PADDED, .padding = 3},
     .params = {.batch = 2, .q_len = 63, .kv_len = 65, .heads = 3, .head_dim = 33, .value_dim = 65, .kernels = "copy_worth_rows=1"}},
    {.name = "without lse", .no_lse = true, .params = {.batch = 1, .q_len = 63, .kv_len = 65, .heads = 2, .head_dim = 64}},
    {.name = "cut finely",
     .params = {.batch = 2, .q_len = 333, .kv_len = 333, .heads = 4, .kv_heads = 2, .head_dim = 64, .dispatch_seconds = 1e-9}},
};

static void run_case(int index, enum vkring_type type, bool causal)
{
    struct attention_case c = cases[index];
    c.seed = 1000 + (uint64_t)index;
    c.params.type = type;
    c.params.causal = causal;
    ck_assert_msg(case_passes(&c, device, NULL), "%s", c.name);
}

#define TYPE_TESTS(name, type)                                                                                                             \
    START_TEST(name##_full)                                                                                                                \
    {                                                                                                                                      \
        run_case(_i, type, false);                                                                                                         \
    }                                                                                                                                      \
    END_TEST                                                                                                                               \
    START_TEST(name##_causal)                                                                                                              \
    {                                                                                                                                      \
        run_case(_i, type, true);                                                                                                          \
    }                                                                                                                                      \
    END_TEST

TYPE_TESTS(f32, VKRING_TYPE_F32)
TYPE_TESTS(f16, VKRING_TYPE_F16)
TYPE_TESTS(bf16, VKRING_TYPE_BF16)

int main(void)
{
    const struct {
        const char *name;
        const TTest *full, *causal;
    } types[] = {{"f32", f32_full, f32_causal}, {"f16", f16_full, f16_causal}, {"bf16", bf16_full, bf16_causal}};
    struct vkring_device_info info;
    Suite *suite = suite_create("forward cases");
    device = test_device_open(NULL);
    vkring_device_get_info(device, &info);
    const int count = sizeof(cases) / sizeof(cases[0]), forms = info.f16 ? 6 : 2;
    for (int i = 0; i < forms / 2; i++) {
        TCase *tcase = tcase_create(types[i].name);
        add_loop_of_form(tcase, types[i].full, count, 2 * i, forms);
        add_loop_of_form(tcase, types[i].causal, count, 2 * i + 1, forms);
        suite_add_tcase(suite, tcase);
    }
    return device_suite_run(suite, &device, 1);
}
