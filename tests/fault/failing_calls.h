/* SPDX-License-Identifier: MIT */
/**
 * The Nth call of Vulkan or of the allocator fails, once or from then on; and what was created is counted until it is destroyed.
 *
 * Vulkan is caught where the library asks the loader for it, the allocator by the linker (--wrap): both only as the library and the test
 * call them. One thread.
 */
#ifndef VKRING_TESTS_FAILING_CALLS_H
#define VKRING_TESTS_FAILING_CALLS_H

#include <stdbool.h>
#include <stdint.h>
#include <volk.h>

enum failing_kind { FAILING_VULKAN, FAILING_MEMORY, FAILING_KINDS };

struct failing_calls {
    bool armed;
    enum failing_kind kind;
    uint64_t nth; /* counted from 0 */
    bool for_good;
    VkResult result;              /* what Vulkan says */
    uint64_t count, struck;       /* calls while armed, and those that failed */
    const char *name;             /* of the first that failed */
    void (*on_first)(void *user); /* called before it fails; may be null */
    void *user;
    int64_t objects, blocks; /* of Vulkan and of the allocator that are alive; counted always */
};

extern struct failing_calls failing_calls;

#endif
