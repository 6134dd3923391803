/* SPDX-License-Identifier: MIT */
/* Devices that lack something: each limit taken away by itself, and the answers stay right. VKRING_TEST_CASES: how many of them. */
#include <string.h>

#include "../harness/attention_case.h"
#include "../harness/opened_device.h"

static const struct {
    const char *name;
    struct vk_limit_overrides overrides;
} poorer[] = {
    {"no unified memory", {.no_unified_memory = true}},
    {"64 workgroups", {.max_workgroup_count = 64}},
    {"6 workgroups", {.max_workgroup_count = 6}},
    {"no transfer queue", {.no_transfer_queue = true}},
    {"memory that is not coherent", {.not_coherent = true}},
    {"no timestamps", {.no_timestamps = true}},
    {"16 KiB of shared memory", {.shared_memory_bytes = 16384}},
    {"nothing of it",
     {.max_workgroup_count = 6,
      .no_unified_memory = true,
      .no_transfer_queue = true,
      .not_coherent = true,
      .no_subgroup_shuffle = true,
      .no_timestamps = true}},
    /* from here on with kernels of their own, too */
    {"no shuffle", {.no_subgroup_shuffle = true}},
    {"kernels of a discrete GPU", {.kind = VKRING_DEVICE_DISCRETE}},
    {"kernels of a GPU with many registers", {.kind = VKRING_DEVICE_DISCRETE, .lane_registers = 256, .no_matrices = true}},
    {"kernels of a GPU with few registers", {.kind = VKRING_DEVICE_DISCRETE, .lane_registers = 16}},
    {"kernels of an integrated GPU", {.kind = VKRING_DEVICE_INTEGRATED}},
    {"kernels of a GPU without shuffles", {.kind = VKRING_DEVICE_DISCRETE, .no_subgroup_shuffle = true}},
};
enum { POORER = sizeof(poorer) / sizeof(poorer[0]) };

static const struct attention_case cases[] = {
    {.name = "packed", .params = {.batch = 5, .q_len = 333, .kv_len = 200, .heads = 7, .head_dim = 16}},
    {.name = "causal f16, padded",
     .placement = {ORDER_PADDED, .padding = 3},
     .params =
         {.type = VKRING_TYPE_F16, .batch = 2, .q_len = 65, .kv_len = 127, .heads = 4, .kv_heads = 2, .head_dim = 33, .causal = true}},
    {.name = "wide heads",
     .params = {.batch = 1, .q_len = 150, .kv_len = 77, .heads = 1, .head_dim = 128, .value_dim = 100, .causal = true}},
    {.name = "gradients",
     .params = {.type = VKRING_TYPE_F16,
                .batch = 1,
                .q_len = 65,
                .kv_len = 77,
                .heads = 2,
                .head_dim = 40,
                .value_dim = 72,
                .causal = true,
                .softcap = 3,
                .backward = true}},
    {.name = "cut finely",
     .params =
         {.batch = 2, .q_len = 65, .kv_len = 333, .heads = 4, .kv_heads = 2, .head_dim = 16, .causal = true, .dispatch_seconds = 1e-9}},
};

START_TEST(answers_stay_right)
{
    vkring_device *device = test_device_open(&poorer[_i].overrides);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct attention_case c = cases[i];
        c.seed = i;
        if (c.params.type == VKRING_TYPE_F32 || device->limits.storage_16bit)
            ck_assert_msg(case_passes(&c, device, NULL), "with %s: %s", poorer[_i].name, c.name);
    }
    ck_assert_uint_eq(atomic_load(&device->kernels_failed), 0);
    vkring_device_destroy(&device);
    ck_assert_ptr_null(device);
}
END_TEST

START_TEST(no_16_bit_storage_refuses_16_bit_types)
{
    const struct vk_limit_overrides overrides = {.no_storage_16bit = true};
    struct attention_case c = cases[1];
    vkring_device *device = test_device_open(&overrides);
    vkring_plan *plan = NULL;
    struct vkring_device_info info;
    vkring_device_get_info(device, &info);
    ck_assert(!info.f16);
    ck_assert_int_eq(vkring_plan_create(device, NULL, &c.params, &plan), VKRING_ERROR_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "16-bit"));
    ck_assert_ptr_null(plan);
    c.params.type = VKRING_TYPE_F32;
    ck_assert(case_passes(&c, device, NULL));
    vkring_device_destroy(&device);
}
END_TEST

START_TEST(what_does_not_fit_is_refused_cleanly)
{
    const struct vk_limit_overrides overrides = {.max_buffer_bytes = 1 << 20};
    const struct vkring_plan_params too_large = {
        .batch = 1, .q_len = 20000, .kv_len = 20000, .heads = 1, .head_dim = 64, .dispatch_seconds = 1e-3};
    const struct attention_case fits = {
        .name = "fits", .params = {.batch = 1, .q_len = 65, .kv_len = 333, .heads = 2, .head_dim = 16, .dispatch_seconds = 1e-9}};
    vkring_device *device = test_device_open(&overrides);
    struct vkring_memory_use before, after;
    vkring_buffer *buffer = NULL;
    vkring_plan *plan = NULL;
    ck_assert(case_passes(&fits, device, NULL));
    vkring_device_get_memory_use(device, &before);
    ck_assert_int_eq(vkring_buffer_create(device, (1 << 20) + 1, &buffer), VKRING_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_ptr_null(buffer);
    ck_assert_int_eq(vkring_buffer_create(device, UINT64_MAX, &buffer), VKRING_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_int_eq(vkring_plan_create(device, NULL, &too_large, &plan), VKRING_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_ptr_null(plan);
    ck_assert_uint_gt(strlen(vkring_last_error()->message), 0);
    vkring_device_get_memory_use(device, &after);
    ck_assert_uint_eq(after.device_bytes, before.device_bytes);
    ck_assert_uint_eq(after.host_bytes, before.host_bytes);
    ck_assert(case_passes(&fits, device, NULL));
    vkring_device_destroy(&device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poorer devices");
    TCase *tcase = tcase_create("limits");
    vkring_device *device = test_device_open(NULL);
    vkring_device_destroy(&device);
    const uint64_t count = environment_number("VKRING_TEST_CASES", POORER);
    tcase_add_loop_test(tcase, answers_stay_right, 0, count < POORER ? (int)count : POORER);
    suite_add_tcase(suite, tcase);
    suite_add(suite, "types", no_16_bit_storage_refuses_16_bit_types);
    suite_add(suite, "memory", what_does_not_fit_is_refused_cleanly);
    return device_suite_run(suite, NULL, 0);
}
