/* SPDX-License-Identifier: MIT */
#include "link.h"

#include <math.h>
#include <string.h>

#include "../base/checked.h"
#include "../base/clock.h"
#include "../base/crc32c.h"

/*
 * As many bytes are under way as the link moves in the time in which nobody may look: more would stand before the answers to messages the
 * other way, and of the other packet, where all share a connection, and each would wait for the others.
 */
#define UNATTENDED_SECONDS 2e-3
#define LEAST_WINDOW 2u
/* What moves at first, into buffers, tells little. */
#define LEAST_FLOW_SECONDS 32e-3

/* Of one event on record. */
#define EVENT_BYTES ((uint64_t)4 << 20)

void link_init(struct link *link, vkring_comm *comm, uint32_t peer, enum link_kind kind, uint64_t chunk_bytes, struct flight_record *record)
{
    static const enum vkring_event_kind events[] = {
        [LINK_SENDS] = VKRING_EVENT_SEND,
        [LINK_RECEIVES] = VKRING_EVENT_RECEIVE,
        [LINK_SENDS_GRADIENTS] = VKRING_EVENT_SEND_GRADIENTS,
        [LINK_RECEIVES_GRADIENTS] = VKRING_EVENT_RECEIVE_GRADIENTS,
    };
    const bool gradients = kind == LINK_SENDS_GRADIENTS || kind == LINK_RECEIVES_GRADIENTS;
    *link = (struct link){
        .comm = comm,
        .peer = peer,
        .sends = kind == LINK_SENDS || kind == LINK_SENDS_GRADIENTS,
        .chunk_tag = gradients ? COMM_TAG_GRADIENT : COMM_TAG_PACKET,
        .header_tag = gradients ? COMM_TAG_GRADIENT_HEADER : COMM_TAG_HEADER,
        .chunk_bytes = chunk_bytes,
        .event = events[kind],
        .record = record,
    };
}

void link_start(struct link *link, const struct packet_identity *identity, struct packet_memory memory, const uint32_t *crc)
{
    link->active = true;
    link->identity = *identity;
    link->memory = memory;
    link->ready_bytes = packet_payload_bytes(identity);
    link->posted_bytes = 0;
    link->done_bytes = 0;
    link->oldest = 0;
    link->pending = 0;
    link->crc = crc ? *crc : 0;
    link->crc_known = crc != NULL;
    link->started_seconds = link->moved_seconds = clock_seconds();
    link->event_bytes = 0;
}

static uint64_t payload_bytes(const struct link *link)
{
    return packet_payload_bytes(&link->identity);
}

/* The chunk at byte `at` of the payload; none spans two parts, so both sides cut alike. */
static char *chunk_at(const struct link *link, uint64_t at, uint64_t *out_bytes)
{
    int part = 0;
    while (at >= link->identity.part_bytes[part])
        at -= link->identity.part_bytes[part++];
    *out_bytes = min_u64(link->chunk_bytes, link->identity.part_bytes[part] - at);
    return link->memory.parts[part] + at;
}

/* The step is this rank's: its peer has a packet one step later. */
static void record_messages(const struct link *link, double begin_seconds, double end_seconds, uint64_t bytes, bool finished)
{
    const struct vkring_event event = {
        .kind = link->event,
        .finished = finished,
        .step = link->identity.step - (link->sends ? 1 : 0),
        .peer = link->peer,
        .bytes = bytes,
        .begin_seconds = begin_seconds,
        .end_seconds = end_seconds,
    };
    flight_record_add(link->record, &event);
}

/* A chunk begins when it was posted, or when the one before it was done. */
static void chunk_done(struct link *link, double posted_seconds, uint64_t bytes)
{
    const double begin = posted_seconds > link->moved_seconds ? posted_seconds : link->moved_seconds;
    if (link->event_bytes == 0)
        link->event_begin = begin;
    link->moved_seconds = clock_seconds();
    if (link->done_bytes == 0)
        link->flow_seconds = link->moved_seconds;
    link->total_bytes += bytes;
    link->done_bytes += bytes;
    link->event_bytes += bytes;
    if (link->event_bytes >= EVENT_BYTES || link->done_bytes == payload_bytes(link)) {
        record_messages(link, link->event_begin, link->moved_seconds, link->event_bytes, true);
        link->event_bytes = 0;
    }
}

static void header_done(struct link *link)
{
    const double now = clock_seconds();
    record_messages(link, link->moved_seconds, now, sizeof(link->header), true);
    link->moved_seconds = now;
    link->total_bytes += sizeof(link->header);
}

void link_record_pending(const struct link *link)
{
    if (link->active)
        record_messages(link, link->started_seconds, clock_seconds(), link->done_bytes, false);
}

static enum vkring_status start_message(struct link *link, void *data, uint64_t bytes, enum comm_tag tag, void **out_request)
{
    return link->sends ? comm_send(link->comm, data, bytes, link->peer, tag, out_request)
                       : comm_receive(link->comm, data, bytes, link->peer, tag, out_request);
}

/* How many chunks may be under way now, by what the link moved since the first of them. */
static uint32_t window(const struct link *link)
{
    const double seconds = fmax(clock_seconds() - link->flow_seconds, LEAST_FLOW_SECONDS);
    const uint64_t bytes = link->done_bytes - min_u64(link->done_bytes, link->chunk_bytes);
    const double chunks = (double)bytes / seconds * UNATTENDED_SECONDS / (double)link->chunk_bytes;
    if (chunks >= LINK_WINDOW)
        return LINK_WINDOW;
    return (uint32_t)max_u64((uint64_t)chunks, LEAST_WINDOW);
}

static enum vkring_status post_chunks(struct link *link)
{
    enum vkring_status status;
    const uint32_t most = window(link);
    while (link->pending < most && link->posted_bytes < payload_bytes(link)) {
        uint32_t slot = (link->oldest + link->pending) % LINK_WINDOW;
        uint64_t bytes;
        char *data = chunk_at(link, link->posted_bytes, &bytes);
        if (bytes > link->ready_bytes - link->posted_bytes)
            return VKRING_OK;
        TRY(start_message(link, data, bytes, link->chunk_tag, &link->requests[slot]), fail);
        link->request_bytes[slot] = bytes;
        link->request_seconds[slot] = clock_seconds();
        link->pending++;
        link->posted_bytes += bytes;
        if (link->sends && !link->crc_known)
            link->crc = crc32c(link->crc, data, bytes);
    }
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status complete_chunks(struct link *link, bool *out_progress)
{
    enum vkring_status status;
    while (link->pending > 0) {
        const uint64_t expected = link->request_bytes[link->oldest];
        uint64_t came = expected, bytes;
        bool done = false;
        TRY(comm_test(link->comm, &link->requests[link->oldest], link->peer, &done, &came), fail);
        if (!done)
            return VKRING_OK;
        if (!link->sends && came != expected)
            return status_fail_at(VKRING_ERROR_PEER, link->peer, link->identity.step,
                                  "rank %u sent %llu bytes of a packet where %llu were due at step %u", link->peer,
                                  (unsigned long long)came, (unsigned long long)expected, link->identity.step);
        if (!link->sends)
            link->crc = crc32c(link->crc, chunk_at(link, link->done_bytes, &bytes), expected);
        chunk_done(link, link->request_seconds[link->oldest], expected);
        link->oldest = (link->oldest + 1) % LINK_WINDOW;
        link->pending--;
        *out_progress = true;
    }
    return VKRING_OK;
fail:
    return status;
}

/* The header, or a notice in its place. */
static enum vkring_status receive_header(struct link *link)
{
    enum vkring_status status;
    uint64_t came = 0;
    bool done = false;
    if (link->due == 0 || link->header_came)
        return VKRING_OK;
    if (!link->header_request)
        TRY(start_message(link, &link->header, sizeof(link->header), link->header_tag, &link->header_request), fail);
    TRY(comm_test(link->comm, &link->header_request, link->peer, &done, &came), fail);
    if (!done)
        return VKRING_OK;
    const enum packet_notice notice = packet_notice_of(&link->header, came);
    if (notice == PACKET_GIVEN_UP) {
        link->given_up_for = packet_given_up_reason(&link->header);
        return packet_given_up_fail(&link->header, link->peer);
    }
    link->header_came = notice == PACKET_NO_NOTICE;
    link->header_bytes = came;
    if (notice == PACKET_WAITING) {
        const struct packet_wait wait = packet_wait_of(&link->header);
        link_hear(link, &wait);
    }
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status send_header(struct link *link, bool *out_sent)
{
    enum vkring_status status;
    uint64_t ignored;
    if (!link->header_request) {
        packet_header_make(&link->identity, link->crc, &link->header);
        TRY(start_message(link, &link->header, sizeof(link->header), link->header_tag, &link->header_request), fail);
    }
    return comm_test(link->comm, &link->header_request, link->peer, out_sent, &ignored);
fail:
    return status;
}

/* The header is the last message, in both directions. */
static enum vkring_status close_packet(struct link *link, bool *out_progress)
{
    enum vkring_status status;
    bool done = link->header_came;
    if (link->sends)
        TRY(send_header(link, &done), fail);
    if (!done)
        return VKRING_OK;
    if (!link->sends) {
        TRY(packet_header_check(&link->header, link->header_bytes, &link->identity, link->crc, link->peer), fail);
        link->header_came = false;
        link->due--;
    }
    header_done(link);
    link->active = false;
    *out_progress = true;
    return VKRING_OK;
fail:
    return status;
}

void link_hear(struct link *link, const struct packet_wait *wait)
{
    link->peer_wait = *wait;
    link->peer_told = clock_seconds();
}

bool link_has_word(const struct link *link, double seconds)
{
    return link->peer_told > 0 && clock_seconds() - link->peer_told <= seconds;
}

/* A message may be sent before its receiver is that far. */
bool link_is_excused(const struct link *link, double seconds)
{
    const struct packet_identity *due = &link->identity;
    const struct packet_wait *wait = &link->peer_wait;
    const bool is_at_step = link->sends ? wait->step <= due->step : wait->step == due->step;
    if (!link_has_word(link, seconds))
        return false;
    return wait->call < due->call || (wait->call == due->call && is_at_step);
}

enum vkring_status link_poll(struct link *link, bool *out_progress)
{
    enum vkring_status status;
    if (!link->sends)
        TRY(receive_header(link), fail);
    if (!link->active)
        return VKRING_OK;
    TRY(post_chunks(link), fail);
    TRY(complete_chunks(link, out_progress), fail);
    TRY(post_chunks(link), fail);
    if (link->done_bytes == payload_bytes(link))
        TRY(close_packet(link, out_progress), fail);
    return VKRING_OK;
fail:
    return status;
}

bool link_abandon(struct link *link)
{
    bool pending = link->pending > 0 || link->header_request;
    while (link->pending > 0) {
        comm_abandon(link->comm, &link->requests[link->oldest]);
        link->oldest = (link->oldest + 1) % LINK_WINDOW;
        link->pending--;
    }
    comm_abandon(link->comm, &link->header_request);
    link->active = false;
    return pending;
}
