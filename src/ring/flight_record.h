/* SPDX-License-Identifier: MIT */
/** What a run did, as intervals of time, of which the latest are kept: for errors, for the log, and for vkring_plan_get_events. */
#ifndef VKRING_RING_FLIGHT_RECORD_H
#define VKRING_RING_FLIGHT_RECORD_H

#include "../base/status.h"

struct flight_record {
    struct vkring_event *events; /* event i is at i % capacity */
    uint64_t capacity;
    uint64_t count; /* since the run began */
};

/** Room for so many: at least one. */
enum vkring_status flight_record_create(uint64_t capacity, struct flight_record *out_record);
/** Accepts one that was not created. */
void flight_record_destroy(struct flight_record *record);

/** Forgets all. */
void flight_record_clear(struct flight_record *record);
/** In the place of the oldest, if there is no room. */
void flight_record_add(struct flight_record *record, const struct vkring_event *event);

static inline uint64_t flight_record_kept(const struct flight_record *record)
{
    return record->count < record->capacity ? record->count : record->capacity;
}

/** Those that are kept, the oldest being 0. */
static inline const struct vkring_event *flight_record_at(const struct flight_record *record, uint64_t i)
{
    return &record->events[(record->count - flight_record_kept(record) + i) % record->capacity];
}

/** The latest that is finished; null if there is none. */
const struct vkring_event *flight_record_last(const struct flight_record *record);

/** One line, without a full stop: what, step, peer, bytes, and when, in seconds after begin_seconds. */
void flight_record_describe(const struct vkring_event *event, double begin_seconds, char *text, size_t size);

#endif
