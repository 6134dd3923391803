/* SPDX-License-Identifier: MIT */
/** The device's side of a run: pieces of work recorded one after another, a few of them under way at a time. */
#ifndef VKRING_RING_COMPUTE_H
#define VKRING_RING_COMPUTE_H

#include "../vk/timeline.h"
#include "flight_record.h"

/** Enough to keep the device fed while the host sleeps. */
#define COMPUTE_SLOTS 4u
/** The most dispatches of a piece. */
#define COMPUTE_DISPATCHES 16u

/** What a piece is. */
struct compute_work {
    enum vkring_event_kind kind;
    uint32_t step;
    uint64_t bytes;    /* that it moves */
    double flop;       /* as estimated */
    uint64_t progress; /* what vkring_plan_get_progress says when it is done */
};

struct compute_piece {
    struct vk_commands commands;
    uint64_t value; /* of the timeline, when the piece is done */
    bool timed;
    struct compute_work work;
    double submitted_seconds;
};

struct compute {
    vkring_device *device;
    struct vk_command_pool pool;
    struct vk_queries queries; /* two for each slot */
    struct vk_timeline timeline;
    struct compute_piece pieces[COMPUTE_SLOTS]; /* a queue from oldest on */
    uint32_t oldest, pending;
    uint64_t done_value; /* the timeline was seen at this value */
    uint64_t progress;
    double seconds;                 /* of timed pieces since they were last reset */
    double seen_flop, seen_seconds; /* of all timed pieces ever */
    struct flight_record *record;
    double idle_since, busy_since; /* when the last of the pieces was seen done; when the first after that was submitted */
};

/** record is borrowed: it gets all pieces. */
enum vkring_status compute_create(vkring_device *device, struct flight_record *record, struct compute *out_compute);
/** Nothing may be in flight. Accepts one that was not created. */
void compute_destroy(struct compute *compute);

static inline bool compute_has_room(const struct compute *compute)
{
    return compute->pending < COMPUTE_SLOTS;
}

/** Begins a piece that sees all that earlier ones wrote; needs room. Its slot (0 … COMPUTE_SLOTS - 1) tells which argument slots are free.
 */
enum vkring_status compute_begin(struct compute *compute, bool timed, struct vk_commands *out_commands, uint32_t *out_slot);
/** Submits it. compute->timeline.submitted is its value. */
enum vkring_status compute_submit(struct compute *compute, const struct compute_work *work, const struct vk_semaphore_value *waits,
                                  uint32_t wait_count);
/** What the device does in so many seconds: by the pieces that were timed, or by a guess at FLOP/s before there are any. */
double compute_budget(const struct compute *compute, double seconds, double guess);
/** Collects pieces that are done. out_progress is set to true if there are any. */
enum vkring_status compute_poll(struct compute *compute, bool *out_progress);
/** Puts pieces on record that are not done. */
void compute_record_pending(const struct compute *compute);
/** Waits for all pieces; false when the time is over. */
enum vkring_status compute_drain(struct compute *compute, double seconds, bool *out_drained);

#endif
