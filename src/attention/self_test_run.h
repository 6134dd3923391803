/* SPDX-License-Identifier: MIT */
/** What self-tests of attention have in common: commands that the device is waited for, and tensors. */
#ifndef VKRING_ATTENTION_SELF_TEST_RUN_H
#define VKRING_ATTENTION_SELF_TEST_RUN_H

#include "../vk/timeline.h"
#include "tensor.h"

/**
 * How many seconds the device may take for a self-test. Drivers of CPUs compile a kernel when it first runs, and where others use the cores
 * one on matrix units took more than a minute.
 */
double self_test_deadline(const vkring_device *device);

struct self_test_run {
    vkring_device *device;
    vkring_buffer *arguments; /* of dispatches */
    struct vk_command_pool pool;
    struct vk_timeline timeline;
};

/** For commands of so many dispatches. What failed to open is to be closed, too. */
enum vkring_status self_test_run_open(vkring_device *device, uint64_t dispatches, struct self_test_run *out_run);

/** Whether the device has finished: if it has not, nothing that it uses may be freed. */
bool self_test_run_close(struct self_test_run *run);

enum vkring_status self_test_run_begin(struct self_test_run *run, struct vk_commands *out_commands);

/** Submits what was recorded, and waits: VKRING_ERROR_TIMEOUT after self_test_deadline(). */
enum vkring_status self_test_run_finish(struct self_test_run *run, struct vk_commands *commands);

/** Multiples of 1/16 in [-1, 1): exact in every type. */
void self_test_inputs(int count, float *out_elements);

/** Rows of so many heads, from that element of the buffer. */
struct tensor_view self_test_view(vkring_buffer *buffer, enum vkring_type type, uint64_t element, uint64_t heads);

#endif
