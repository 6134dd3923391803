/* SPDX-License-Identifier: MIT */
/**
 * One run of a plan, between the files that drive it: its turns, the device's side and the network's side. It is the plan's, made with it,
 * so that nothing of a run that is under way is on anybody's stack.
 */
#ifndef VKRING_RING_RUN_H
#define VKRING_RING_RUN_H

#include "piece.h"
#include "plan.h"

#define RUN_BUFFERS 18

/* Where a run is in the program of its pass. */
struct cursor {
    uint64_t task;
    struct piece_cursor piece; /* in the task */
};

/* How far the gradients of sinks are on their way over all ranks, after all else. */
enum sinks_state { SINKS_HERE, SINKS_GATHERED, SINKS_PUT, SINKS_DONE };

/* How the own packet comes to where the network finds it. */
enum readback_way {
    READBACK_NONE,    /* it does not travel, or is sent from the application's buffers */
    READBACK_PACK,    /* kernels pack its parts, each a piece of work */
    READBACK_TRANSFER /* its parts lie packed: they are copied piece by piece, beside kernels */
};

struct readback {
    enum readback_way way;
    uint64_t part_value[PACKET_PARTS];  /* compute timeline when the part is there, unless it is transferred */
    uint64_t after_value;               /* the same, when what was submitted before the run is done */
    uint64_t started_bytes, done_bytes; /* transferred, of the parts, one after another */
    uint64_t ready_bytes;               /* of the same, that the network may send */
};

struct run {
    struct vkring_plan *plan;
    bool under_way;
    const struct program *program;
    double flop_factor; /* of what forward counts */
    struct query_tensors queries;
    struct query_tensors queries_of_span[LAYOUT_SPANS]; /* the same, at the positions of the span's rows */
    struct key_tensors own;                             /* where the application has them */
    struct tensor_view sink_grad;                       /* where the application wants it, if it is summed over ranks */
    struct tensor_view query_grad;                      /* the same, if it is summed in f32 first */
    enum alignment alignment;                           /* of the call's tensors */
    vkring_buffer *buffers[RUN_BUFFERS];                /* of the call, for their semaphores; null where one is not used */
    struct vk_application_sync sync;                    /* those, from the start on */

    struct cursor at;                   /* next piece of work to submit */
    uint32_t attended;                  /* packets of earlier steps are not read by anything that is still to be submitted */
    const struct task *adding;          /* has its partial gradients, and waits for what it adds to */
    uint64_t done_boxes;                /* submitted, of tasks before the cursor's */
    uint32_t segments_step;             /* the step whose tables of segment ids are on the device; VKRING_NONE before the first */
    uint32_t copied_step;               /* the step whose keys are copied by head; VKRING_NONE before the first */
    bool queries_copied;                /* by head */
    uint64_t step_value[STAGING_SLOTS]; /* compute timeline when the last submitted piece of step s is done, at s % 2 */

    struct readback own_packet;
    uint32_t sent, received,
        arrived;                 /* packets: wholly passed on; started to receive; received and handed to staging (step 0 counts as one) */
    uint32_t crc[STAGING_SLOTS]; /* of the packet in the slot */

    /* Gradients by the step at which they come: from 2 on, as those of step 1 start here; at the last plus one, our own come home. */
    struct {
        uint32_t received, arrived;     /* the last that was started, or is there */
        uint32_t added, sent;           /* the last step whose sum was submitted, or is passed on */
        uint64_t value[GRADIENT_SLOTS]; /* compute timeline when the sum is in the slot */
    } gradients;

    enum sinks_state sinks;
    struct comm_gather gather; /* of theirs */
    double gather_begin;

    bool waits; /* the device has nothing to do, and there is work left */
    uint32_t wait_step;
    double wait_begin;

    double begin, last;         /* when it was started, and looked at */
    double idle_seconds;        /* that count towards the deadline */
    double telling_at;          /* idle seconds after which it says next that it waits */
    enum vkring_status told_of; /* why another rank gave up, if this one was told */
};

static inline uint32_t steps_of(const struct run *run)
{
    return run->plan->steps;
}

/** Of the packet of a step. */
static inline struct packet_shape shape_at(const struct run *run, uint32_t step)
{
    const struct layout *layout = &run->plan->layout;
    return packet_shape_of(&run->plan->problem, layout_key_rows(layout, layout_origin(layout, step)));
}

/** VKRING_ERROR_INVALID_ARGUMENT after a run that broke off. */
enum vkring_status run_check_usable(const struct vkring_plan *plan);

/** Finds the tensors of the call, before anything is started. */
enum vkring_status run_resolve_forward(struct run *run, const struct vkring_forward_io *io);
enum vkring_status run_resolve_backward(struct run *run, const struct vkring_backward_io *io);

/** No run is under way any more. */
void run_end(struct run *run);
/** Puts the wait on record that began at wait_begin. */
void run_record_wait(struct run *run, double end_seconds, bool finished);

/** How much longer than to its deadline a run waits, to be told whose fault it is. */
double run_excuse_seconds(const struct run *run);
/** Which rank keeps this one from going on, as far as it knows; VKRING_NONE: nothing is under way. */
uint32_t run_waits_for(const struct run *run);
/** Records as the last error what made no progress until the deadline. */
enum vkring_status run_blame(const struct run *run);
/** Ends a run that failed, with what it did in the last error and in the log; waits a moment for the device. */
void run_give_up(struct run *run);
/** Ends a run that is under way, without waiting: what the network may still touch is quarantined. */
void run_break_off(struct run *run);

/** Waits on the device for the application's semaphores, and packs the own packet for the network where kernels must. */
enum vkring_status run_start_device(struct run *run);
/** Goes on with the copy of the own packet, and updates how much of it is ready. */
enum vkring_status run_poll_own_packet(struct run *run);
/** Signals the application's semaphores after all that was submitted. */
enum vkring_status run_signal_application(struct run *run);

/** To the first task that is wanted. */
void run_first_task(struct run *run);
/** Of all tasks that are wanted. */
uint64_t run_all_boxes(const struct run *run);
/** Of all tasks that are wanted: computed_flop of vkring_run_stats. */
double run_computed_flop(const struct run *run);
/** The step of the cursor, for errors. */
uint32_t run_step(const struct run *run);
/** Submits what the packets and gradients at hand allow. progress is set to true when there was something. */
enum vkring_status run_submit_ready(struct run *run, bool *progress);
bool run_all_submitted(const struct run *run);

/** What the packet of a rank, or gradients of its keys, are in a message that arrives at a step. */
struct packet_identity run_identity(const struct run *run, const struct packet_shape *shape, uint32_t origin, uint32_t arrival_step);
/** Moves packets on. progress is set to true when something moved. */
enum vkring_status run_poll_network(struct run *run, bool *progress);
bool run_network_is_done(const struct run *run);

/** Starts with nothing under way. */
void run_begin_gradients(struct run *run);
/** Submits the sum of run->adding once what it adds to is there. out_done: it is submitted. */
enum vkring_status run_submit_add(struct run *run, bool *out_done);
/** Moves gradients on. */
enum vkring_status run_poll_gradients(struct run *run, bool *progress);
bool run_gradients_are_done(const struct run *run);
/** The step at which the next sum that is due from here arrives, and where; false if there is none. */
bool run_next_gradients(const struct run *run, uint32_t *out_step, uint32_t *out_peer);
/** The rank that gets its own sum from here. */
uint32_t run_gradients_home(const struct run *run);
/** Whether the run sums the gradients of sinks over all ranks. */
bool run_gathers_sinks(const struct run *run);
/** Moves the sum of sinks' gradients over all ranks on, once all else is done. */
enum vkring_status run_poll_sinks(struct run *run, bool *progress);
bool run_sinks_are_done(const struct run *run);
/** Puts the gather on record that was started. */
void run_record_gather(struct run *run, bool finished);

/** Tells the ranks that wait for this one, if it has waited for long itself, for whom; again and again until there is progress. */
void run_tell_waiting(struct run *run);
/** Listens, if this rank has waited for long, to those that it sends to. VKRING_ERROR_PEER: one says that it, or another, gave up. */
enum vkring_status run_hear(struct run *run);
/** Tells them that nothing more comes, and on whose account. Before anything is given up. The last error may be another afterwards. */
void run_tell_given_up(struct run *run, const struct vkring_error *error);
/** What was told may be under way when the run ends, and longer: nobody has to ask for it. */
enum vkring_status run_poll_notices(struct run *run);
/** Returns whether anything was under way. */
bool run_abandon_notices(struct run *run);
/** The same of a plan without a run, for whose sake the communicator can still be used. */
bool run_leave_notices(struct vkring_plan *plan);

#endif
