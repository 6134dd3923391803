/* SPDX-License-Identifier: MIT */
/** What proves that a packet is the right one, whole and undamaged. Pure: no device, no communicator. */
#ifndef VKRING_RING_PACKET_H
#define VKRING_RING_PACKET_H

#include "../base/status.h"

/** The parts of a packet: keys of a rank, its values, part of a bias, segment ids, scales of keys and of values; of none: empty. */
#define PACKET_PARTS 6

/** The parts of a packet in host memory. */
struct packet_memory {
    char *parts[PACKET_PARTS];
};

/** What a packet is. */
struct packet_identity {
    uint64_t call;   /**< which run over the communicator, counted from 0 */
    uint32_t step;   /**< the ring step at which it arrives */
    uint32_t origin; /**< the rank whose keys and values it holds */
    uint64_t part_bytes[PACKET_PARTS];
    uint64_t seed; /**< of the run's dropout */
};

static inline uint64_t packet_payload_bytes(const struct packet_identity *identity)
{
    uint64_t bytes = 0;
    for (int part = 0; part < PACKET_PARTS; part++)
        bytes += identity->part_bytes[part];
    return bytes;
}

/**
 * The message that closes a packet. It follows the chunks, because only then is their checksum known without reading them twice.
 * Sent as it lies in memory: a machine of the other byte order is refused by its magic. No padding.
 */
struct packet_header {
    uint32_t magic;
    uint32_t version;
    struct packet_identity identity;
    uint32_t payload_crc; /**< crc32c of all chunks, in order */
    uint32_t header_crc;  /**< crc32c of the fields above */
};

void packet_header_make(const struct packet_identity *identity, uint32_t payload_crc, struct packet_header *out_header);

/** What a rank sends where a header is due, when it has none to send. */
enum packet_notice {
    PACKET_NO_NOTICE, /**< a header, or nothing that can be trusted */
    PACKET_WAITING,   /**< it waits itself: see packet_wait */
    PACKET_GIVEN_UP   /**< it sends no more: rank identity.origin failed at identity.step, with a status */
};

/** What a rank that waits says of itself, to one that it has to send to or to receive from. */
struct packet_wait {
    uint64_t call;          /**< the run it is in */
    uint64_t microseconds;  /**< how long it has waited */
    uint32_t step;          /**< of the packet that it begins to send there, or has from there, next; VKRING_NONE: none in that run */
    uint32_t gradient_step; /**< the same of gradients, where one word is about both */
    uint32_t waits_for;     /**< the rank that holds it up, as far as it knows: one that is silent, or its own with a busy device */
};

void packet_waiting_make(const struct packet_wait *wait, struct packet_header *out_header);
/** Of PACKET_WAITING. */
struct packet_wait packet_wait_of(const struct packet_header *header);
void packet_given_up_make(enum vkring_status reason, uint32_t rank, uint32_t step, struct packet_header *out_header);
/** Which notice came in received_bytes, if it is whole. */
enum packet_notice packet_notice_of(const struct packet_header *header, uint64_t received_bytes);
/** Of PACKET_GIVEN_UP: VKRING_ERROR_PEER, naming the rank that failed; sender is who says so. */
enum vkring_status packet_given_up_fail(const struct packet_header *header, uint32_t sender);
/** The status with which that rank failed. */
enum vkring_status packet_given_up_reason(const struct packet_header *header);

/**
 * Compares a header of received_bytes from rank sender with what must come now; payload_crc is of the bytes that came.
 * VKRING_ERROR_PEER: the last error names sender, step, the field, and both values.
 */
enum vkring_status packet_header_check(const struct packet_header *header, uint64_t received_bytes, const struct packet_identity *expected,
                                       uint32_t payload_crc, uint32_t sender);

#endif
