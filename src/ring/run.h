/* SPDX-License-Identifier: MIT */
/** One run of a plan, between the files that drive it: its loop, the device's side and the network's side. */
#ifndef VKRING_RING_RUN_H
#define VKRING_RING_RUN_H

#include "plan.h"

#define RUN_BUFFERS 18

struct cursor {
    uint32_t stage; /* of backward */
    uint32_t step;  /* of forward */
    uint32_t key_span;
    uint64_t first_key;
    uint64_t box;
};

struct run;

/** What a pass does on the device. */
struct run_work {
    /** Submits what can be now. progress is set to true when there was something. */
    enum vkring_status (*submit_ready)(struct run *run, bool *progress);
    bool (*all_submitted)(const struct run *run);
    double flop_factor; /* of what forward counts */
};

struct run {
    struct vkring_plan *plan;
    const struct run_work *work;
    struct query_tensors queries;
    struct query_tensors queries_of_span[LAYOUT_SPANS]; /* the same, at the positions of the span's rows */
    struct key_tensors own;                             /* where the application has them */
    bool aligned;
    vkring_buffer *buffers[RUN_BUFFERS]; /* of the call, for their semaphores; null where one is not used */

    struct cursor at;                   /* next piece of work to submit */
    uint32_t segments_step;             /* the step whose tables of segment ids are on the device; VKRING_NONE before the first */
    uint64_t step_value[STAGING_SLOTS]; /* compute timeline when the last submitted piece of step s is done, at s % 2 */

    uint64_t own_value; /* compute timeline when our own packet is in host memory */
    bool own_in_place;  /* it is sent from the application's buffers */
    bool own_ready;
    uint32_t sent, received,
        arrived;                 /* packets: wholly passed on; started to receive; received and handed to staging (step 0 counts as one) */
    uint32_t crc[STAGING_SLOTS]; /* of the packet in the slot */

    uint64_t done_boxes; /* of backward: submitted */
    double begin, last, last_progress;
};

static inline uint32_t steps_of(const struct run *run)
{
    return run->plan->steps;
}

static inline struct packet_shape shape_at(const struct run *run, uint32_t step)
{
    const struct layout *layout = &run->plan->layout;
    return packet_shape_of(&run->plan->problem, layout_key_rows(layout, layout_origin(layout, step)));
}

/** Finds the tensors of the call, before anything is started. */
enum vkring_status run_resolve_forward(struct run *run, const struct vkring_forward_io *io);
enum vkring_status run_resolve_backward(struct run *run, const struct vkring_backward_io *io);

/** Everything from the first submission to the last, once tensors are resolved and kernels are prepared. */
enum vkring_status run_execute(struct run *run, uint64_t all_boxes);

/** Records the tables of segment ids before anything reads them: queries' ranges once a run, the rest once a step. */
void run_record_segments(struct run *run, const struct vk_commands *commands, const struct key_tensors *keys);

/** Waits on the device for the application's semaphores, and copies the own packet for the network where it must be. */
enum vkring_status run_start_device(struct run *run);
/** Forward: submits what the packets at hand allow. */
enum vkring_status run_submit_forward(struct run *run, bool *progress);
bool run_all_submitted(const struct run *run);
/** Signals the application's semaphores after all that was submitted. */
enum vkring_status run_signal_application(struct run *run);

/** Moves packets on. progress is set to true when something moved. */
enum vkring_status run_poll_network(struct run *run, bool *progress);
bool run_network_is_done(const struct run *run);

#endif
