/* SPDX-License-Identifier: MIT */
#include "opened_device.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "shadow_memory.h"

static atomic_uint validation_messages;

static void listen(void *user, enum vkring_log_level level, const char *message)
{
    (void)user;
    if (level == VKRING_LOG_VALIDATION)
        atomic_fetch_add(&validation_messages, 1);
    if (level == VKRING_LOG_VALIDATION || level <= VKRING_LOG_WARNING)
        fprintf(stderr, "%s: %s\n", level == VKRING_LOG_VALIDATION ? "validation" : "vkring", message);
}

struct vkring_device_params test_device_params(void)
{
    return (struct vkring_device_params){
        .index = (uint32_t)environment_number("VKRING_TEST_DEVICE", 0),
        .log = listen,
        .validation = environment_number("VKRING_TEST_VALIDATION", 0) != 0,
    };
}

vkring_device *test_device_open(const struct vk_limit_overrides *overrides)
{
    vkring_device *device = NULL;
    struct vkring_device_params params = test_device_params();
    enum vkring_status status = vk_device_open(&params, overrides, &device);
    if (status == VKRING_OK && overrides && overrides->not_coherent)
        shadow_memory_install(device);
    if (status == VKRING_OK)
        return device;
    fprintf(stderr, "no device to test: %s\n", vkring_last_error()->message);
    exit(status == VKRING_ERROR_NO_DEVICE || status == VKRING_ERROR_UNSUPPORTED ? TEST_SKIPPED : EXIT_FAILURE);
}

int device_suite_run(Suite *suite, vkring_device **devices, int count)
{
    int result = suite_run(suite);
    for (int i = 0; i < count; i++) {
        if (devices[i] && atomic_load(&devices[i]->kernels_failed)) {
            printf("device %d failed the self-test of a kernel\n", i);
            result = EXIT_FAILURE;
        }
        vkring_device_destroy(&devices[i]);
    }
    unsigned messages = atomic_load(&validation_messages);
    if (messages == 0)
        return result;
    printf("%u messages of the validation layer\n", messages);
    return EXIT_FAILURE;
}
