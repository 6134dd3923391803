/* SPDX-License-Identifier: MIT */
/** Copies between buffers on the transfer queue, beside kernels: in the order in which they are submitted, a number of them under way at a
 * time. */
#ifndef VKRING_RING_TRANSFERS_H
#define VKRING_RING_TRANSFERS_H

#include "../vk/timeline.h"
#include "flight_record.h"

/** The most that are under way. */
#define TRANSFERS_UNDER_WAY 8u

struct transfer {
    const vkring_buffer *from, *to; /* borrowed until it is done */
    uint64_t from_offset_bytes, to_offset_bytes, bytes;
    enum vkring_event_kind kind; /* on record */
    uint32_t step;
    uint64_t *done_bytes; /* grows by bytes when it is seen done; may be null */
};

struct transfers {
    vkring_device *device;
    struct flight_record *record;
    struct vk_command_pool pool;
    struct vk_timeline timeline;
    struct vk_commands commands[TRANSFERS_UNDER_WAY];
    struct transfer queue[TRANSFERS_UNDER_WAY]; /* from oldest on; each is one value of the timeline */
    double submitted_seconds[TRANSFERS_UNDER_WAY];
    uint32_t oldest, pending;
    double seen_seconds; /* when the last one was seen done */
};

/** record is borrowed: it gets all of them. */
enum vkring_status transfers_create(vkring_device *device, struct flight_record *record, struct transfers *out_transfers);
/** Accepts one that was not created. Nothing may be in flight. */
void transfers_destroy(struct transfers *transfers);

static inline bool transfers_have_room(const struct transfers *transfers)
{
    return transfers->pending < TRANSFERS_UNDER_WAY;
}

/** Needs room. Begins after what `after` says (a null semaphore: at once). transfers->timeline.submitted is its value. */
enum vkring_status transfers_submit(struct transfers *transfers, const struct transfer *transfer, struct vk_semaphore_value after);
/** Collects those that are done. out_progress is set to true if there are any. */
enum vkring_status transfers_poll(struct transfers *transfers, bool *out_progress);
/** Puts those on record that are not done. */
void transfers_record_pending(const struct transfers *transfers);

#endif
