/* SPDX-License-Identifier: MIT */
/** Moving packets between neighbours: each packet in chunks, closed by a header that proves it. Starts, then advances when polled; never
 * waits. */
#ifndef VKRING_RING_LINK_H
#define VKRING_RING_LINK_H

#include "../comm/comm.h"
#include "flight_record.h"
#include "packet.h"

/** The most chunks that are under way at a time, in each direction. */
#define LINK_WINDOW 64u

/** What a link moves, and where to. */
enum link_kind { LINK_SENDS, LINK_RECEIVES, LINK_SENDS_GRADIENTS, LINK_RECEIVES_GRADIENTS };

/** One direction of the ring. */
struct link {
    vkring_comm *comm;
    uint32_t peer; /* may change between packets */
    bool sends;
    enum vkring_event_kind event;
    struct flight_record *record;
    enum comm_tag chunk_tag, header_tag;
    uint64_t chunk_bytes;

    bool active;
    struct packet_identity identity;
    struct packet_memory memory;
    uint64_t ready_bytes;              /* that may be sent, of the parts, one after another; all unless the caller says less */
    uint64_t posted_bytes, done_bytes; /* of the same */
    void *requests[LINK_WINDOW];       /* a queue from oldest on */
    uint64_t request_bytes[LINK_WINDOW];
    double request_seconds[LINK_WINDOW];   /* when it was posted */
    double started_seconds, moved_seconds; /* of the packet; of the last message that was done */
    double flow_seconds;                   /* when the packet's first chunk was done */
    uint64_t event_bytes;                  /* of chunks that are done and not on record yet: several are one event */
    double event_begin;
    uint32_t oldest, pending;
    uint32_t crc;
    bool crc_known; /* a packet that is passed on was checked when it came */
    struct packet_header header;
    void *header_request;
    /* of one that receives: a header is waited for while packets are due, active or not, for what else may come in its place */
    uint32_t due;
    bool header_came;
    uint64_t header_bytes;
    struct packet_wait peer_wait;    /* what the peer said last of what it waits for */
    double peer_told;                /* when, by clock_seconds; 0 if never */
    enum vkring_status given_up_for; /* why a rank gave up, once the peer said that one did */
    uint64_t total_bytes;            /* moved since link_init */
};

/** record is borrowed: it gets all messages. */
void link_init(struct link *link, vkring_comm *comm, uint32_t peer, enum link_kind kind, uint64_t chunk_bytes,
               struct flight_record *record);

/** Memory is borrowed until the link is no longer active. crc: of a packet that came over a link; null to compute it while sending. */
void link_start(struct link *link, const struct packet_identity *identity, struct packet_memory memory, const uint32_t *crc);

/** Takes note of what the peer waits for. */
void link_hear(struct link *link, const struct packet_wait *wait);
/** Whether the peer said, no longer ago than so, that it waits itself. */
bool link_has_word(const struct link *link, double seconds);
/**
 * Whether it cannot begin to send the packet for that, or cannot take it. Of two ranks that wait for each other to send and to take it, the
 * one that lacks it names the other.
 */
bool link_is_excused(const struct link *link, double seconds);

/** Posts and completes what can be. VKRING_ERROR_PEER also where the peer says that it, or another rank, gave up. out_progress is set to
 * true when something moved, and left alone otherwise. */
enum vkring_status link_poll(struct link *link, bool *out_progress);

/** Puts the packet on record that is under way, if one is. */
void link_record_pending(const struct link *link);

/** Gives up what is pending. Memory may still be read or written until the communicator is destroyed. Returns whether anything was pending.
 */
bool link_abandon(struct link *link);

#endif
