/* SPDX-License-Identifier: MIT */
/* Each mask and modifier, and all at once: forward and every gradient in every type against the oracle, and the same bits again.
 * VKRING_TEST_TURNS=1: each in one type. */
#include "../harness/attention_case.h"
#include "../harness/every_option.h"
#include "../harness/opened_device.h"

static vkring_device *device;

/* What differs from a plain problem. */
static const struct attention_case cases[] = {
    {.name = "plain", .params = {0}},
    {.name = "causal", .params = {.causal = true}},
    {.name = "causal block", .params = {.causal = true, .causal_block = 5}},
    {.name = "window", .params = {.has_window = true, .window_left = 7, .window_right = 3}},
    {.name = "window to the right", .params = {.has_window = true, .window_left = -1, .window_right = 0}},
    {.name = "softcap", .params = {.softcap = 2}},
    {.name = "softcap beyond all scores", .params = {.softcap = 2e38}},
    {.name = "alibi", .params = {.alibi = true}},
    {.name = "alibi beyond the keys", .params = {.alibi = true, .has_query_offset = true, .query_offset = 60}},
    {.name = "sinks", .params = {.sinks = true}},
    {.name = "segments", .params = {.segment_ids = true}},
    {.name = "dropout", .params = {.dropout = 0.3}},
    {.name = "bias", .params = {.bias = {.present = true, .per_batch = true, .per_head = true, .per_query = true}}},
    {.name = "bias of rows", .bias = BIAS_MASKS_ROWS, .params = {.bias = {.present = true, .per_query = true}}},
    {.name = "bias of keys by head", .params = {.bias = {.present = true, .per_head = true}}},
    {.name = "bias of keys", .params = {.bias = {.present = true}}},
    {.name = "bias of keys, cut finely", .params = {.dispatch_seconds = 1e-9, .bias = {.present = true}}},
    {.name = "without residuals", .no_residuals = true, .params = {0}},
    {.name = "some gradients", .unwanted = 1u << GRADIENT_KEY | 1u << GRADIENT_SINKS, .params = {.causal = true, .sinks = true}},
    {.name = "one huge key", .inputs = INPUTS_HUGE_KEY, .params = {0}},
    {.name = "big logits", .inputs = INPUTS_BIG_LOGITS, .params = {.causal = true}},
    {.name = "padded",
     .placement = {ORDER_PADDED, .padding = 3},
     .params = {.bias = {.present = true, .per_head = true, .per_query = true}}},
    {.name = "cut finely", .params = {.causal = true, .dispatch_seconds = 1e-9}},
    {.name = "copied by head", .params = {.kernels = "copy_worth_rows=1"}},
    {.name = "copied by head, odd and padded",
     .placement = {ORDER_PADDED, .padding = 3},
     .params = {.kernels = "copy_worth_rows=1", .causal = true, .head_dim = 7, .value_dim = 11}},
    {.name = "copied by head, cut finely",
     .bias = BIAS_MASKS_SOME,
     .params = {.kernels = "copy_worth_rows=1", .dispatch_seconds = 1e-9, EVERY_OPTION(30)}},
    {.name = "copied by head, scores computed twice", .params = {.kernels = "copy_worth_rows=1 keeps_score_grads=0"}},
    {.name = "copied by head, some gradients",
     .unwanted = 1u << GRADIENT_QUERY,
     .params = {.kernels = "copy_worth_rows=1", .causal = true}},
    {.name = "everything", .bias = BIAS_MASKS_SOME, .params = {EVERY_OPTION(30)}},
};

/* For few registers, of equal dimensions and of others. */
static const struct attention_case of_few_registers[] = {
    {.name = "separate sums", .params = {.kernels = "few_registers separate_sums", .value_dim = 8, .causal = true}},
    {.name = "separate sums, cut finely", .params = {.kernels = "few_registers separate_sums", .q_len = 200, .dispatch_seconds = 1e-9}},
};

static void run(struct attention_case c, uint64_t seed, enum vkring_type type)
{
    struct case_data data = {0};
    struct case_result first = {0}, again = {0};
    c.seed = seed;
    c.params.type = type;
    c.params.bias.type = c.params.bias.per_head ? VKRING_TYPE_F32 : type;
    c.params.batch = 2;
    c.params.q_len = c.params.q_len ? c.params.q_len : 37;
    c.params.kv_len = 53;
    c.params.heads = 4;
    c.params.kv_heads = 2;
    c.params.head_dim = c.params.head_dim ? c.params.head_dim : 8;
    c.params.value_dim = c.params.value_dim ? c.params.value_dim : 12;
    c.params.backward = true;
    bool passes = case_make_data(&c, &data) && case_run(&c, device, NULL, &data, &first) && case_refer(&c, &data, &first.info.rows) &&
                  case_judge(&c, &data, &first) && case_run(&c, device, NULL, &data, &again) && case_same_bits(&c, &first, &again);
    case_free_result(&first);
    case_free_result(&again);
    case_free_data(&data);
    ck_assert_msg(passes, "%s", c.name);
}

static void run_case(int index, enum vkring_type type)
{
    run(cases[index], 2000 + (uint64_t)index, type);
}

START_TEST(few_registers_hold_enough)
{
    run(of_few_registers[_i], 2100 + (uint64_t)_i, VKRING_TYPE_F32);
}
END_TEST

START_TEST(f32)
{
    run_case(_i, VKRING_TYPE_F32);
}
END_TEST

START_TEST(f16)
{
    run_case(_i, VKRING_TYPE_F16);
}
END_TEST

START_TEST(bf16)
{
    run_case(_i, VKRING_TYPE_BF16);
}
END_TEST

int main(void)
{
    const int count = sizeof(cases) / sizeof(cases[0]);
    const TTest *tests[] = {f32, f16, bf16};
    static const char *const names[] = {"f32", "f16", "bf16"};
    struct vkring_device_info info;
    Suite *suite = suite_create("gradients");
    device = test_device_open(NULL);
    vkring_device_get_info(device, &info);
    const int types = info.f16 ? 3 : 1;
    for (int i = 0; i < types; i++) {
        TCase *tcase = tcase_create(names[i]);
        add_loop_of_form(tcase, tests[i], count, i, types);
        if (i == 0)
            tcase_add_loop_test(tcase, few_registers_hold_enough, 0, sizeof(of_few_registers) / sizeof(of_few_registers[0]));
        suite_add_tcase(suite, tcase);
    }
    return device_suite_run(suite, &device, 1);
}
