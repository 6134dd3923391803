/* SPDX-License-Identifier: MIT */
/*
 * A seeded sweep over everything at once: random-test [FIRST], with FIRST on a device that takes commands in another order.
 * VKRING_TEST_CASES sets how many, VKRING_TEST_SEED and VKRING_TEST_FIRST where from; VKRING_TEST_F16=1 takes only those of f16.
 */
#include <stdlib.h>

#include "../harness/attention_case.h"
#include "../harness/loose_order.h"
#include "../harness/opened_device.h"

static vkring_device *device;
static bool has_f16, only_f16;

START_TEST(random_case)
{
    struct attention_case c = case_random(environment_number("VKRING_TEST_SEED", 2026), (uint64_t)_i, 1, NULL);
    if (case_is_supported(&c, has_f16) && (!only_f16 || c.params.type == VKRING_TYPE_F16))
        ck_assert_msg(case_passes(&c, device, NULL), "case %d", _i);
}
END_TEST

int main(int argc, char **argv)
{
    struct vkring_device_info info;
    Suite *suite = suite_create("random");
    TCase *tcase = tcase_create("sweep");
    const uint64_t usual = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    int first = (int)environment_number("VKRING_TEST_FIRST", usual);
    device = test_device_open(NULL);
    if (usual > 0)
        loose_order_install(device, LATE_COPIES);
    vkring_device_get_info(device, &info);
    has_f16 = info.f16;
    only_f16 = environment_number("VKRING_TEST_F16", 0) != 0;
    tcase_add_loop_test(tcase, random_case, first, first + (int)environment_number("VKRING_TEST_CASES", 150));
    suite_add_tcase(suite, tcase);
    return device_suite_run(suite, &device, 1);
}
