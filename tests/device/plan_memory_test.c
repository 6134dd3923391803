/* SPDX-License-Identifier: MIT */
/* A plan takes what it said it would take, a run takes nothing, and all of it comes back. A simulation foretells it. */
#include <vkring/simulate.h>

#include "../harness/attention_case.h"
#include "../harness/opened_device.h"

static vkring_device *device;
static bool has_f16;

static const struct vkring_plan_params plans[] = {
    {.batch = 1, .q_len = 1, .kv_len = 1, .heads = 1, .head_dim = 1},
    {.batch = 2, .q_len = 100, .kv_len = 200, .heads = 4, .kv_heads = 2, .head_dim = 64},
    {.batch = 2, .q_len = 100, .kv_len = 200, .heads = 4, .kv_heads = 2, .head_dim = 64, .dispatch_seconds = 1e-9},
    {.batch = 2, .q_len = 100, .kv_len = 200, .heads = 4, .kv_heads = 2, .head_dim = 64, .kernels = "copy_worth_rows=1"},
    {.batch = 2,
     .q_len = 100,
     .kv_len = 200,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 64,
     .value_dim = 33,
     .backward = true,
     .kernels = "copy_worth_rows=1"},
    {.type = VKRING_TYPE_F16,
     .batch = 1,
     .q_len = 333,
     .kv_len = 500,
     .heads = 2,
     .head_dim = 33,
     .value_dim = 129,
     .dispatch_seconds = 1e-9},
    {.batch = 1, .q_len = 3, .kv_len = 5000, .heads = 8, .kv_heads = 2, .head_dim = 64},
    {.batch = 0, .q_len = 100, .kv_len = 200, .heads = 4, .head_dim = 64},
    {.batch = 1, .q_len = 0, .kv_len = 200, .heads = 4, .head_dim = 64},
    {.batch = 1, .q_len = 100, .kv_len = 0, .heads = 4, .head_dim = 64},
};

static struct vkring_memory_use now(void)
{
    struct vkring_memory_use use;
    vkring_device_get_memory_use(device, &use);
    return use;
}

START_TEST(a_plan_takes_what_it_promised)
{
    const struct attention_case c = {.seed = 1, .params = plans[_i]};
    struct vkring_plan_memory promised;
    struct vkring_plan_info info;
    struct case_data data;
    struct case_result result;
    vkring_plan *plan = NULL;
    if (c.params.type != VKRING_TYPE_F32 && !has_f16)
        return;
    ck_assert_int_eq(vkring_plan_measure(device, NULL, &c.params, &promised), VKRING_OK);
    vkring_device_reset_memory_peak(device);
    struct vkring_memory_use before = now();
    ck_assert_uint_eq(before.device_peak_bytes, before.device_bytes);
    ck_assert_int_eq(vkring_plan_create(device, NULL, &c.params, &plan), VKRING_OK);
    struct vkring_memory_use with_plan = now();
    vkring_plan_get_info(plan, &info);
    ck_assert_uint_eq(info.memory.device_bytes, promised.device_bytes);
    ck_assert_uint_eq(info.memory.host_bytes, promised.host_bytes);
    ck_assert_uint_eq(with_plan.device_bytes - before.device_bytes, promised.device_bytes);
    ck_assert_uint_eq(with_plan.host_bytes - before.host_bytes, promised.host_bytes);
    ck_assert_uint_eq(with_plan.device_peak_bytes, with_plan.device_bytes);

    ck_assert(case_make_data(&c, &data) && case_run_plan(&c, device, plan, &data, &result));
    ck_assert_uint_eq(now().device_bytes, with_plan.device_bytes);
    ck_assert_uint_eq(now().host_bytes, with_plan.host_bytes);
    vkring_plan_destroy(&plan);
    ck_assert_uint_eq(now().device_bytes, before.device_bytes);
    ck_assert_uint_eq(now().host_bytes, before.host_bytes);
    case_free_result(&result);
    case_free_data(&data);
}
END_TEST

/* Tensors of the run are in the account too, so nothing else may come on top of them. */
START_TEST(a_run_takes_nothing)
{
    const struct vkring_plan_params params = {.batch = 1, .q_len = 64, .kv_len = 64, .heads = 2, .head_dim = 16};
    const uint64_t bytes = 64 * 2 * 16 * sizeof(float);
    vkring_buffer *buffers[4] = {0};
    vkring_plan *plan = NULL;
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(vkring_buffer_create(device, bytes, &buffers[i]), VKRING_OK);
    ck_assert_int_eq(vkring_plan_create(device, NULL, &params, &plan), VKRING_OK);
    vkring_device_reset_memory_peak(device);
    const struct vkring_forward_io io = {
        .query = {.buffer = buffers[0]}, .key = {.buffer = buffers[1]}, .value = {.buffer = buffers[2]}, .output = {.buffer = buffers[3]}};
    static const char zeros[64 * 2 * 16 * sizeof(float)];
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(vkring_buffer_upload(buffers[i], 0, zeros, bytes), VKRING_OK);
    vkring_device_reset_memory_peak(device);
    struct vkring_memory_use before = now();
    ck_assert_int_eq(vkring_forward(plan, &io), VKRING_OK);
    ck_assert_uint_eq(now().device_peak_bytes, before.device_bytes);
    ck_assert_uint_eq(now().host_peak_bytes, before.host_bytes);
    vkring_plan_destroy(&plan);
    for (int i = 0; i < 4; i++)
        vkring_buffer_destroy(&buffers[i]);
}
END_TEST

/* Of a rank that never sends anything: measuring is not collective. */
static vkring_comm *silent_comm(uint32_t rank, uint32_t ranks)
{
    const struct vkring_comm_functions functions = {
        .rank = rank, .size = ranks, .send = (void *)1, .receive = (void *)1, .test = (void *)1, .abandon = (void *)1};
    vkring_comm *comm = NULL;
    ck_assert_int_eq(vkring_comm_create(&functions, &comm), VKRING_OK);
    return comm;
}

/* Drivers round up each of a dozen buffers in their own way. */
static void check_foretold(uint64_t foretold, uint64_t measured)
{
    const uint64_t more = foretold > measured ? foretold - measured : measured - foretold;
    ck_assert_msg(more <= 12 * 256, "%llu bytes foretold, %llu measured", (unsigned long long)foretold, (unsigned long long)measured);
}

static void compare(vkring_device *with, const struct vkring_plan_params *params, uint32_t ranks)
{
    struct vkring_device_info info;
    struct vkring_simulation whole;
    struct vkring_simulated_result results[3];
    const struct vkring_simulated_rank rank = {.forward_flops = 1, .device = &info};
    const struct vkring_simulation_params simulated = {.problem = params, .ranks = ranks, .rank = &rank, .rank_count = 1};
    vkring_device_get_info(with, &info);
    ck_assert_int_eq(vkring_simulate(&simulated, &whole, NULL, results), VKRING_OK);
    for (uint32_t of = 0; of < ranks; of++) {
        vkring_comm *comm = silent_comm(of, ranks);
        struct vkring_plan_memory measured;
        ck_assert_int_eq(vkring_plan_measure(with, comm, params, &measured), VKRING_OK);
        check_foretold(results[of].memory.device_bytes, measured.device_bytes);
        check_foretold(results[of].memory.host_bytes, measured.host_bytes);
        vkring_comm_destroy(&comm);
    }
}

START_TEST(a_simulation_foretells_what_plans_take)
{
    struct vkring_plan_params params = {
        .batch = 2, .q_len = 1000, .kv_len = 1700, .heads = 4, .kv_heads = 2, .head_dim = 64, .value_dim = 48, .causal = true};
    params.backward = _i % 2;
    params.segment_ids = params.sinks = params.bias.present = params.backward;
    params.layout = VKRING_LAYOUT_AUTO;
    params.q_len = _i < 6 ? params.q_len : 3; /* splits of keys */
    params.kv_len = _i < 6 ? params.kv_len : 50000;
    compare(device, &params, 1 + (uint32_t)_i / 2 % 3);
}
END_TEST

/* One row, which lanes share on CPUs. */
START_TEST(it_foretells_what_a_step_of_decoding_takes)
{
    const struct vkring_plan_params params = {.batch = 1, .q_len = 1, .kv_len = 50000, .heads = 4, .kv_heads = 4, .head_dim = 64};
    compare(device, &params, 2);
}
END_TEST

/* GPUs that choose their kernels by each of what a description tells. */
static const struct vk_limit_overrides gpus[] = {
    {.kind = VKRING_DEVICE_DISCRETE, .no_unified_memory = true, .lane_registers = 256},
    {.kind = VKRING_DEVICE_DISCRETE, .no_unified_memory = true, .no_transfer_queue = true, .lane_registers = 128},
    {.kind = VKRING_DEVICE_INTEGRATED, .lane_registers = 128, .no_matrices = true},
};

/* Of many rows; of few, whose keys are split; with gradients. */
START_TEST(it_foretells_what_plans_of_gpus_take)
{
    struct vkring_plan_params params = {
        .type = VKRING_TYPE_F32, .batch = 2, .q_len = 1000, .kv_len = 1700, .heads = 4, .kv_heads = 2, .head_dim = 64, .causal = true};
    vkring_device *other = test_device_open(&gpus[_i]);
    compare(other, &params, 2);
    if (has_f16) {
        params.type = VKRING_TYPE_F16;
        compare(other, &params, 2);
        params.type = VKRING_TYPE_F32;
    }
    params.backward = true;
    compare(other, &params, 2);
    params.backward = false;
    params.q_len = 3;
    params.kv_len = 50000;
    compare(other, &params, 2);
    vkring_device_destroy(&other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plan memory");
    TCase *tcase = tcase_create("promise");
    struct vkring_device_info info;
    device = test_device_open(NULL);
    vkring_device_get_info(device, &info);
    has_f16 = info.f16;
    tcase_add_loop_test(tcase, a_plan_takes_what_it_promised, 0, sizeof(plans) / sizeof(plans[0]));
    tcase_add_loop_test(tcase, a_simulation_foretells_what_plans_take, 0, 10);
    tcase_add_test(tcase, it_foretells_what_a_step_of_decoding_takes);
    tcase_add_loop_test(tcase, it_foretells_what_plans_of_gpus_take, 0, sizeof(gpus) / sizeof(gpus[0]));
    suite_add_tcase(suite, tcase);
    suite_add(suite, "run", a_run_takes_nothing);
    return device_suite_run(suite, &device, 1);
}
