/* SPDX-License-Identifier: MIT */
/** One run of a plan, between the files that drive it: its loop, the device's side and the network's side. */
#ifndef VKRING_RING_RUN_H
#define VKRING_RING_RUN_H

#include "plan.h"

#define RUN_BUFFERS 5

struct cursor {
    uint32_t step;
    uint64_t first_key;
    uint64_t box;
};

struct run {
    struct vkring_plan *plan;
    struct forward_tensors tensors;
    struct forward_keys own; /* where the application has them */
    bool aligned;
    vkring_buffer *buffers[RUN_BUFFERS]; /* of the call, for their semaphores */

    struct cursor at;                   /* next piece of work to submit */
    uint64_t step_value[STAGING_SLOTS]; /* compute timeline when the last submitted piece of step s is done, at s % 2 */

    uint64_t own_value; /* compute timeline when our own packet is in host memory */
    bool own_in_place;  /* it is sent from the application's buffers */
    bool own_ready;
    uint32_t sent, received,
        arrived;                 /* packets: wholly passed on; started to receive; received and handed to staging (step 0 counts as one) */
    uint32_t crc[STAGING_SLOTS]; /* of the packet in the slot */

    double begin, last, last_progress;
};

static inline uint32_t ranks_of(const struct run *run)
{
    return run->plan->layout.ranks;
}

static inline struct packet_shape shape_at(const struct run *run, uint32_t step)
{
    const struct layout *layout = &run->plan->layout;
    return packet_shape_of(&run->plan->problem, layout_key_rows(layout, layout_origin(layout, step)));
}

static inline struct tensor_shape shape_of(const struct problem *problem, const char *name, uint64_t rows, uint64_t heads, uint64_t dim)
{
    return (struct tensor_shape){name, vkring_type_bytes(problem->type), problem->batch, rows, heads, dim};
}

/** Finds the tensors of the call, before anything is started. */
enum vkring_status run_resolve_tensors(struct run *run, const struct vkring_forward_io *io);

/** Waits on the device for the application's semaphores, and copies the own packet for the network where it must be. */
enum vkring_status run_start_device(struct run *run);
/** Submits what the packets at hand allow. progress is set to true when there was something. */
enum vkring_status run_submit_ready(struct run *run, bool *progress);
bool run_all_submitted(const struct run *run);
/** Signals the application's semaphores after all that was submitted. */
enum vkring_status run_signal_application(struct run *run);

/** Moves packets on. progress is set to true when something moved. */
enum vkring_status run_poll_network(struct run *run, bool *progress);
bool run_network_is_done(const struct run *run);

#endif
