/* SPDX-License-Identifier: MIT */
#include "packet.h"

#include <inttypes.h>
#include <isa-l/crc.h>
#include <stddef.h>

#include "../base/checked.h"

#define PACKET_MAGIC UINT32_C(0x474e4952) /* "RING" where the low byte comes first */
#define PACKET_VERSION 2

_Static_assert(sizeof(struct packet_identity) == 56 && sizeof(struct packet_header) == 72, "the header has no padding");

static uint32_t crc_of_fields(const struct packet_header *header)
{
    return packet_crc32c(0, header, offsetof(struct packet_header, header_crc));
}

void packet_header_make(const struct packet_identity *identity, uint32_t payload_crc, struct packet_header *out_header)
{
    out_header->magic = PACKET_MAGIC;
    out_header->version = PACKET_VERSION;
    out_header->identity = *identity;
    out_header->payload_crc = payload_crc;
    out_header->header_crc = crc_of_fields(out_header);
}

/* Whether the header arrived as its sender made it. */
static enum vkring_status check_envelope(const struct packet_header *header, uint64_t received_bytes, uint32_t sender, uint32_t step)
{
    if (received_bytes != sizeof(*header))
        return status_fail_at(VKRING_ERROR_PEER, sender, step, "rank %" PRIu32 " sent a packet header of %" PRIu64 " bytes, not %zu",
                              sender, received_bytes, sizeof(*header));
    if (header->magic != PACKET_MAGIC)
        return status_fail_at(VKRING_ERROR_PEER, sender, step,
                              "rank %" PRIu32 " sent a packet header with magic 0x%08" PRIx32 ", not 0x%08" PRIx32, sender, header->magic,
                              PACKET_MAGIC);
    if (header->version != PACKET_VERSION)
        return status_fail_at(VKRING_ERROR_PEER, sender, step, "rank %" PRIu32 " sent a packet of version %" PRIu32 ", not %d", sender,
                              header->version, PACKET_VERSION);
    uint32_t crc = crc_of_fields(header);
    if (header->header_crc != crc)
        return status_fail_at(VKRING_ERROR_PEER, sender, step,
                              "rank %" PRIu32 " sent a packet header with CRC 0x%08" PRIx32 " over fields with CRC 0x%08" PRIx32, sender,
                              header->header_crc, crc);
    return VKRING_OK;
}

/* Whether it is the packet that must come now. */
static enum vkring_status check_identity(const struct packet_identity *got, const struct packet_identity *expected, uint32_t sender)
{
    const struct {
        const char *field;
        uint64_t got;
        uint64_t expected;
    } pairs[] = {
        {"call", got->call, expected->call},
        {"step", got->step, expected->step},
        {"origin", got->origin, expected->origin},
        {"key_bytes", got->part_bytes[0], expected->part_bytes[0]},
        {"value_bytes", got->part_bytes[1], expected->part_bytes[1]},
        {"bias_bytes", got->part_bytes[2], expected->part_bytes[2]},
        {"segment_bytes", got->part_bytes[3], expected->part_bytes[3]},
        {"seed", got->seed, expected->seed},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (pairs[i].got != pairs[i].expected)
            return status_fail_at(VKRING_ERROR_PEER, sender, expected->step,
                                  "rank %" PRIu32 " sent a packet with %s %" PRIu64 ", not %" PRIu64, sender, pairs[i].field, pairs[i].got,
                                  pairs[i].expected);
    }
    return VKRING_OK;
}

enum vkring_status packet_header_check(const struct packet_header *header, uint64_t received_bytes, const struct packet_identity *expected,
                                       uint32_t payload_crc, uint32_t sender)
{
    enum vkring_status status;
    TRY(check_envelope(header, received_bytes, sender, expected->step), fail);
    TRY(check_identity(&header->identity, expected, sender), fail);
    if (header->payload_crc != payload_crc)
        return status_fail_at(VKRING_ERROR_PEER, sender, expected->step,
                              "rank %" PRIu32 " sent a packet with payload CRC 0x%08" PRIx32 ", and its bytes arrived with 0x%08" PRIx32,
                              sender, header->payload_crc, payload_crc);
    return VKRING_OK;
fail:
    return status;
}

uint32_t packet_crc32c(uint32_t crc, const void *data, uint64_t bytes)
{
    /* ISA-L takes a length of type int, does not write to its buffer, and leaves both inversions of the CRC to its caller. */
    const uint64_t largest_piece = UINT64_C(1) << 30;
    unsigned char *next = (unsigned char *)data;
    while (bytes > 0) {
        uint64_t piece = min_u64(bytes, largest_piece);
        crc = ~crc32_iscsi(next, (int)piece, ~crc);
        next += piece;
        bytes -= piece;
    }
    return crc;
}
