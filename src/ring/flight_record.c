/* SPDX-License-Identifier: MIT */
#include "flight_record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum vkring_status flight_record_create(uint64_t capacity, struct flight_record *out_record)
{
    struct flight_record record = {.capacity = capacity};
    record.events = calloc(capacity, sizeof(*record.events));
    if (!record.events)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for %" PRIu64 " events", capacity);
    *out_record = record;
    return VKRING_OK;
}

void flight_record_destroy(struct flight_record *record)
{
    free(record->events);
    *record = (struct flight_record){0};
}

void flight_record_clear(struct flight_record *record)
{
    record->count = 0;
}

void flight_record_add(struct flight_record *record, const struct vkring_event *event)
{
    record->events[record->count++ % record->capacity] = *event;
}

const struct vkring_event *flight_record_last(const struct flight_record *record)
{
    for (uint64_t i = flight_record_kept(record); i-- > 0;)
        if (flight_record_at(record, i)->finished)
            return flight_record_at(record, i);
    return NULL;
}

const char *vkring_event_kind_string(enum vkring_event_kind kind)
{
    switch (kind) {
    case VKRING_EVENT_FORWARD:
        return "forward";
    case VKRING_EVENT_ROW_STATS:
        return "row statistics";
    case VKRING_EVENT_QUERY_GRADIENT:
        return "query gradient";
    case VKRING_EVENT_KEY_GRADIENT:
        return "key gradient";
    case VKRING_EVENT_BIAS_GRADIENT:
        return "bias gradient";
    case VKRING_EVENT_SINK_GRADIENT:
        return "sink gradient";
    case VKRING_EVENT_SUM:
        return "sum";
    case VKRING_EVENT_PACK:
        return "pack";
    case VKRING_EVENT_APPLICATION:
        return "application";
    case VKRING_EVENT_READBACK:
        return "readback";
    case VKRING_EVENT_UPLOAD:
        return "upload";
    case VKRING_EVENT_SEND:
        return "send";
    case VKRING_EVENT_RECEIVE:
        return "receive";
    case VKRING_EVENT_SEND_GRADIENTS:
        return "send of gradients";
    case VKRING_EVENT_RECEIVE_GRADIENTS:
        return "receive of gradients";
    case VKRING_EVENT_GATHER:
        return "gather";
    case VKRING_EVENT_WAIT:
        return "wait";
    }
    return "unknown event";
}

static bool is_sent(enum vkring_event_kind kind)
{
    return kind == VKRING_EVENT_SEND || kind == VKRING_EVENT_SEND_GRADIENTS;
}

void flight_record_describe(const struct vkring_event *event, double begin_seconds, char *text, size_t size)
{
    char peer[40] = "", bytes[40] = "";
    if (event->peer != VKRING_NONE)
        snprintf(peer, sizeof(peer), " %s rank %" PRIu32, is_sent(event->kind) ? "to" : "from", event->peer);
    if (event->bytes > 0)
        snprintf(bytes, sizeof(bytes), ", %" PRIu64 " bytes", event->bytes);
    snprintf(text, size, "step %" PRIu32 ", %s%s%s, %.6f %s %.6f s", event->step, vkring_event_kind_string(event->kind), peer, bytes,
             event->begin_seconds - begin_seconds, event->finished ? "to" : "and still under way at", event->end_seconds - begin_seconds);
}
