/* SPDX-License-Identifier: MIT */
/* What a run does on the device before and after its work. */
#include "run.h"

static bool host_can_read(const struct tensor_view *view)
{
    return !view->buffer || (view->packed && view->buffer->mapped && view->buffer->cached && view->buffer->coherent);
}

static void record_own_packet(struct run *run, const struct vk_commands *commands)
{
    struct vkring_plan *plan = run->plan;
    const struct packet_shape packet = shape_at(run, 0);
    for (int part = 0; part < PACKET_PARTS; part++) {
        const struct tensor_shape shape = key_part_shape(&plan->problem, (enum key_part)part, run->own.keys);
        const struct rows_kernel *kernel = shape.element_bytes == plan->pack.to_bytes ? &plan->pack : &plan->pack_masks;
        if (tensor_is_empty(&shape))
            continue;
        const struct tensor_view to =
            tensors_packed_part(&plan->problem, (enum key_part)part, &shape, plan->staging.host[0], packet.part_offset[part]);
        pack_record(plan->device, commands, kernel, &shape, key_part_view(&run->own, (enum key_part)part), &to);
    }
}

static bool host_can_read_own(struct run *run)
{
    bool readable = true;
    for (int part = 0; part < PACKET_PARTS; part++)
        readable = readable && host_can_read(key_part_view(&run->own, (enum key_part)part));
    return readable;
}

/* The application's semaphores come first, so that everything later in the queue comes after them. */
enum vkring_status run_start_device(struct run *run)
{
    enum vkring_status status;
    struct vkring_plan *plan = run->plan;
    struct vk_semaphore_value waits[RUN_BUFFERS];
    uint32_t wait_count = 0, slot;
    struct vk_commands commands;
    const bool travels = steps_of(run) > 1 && run->own.keys > 0 && plan->problem.batch > 0;

    for (int i = 0; i < RUN_BUFFERS; i++)
        if (run->buffers[i] && run->buffers[i]->sync.wait)
            waits[wait_count++] = (struct vk_semaphore_value){run->buffers[i]->sync.wait, run->buffers[i]->sync.wait_value};
    run->own_in_place = host_can_read_own(run);
    run->own_ready = !travels || (run->own_in_place && wait_count == 0);
    if (wait_count == 0 && run->own_ready)
        return VKRING_OK;

    TRY(compute_begin(&plan->compute, false, &commands, &slot), fail);
    const bool copies = travels && !run->own_in_place;
    const struct compute_work work = {.kind = wait_count > 0 ? VKRING_EVENT_APPLICATION : VKRING_EVENT_READBACK,
                                      .bytes = copies ? shape_at(run, 0).bytes : 0};
    if (copies)
        record_own_packet(run, &commands);
    TRY(compute_submit(&plan->compute, &work, waits, wait_count), fail);
    run->own_value = plan->compute.timeline.submitted;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status run_signal_application(struct run *run)
{
    enum vkring_status status;
    struct vk_semaphore_value signals[RUN_BUFFERS];
    uint32_t count = 0;
    for (int i = 0; i < RUN_BUFFERS; i++)
        if (run->buffers[i] && run->buffers[i]->sync.signal)
            signals[count++] = (struct vk_semaphore_value){run->buffers[i]->sync.signal, run->buffers[i]->sync.signal_value};
    if (count)
        TRY(vk_submit(run->plan->device, VK_QUEUE_COMPUTE, NULL, NULL, 0, signals, count), fail);
    return VKRING_OK;
fail:
    return status;
}
