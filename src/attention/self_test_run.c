/* SPDX-License-Identifier: MIT */
#include "self_test_run.h"

#include "arguments.h"
#include "self_test.h"

#define DEADLINE_SECONDS 60.0
#define CPU_DEADLINE_SECONDS 600.0

double self_test_deadline(const vkring_device *device)
{
    return device->info.kind == VKRING_DEVICE_CPU ? CPU_DEADLINE_SECONDS : DEADLINE_SECONDS;
}

enum vkring_status self_test_run_open(vkring_device *device, uint64_t dispatches, struct self_test_run *out_run)
{
    enum vkring_status status;
    *out_run = (struct self_test_run){.device = device};
    TRY(vk_buffer_create(device, VK_MEMORY_ARGUMENTS, dispatches * ARGUMENT_BYTES, &out_run->arguments), fail);
    TRY(vk_command_pool_create(device, VK_QUEUE_COMPUTE, &out_run->pool), fail);
    TRY(vk_timeline_create(device, &out_run->timeline), fail);
    return VKRING_OK;
fail:
    return status;
}

bool self_test_run_close(struct self_test_run *run)
{
    if (!vk_timeline_settle(run->device, &run->timeline, self_test_deadline(run->device)))
        return false;
    vk_timeline_destroy(run->device, &run->timeline);
    vk_command_pool_destroy(run->device, &run->pool);
    vkring_buffer_destroy(&run->arguments);
    return true;
}

enum vkring_status self_test_run_begin(struct self_test_run *run, struct vk_commands *out_commands)
{
    *out_commands = (struct vk_commands){0};
    return vk_commands_begin(run->device, &run->pool, out_commands);
}

enum vkring_status self_test_run_finish(struct self_test_run *run, struct vk_commands *commands)
{
    enum vkring_status status;
    const struct vk_semaphore_value done = {run->timeline.handle, run->timeline.submitted + 1};
    const double deadline = self_test_deadline(run->device);
    bool reached;
    vk_commands_barrier_to_host(run->device, commands);
    TRY(vk_commands_end(run->device, commands), fail);
    TRY(vk_submit(run->device, VK_QUEUE_COMPUTE, commands, NULL, 0, &done, 1), fail);
    run->timeline.submitted = done.value;
    TRY(vk_timeline_wait(run->device, &run->timeline, done.value, deadline, &reached), fail);
    if (!reached)
        return status_fail(VKRING_ERROR_TIMEOUT, "the device did not finish the self-test in %.0f s", deadline);
    return VKRING_OK;
fail:
    return status;
}

void self_test_inputs(int count, float *out_elements)
{
    uint32_t state = 1;
    for (int i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        out_elements[i] = (float)(int32_t)(state >> 27) / 16.0f - 1.0f;
    }
}

struct tensor_view self_test_view(vkring_buffer *buffer, enum vkring_type type, uint64_t element, uint64_t heads)
{
    const uint64_t bytes = vkring_type_bytes(type);
    return (struct tensor_view){
        .buffer = buffer,
        .address = buffer->address + element * bytes,
        .row_stride = heads * SELF_TEST_MOST_DIM * bytes,
        .head_stride = SELF_TEST_MOST_DIM * bytes,
    };
}
