/* SPDX-License-Identifier: MIT */
/** What a plan holds: everything resolved, allocated, compiled and agreed, so that a run only submits, exchanges and waits. */
#ifndef VKRING_RING_PLAN_H
#define VKRING_RING_PLAN_H

#include "../attention/segments.h"
#include "backward.h"
#include "by_head.h"
#include "compute.h"
#include "link.h"
#include "staging.h"

struct run;

/** What a plan for one sequence of a batch knows beside its parameters. */
struct plan_sequence {
    uint64_t entry;                                /* its place in the batch, by which dropout masks */
    bool int8_keys;                                /* forward's key and value are words of four integers, with strides in words */
    struct vkring_tensor key_scales, value_scales; /* of these [kv_heads][rows], f32; borrowed until the plan is destroyed */
};

/** A message in place of a header, and who gets it. */
struct notice {
    struct packet_header header;
    void *request; /* null: none is under way */
    uint32_t peer;
};

/** That this rank waits, on the channels of keys and of gradients; and that it gave up, to the ranks that wait for either. */
enum { NOTICE_KEYS, NOTICE_GRADIENTS, NOTICE_GIVEN_UP, GIVEN_UP_NOTICES = 3, NOTICES = NOTICE_GIVEN_UP + GIVEN_UP_NOTICES };

/** To ranks that this one receives keys, or its own gradients, from, and to those that it sends such to. */
enum { LINE_PREVIOUS, LINE_HOME_SOURCE, LINE_NEXT, LINE_HOME_TARGET, PLAN_LINES };

struct vkring_plan {
    vkring_device *device;
    vkring_comm *comm; /* null: one rank */
    struct problem problem;
    struct layout layout;
    uint32_t steps;     /* of the ring that the mask needs; with 1 nothing travels */
    double *step_pairs; /* [steps], that kernels of forward go through, of one head and batch entry */
    double timeout_seconds;
    double dispatch_seconds; /* how long a piece of work should take at most */
    uint64_t chunk_bytes;
    uint64_t events;                               /* kept of a run */
    struct vkring_tensor key_scales, value_scales; /* with int8_keys, of all runs */

    struct query_walk forward;
    struct program forward_program;
    struct backward backward;            /* of a plan for it */
    struct rows_kernel pack, pack_masks; /* of elements, and of 4 bytes where those have fewer */
    struct segment_kernels segments;     /* with segment ids */
    struct by_head keys_by_head;         /* of the packet that is attended to, if the choice has it */
    struct by_head queries_by_head;      /* of what backward reads of this rank's rows, as well */

    vkring_buffer *state; /* of all query rows, of one pass at a time */
    vkring_buffer *arguments;
    vkring_buffer *query_segments, *key_segments; /* tables of segment ids; of the packet that is attended to */
    struct staging staging;                       /* with several ranks */
    struct compute compute;
    /* here and not in a run, as the network may hold on to them longer */
    struct link send, receive;
    struct link send_gradients, receive_gradients;
    struct notice notices[NOTICES];
    struct comm_line *lines[PLAN_LINES]; /* null: no such peer */
    struct vkring_plan_memory memory;

    struct flight_record record; /* of the last run */
    struct run *run;             /* the one that is under way, or was last */
    bool failed;                 /* a run broke off: the plan can only be destroyed */
    bool quarantined;            /* the network may still touch its slots and the headers in its links: neither is ever freed */
    struct vkring_run_stats stats;
    atomic_uint_fast64_t progress_done, progress_total;
};

/** As the parameter, or its default. */
double plan_timeout_seconds(const struct vkring_plan_params *params);
/** vkring_plan_create on one rank with kernels of a choice (null: as params and the device have it), which nobody has put to the test. */
enum vkring_status plan_create_alone(vkring_device *device, const struct vkring_plan_params *params, const struct kernel_choice *choice,
                                     vkring_plan **out_plan);
/** vkring_plan_create for one sequence, of which all ranks say the same. It has no backward. */
enum vkring_status plan_create_for_sequence(vkring_device *device, vkring_comm *comm, const struct vkring_plan_params *params,
                                            const struct plan_sequence *sequence, vkring_plan **out_plan);
/**
 * What a plan takes on a device that is only described (see vk_buffer_measure): its info and limits decide. dispatch_seconds as of
 * vkring_plan_params.
 */
enum vkring_status plan_measure_described(vkring_device *described, const struct problem *problem, const struct layout *layout,
                                          uint32_t steps, double dispatch_seconds, struct vkring_plan_memory *out_memory);

#endif
