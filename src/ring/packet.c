/* SPDX-License-Identifier: MIT */
#include "packet.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "../base/crc32c.h"

#define PACKET_MAGIC UINT32_C(0x474e4952)   /* "RING" where the low byte comes first */
#define WAITING_MAGIC UINT32_C(0x54494157)  /* "WAIT" */
#define GIVEN_UP_MAGIC UINT32_C(0x454e4f47) /* "GONE" */
#define PACKET_VERSION 5

_Static_assert(sizeof(struct packet_identity) == 72 && sizeof(struct packet_header) == 88, "the header has no padding");

static uint32_t crc_of_fields(const struct packet_header *header)
{
    return crc32c(0, header, offsetof(struct packet_header, header_crc));
}

static void make(uint32_t magic, const struct packet_identity *identity, uint32_t payload_crc, struct packet_header *out_header)
{
    out_header->magic = magic;
    out_header->version = PACKET_VERSION;
    out_header->identity = *identity;
    out_header->payload_crc = payload_crc;
    out_header->header_crc = crc_of_fields(out_header);
}

void packet_header_make(const struct packet_identity *identity, uint32_t payload_crc, struct packet_header *out_header)
{
    make(PACKET_MAGIC, identity, payload_crc, out_header);
}

void packet_waiting_make(const struct packet_wait *wait, struct packet_header *out_header)
{
    const struct packet_identity identity = {
        .call = wait->call, .step = wait->step, .origin = wait->waits_for, .part_bytes = {wait->microseconds, wait->gradient_step}};
    make(WAITING_MAGIC, &identity, 0, out_header);
}

struct packet_wait packet_wait_of(const struct packet_header *header)
{
    const struct packet_identity *identity = &header->identity;
    return (struct packet_wait){.call = identity->call,
                                .microseconds = identity->part_bytes[0],
                                .step = identity->step,
                                .gradient_step = (uint32_t)identity->part_bytes[1],
                                .waits_for = identity->origin};
}

/* The reason travels where a header has the CRC of its payload. */
void packet_given_up_make(enum vkring_status reason, uint32_t rank, uint32_t step, struct packet_header *out_header)
{
    const struct packet_identity identity = {.step = step, .origin = rank};
    make(GIVEN_UP_MAGIC, &identity, (uint32_t)reason, out_header);
}

enum packet_notice packet_notice_of(const struct packet_header *header, uint64_t received_bytes)
{
    if (received_bytes != sizeof(*header) || header->version != PACKET_VERSION || header->header_crc != crc_of_fields(header))
        return PACKET_NO_NOTICE;
    return header->magic == WAITING_MAGIC ? PACKET_WAITING : header->magic == GIVEN_UP_MAGIC ? PACKET_GIVEN_UP : PACKET_NO_NOTICE;
}

enum vkring_status packet_given_up_reason(const struct packet_header *header)
{
    return (enum vkring_status)(int32_t)header->payload_crc;
}

enum vkring_status packet_given_up_fail(const struct packet_header *header, uint32_t sender)
{
    const struct packet_identity *identity = &header->identity;
    const enum vkring_status reason = packet_given_up_reason(header);
    char by[32] = "";
    if (identity->origin != sender)
        snprintf(by, sizeof(by), ", as rank %" PRIu32 " says", sender);
    return status_fail_at(VKRING_ERROR_PEER, identity->origin, identity->step, "rank %" PRIu32 " %s at step %" PRIu32 " (%s)%s",
                          identity->origin, status_deed(reason), identity->step, vkring_status_string(reason), by);
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
        {"key_scale_bytes", got->part_bytes[4], expected->part_bytes[4]},
        {"value_scale_bytes", got->part_bytes[5], expected->part_bytes[5]},
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
