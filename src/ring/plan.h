/* SPDX-License-Identifier: MIT */
/** What a plan holds: everything resolved, allocated, compiled and agreed, so that a run only submits, exchanges and waits. */
#ifndef VKRING_RING_PLAN_H
#define VKRING_RING_PLAN_H

#include "../attention/kernel.h"
#include "../attention/mask.h"
#include "../attention/pack.h"
#include "../attention/segments.h"
#include "backward.h"
#include "compute.h"
#include "layout.h"
#include "link.h"
#include "staging.h"

/** A span of the keys of a packet: step · LAYOUT_SPANS + span. */
typedef uint64_t step_span;

/** When a box of query rows meets keys that it keeps. */
struct box_steps {
    step_span first, last; /* 0 and 0 where there is none: it is then written at step 0 from no keys */
};

/** A box of rows of the rank's tensors, all of one span. */
struct plan_box {
    struct tiling_box rows;
    uint32_t span;
};

struct vkring_plan {
    vkring_device *device;
    vkring_comm *comm; /* null: one rank */
    struct problem problem;
    struct layout layout;
    uint32_t steps; /* of the ring that the mask needs; with 1 nothing travels */
    double timeout_seconds;
    double dispatch_seconds; /* how long a piece of work should take at most */
    uint64_t chunk_bytes;

    struct attention_kernel kernel;
    struct pack_kernel pack, pack_masks; /* of elements, and of 4 bytes where those have fewer */
    struct segment_kernels segments;     /* with segment ids */
    struct tiling tilings[LAYOUT_SPANS]; /* of the query rows of each span */
    uint64_t boxes;                      /* of all */
    uint64_t block_keys;                 /* the most of one dispatch */
    struct backward backward;            /* of a plan for it */
    struct box_steps *box_steps;         /* [boxes] */

    vkring_buffer *state; /* empty where every row meets all its keys in one block */
    vkring_buffer *arguments;
    vkring_buffer *query_segments, *key_segments; /* tables of segment ids; of the packet that is attended to */
    struct staging staging;                       /* with several ranks */
    struct compute compute;
    struct link send, receive; /* here and not in a run, as the network may hold on to them longer */
    struct vkring_plan_memory memory;

    uint64_t calls;
    bool failed;      /* a run broke off: the plan can only be destroyed */
    bool quarantined; /* the network may still touch its slots and the headers in its links: neither is ever freed */
    struct vkring_run_stats stats;
    atomic_uint_fast64_t progress_done, progress_total;
};

struct plan_box plan_box_at(const struct vkring_plan *plan, uint64_t index);

/** Which keys of one span of the packet of `origin` any row of the box keeps by position: rows of the packet; of none end is 0. */
struct mask_range plan_kept_keys(const struct vkring_plan *plan, const struct plan_box *box, uint32_t origin, uint32_t key_span);

#endif
