/* SPDX-License-Identifier: MIT */
/** The device under test, with every message of the validation layer counted. */
#ifndef VKRING_TESTS_OPENED_DEVICE_H
#define VKRING_TESTS_OPENED_DEVICE_H

#include <vk/device.h>

#include "suite.h"

/**
 * Opens device VKRING_TEST_DEVICE (0 if not set), poorer by overrides (may be null): memory that is not coherent by them has shadows.
 * VKRING_TEST_VALIDATION=1 turns the validation layer on. Where there is no device the process exits with TEST_SKIPPED; any other failure
 * exits with 1.
 */
vkring_device *test_device_open(const struct vk_limit_overrides *overrides);

/** Parameters as test_device_open uses them, for a test that opens a device its own way. */
struct vkring_device_params test_device_params(void);

/**
 * suite_run, then destroys count devices (any may be null); fails too if a kernel of one failed its self-test, or the validation layer said
 * anything since the process began.
 */
int device_suite_run(Suite *suite, vkring_device **devices, int count);

#endif
