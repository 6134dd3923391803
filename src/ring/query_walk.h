/* SPDX-License-Identifier: MIT */
/** A kernel whose lanes own the rank's query rows: how these are cut, and which keys they meet at which step. */
#ifndef VKRING_RING_QUERY_WALK_H
#define VKRING_RING_QUERY_WALK_H

#include "../attention/kernel.h"
#include "layout.h"

/** A span of the keys of a packet: step times the spans of a rank's keys, and the span. */
typedef uint64_t step_span;

/** When a box of query rows meets keys that it keeps. */
struct box_steps {
    step_span first, last; /* 0 and 0 where there is none: it is then written at step 0 from no keys */
};

/** A box of rows of the rank's tensors, all of one span. */
struct query_box {
    struct tiling_box rows;
    uint32_t span;
};

struct query_walk {
    enum spirv_kernel which;
    struct kernel_choice choice;
    struct attention_kernel kernel;
    struct attention_kernel merge;       /* of splits, where there are any */
    struct tiling tilings[LAYOUT_SPANS]; /* of the query rows of each span */
    uint64_t boxes;                      /* of all */
    uint64_t block_keys;                 /* the most of one dispatch */
    bool splits;                         /* some boxes split their keys over workgroups */
    struct box_steps *box_steps;         /* [boxes] */
};

/** with_keys: it walks over keys. */
void query_walk_tile(struct query_walk *walk, const vkring_device *device, enum spirv_kernel which, const struct problem *problem,
                     const struct layout *layout, const struct kernel_choice *choice, bool with_keys, double dispatch_seconds);
/** The state of all boxes, once it is tiled; 0 where every row meets all its keys in one block. */
uint64_t query_walk_state_bytes(const struct query_walk *walk, const struct problem *problem, const struct layout *layout);
/** Finds what each box meets in so many steps, once it is tiled. Of what there is of a walk without a device. */
enum vkring_status query_walk_find_steps(struct query_walk *walk, const struct problem *problem, const struct layout *layout,
                                         uint32_t steps);
/** Compiles, and finds what each box meets in so many steps, once it is tiled. */
enum vkring_status query_walk_create(struct query_walk *walk, vkring_device *device, const struct problem *problem,
                                     const struct layout *layout, uint32_t steps);
/** Compiles what tensors of an alignment need. */
enum vkring_status query_walk_prepare(struct query_walk *walk, vkring_device *device, const struct problem *problem,
                                      enum alignment alignment);
/** Accepts one that was not created. */
void query_walk_destroy(struct query_walk *walk, vkring_device *device);

struct query_box query_walk_box(const struct query_walk *walk, const struct layout *layout, uint64_t index);
/** Which keys of one span of the packet of `origin` any row of the box keeps by position: rows of the packet; of none end is 0. */
struct mask_range query_box_kept_keys(const struct query_box *box, const struct problem *problem, const struct layout *layout,
                                      uint32_t origin, uint32_t key_span);

#endif
