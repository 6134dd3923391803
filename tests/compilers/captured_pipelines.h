/* SPDX-License-Identifier: MIT */
/**
 * What a driver says of the pipelines that the library makes, by VK_KHR_pipeline_executable_properties.
 *
 * Vulkan is caught where the library asks the loader for it: devices are created with the extension, if they have it, and compute pipelines
 * with their statistics and without a cache. One device, one thread.
 */
#ifndef VKRING_TESTS_CAPTURED_PIPELINES_H
#define VKRING_TESTS_CAPTURED_PIPELINES_H

#include <stdbool.h>
#include <stdint.h>
#include <volk.h>

enum { CAPTURED_EXECUTABLES = 4, CAPTURED_STATISTICS = 64 };

/** A driver may compile a kernel for several subgroup sizes, and choose at a dispatch. */
struct captured_executable {
    uint32_t subgroup_size;
    uint32_t statistic_count;
    struct {
        char name[VK_MAX_DESCRIPTION_SIZE];
        double value;
    } statistics[CAPTURED_STATISTICS];
};

struct captured_pipelines {
    bool available;                 /* the device that was created has the extension */
    void (*on_created)(void *user); /* after each pipeline; may be null */
    void *user;
    uint32_t executable_count;
    struct captured_executable executables[CAPTURED_EXECUTABLES]; /* of the last pipeline */
};

extern struct captured_pipelines captured_pipelines;

/** The sum of the statistics of these names, which end with null; -1 if the driver has none of them. */
double captured_sum(const struct captured_executable *executable, const char *const *names);

#endif
