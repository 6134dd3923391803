/* SPDX-License-Identifier: MIT */
/**
 * Two slots for packets: one is attended to and passed on while the next arrives in the other.
 *
 * Where memory is unified a slot is one buffer that the network, the host and kernels use alike. Elsewhere it is a pinned host buffer,
 * which the network uses, and a device buffer, to which each packet is uploaded once.
 */
#ifndef VKRING_RING_STAGING_H
#define VKRING_RING_STAGING_H

#include "../attention/tensors.h"
#include "../vk/timeline.h"
#include "layout.h"
#include "link.h"

#define STAGING_SLOTS 2u

struct staging {
    vkring_device *device;
    const struct problem *problem;
    bool unified;
    vkring_buffer *host[STAGING_SLOTS];
    vkring_buffer *on_device[STAGING_SLOTS]; /* null where unified */
    struct vk_command_pool pool;             /* of the transfer queue */
    struct vk_commands upload[STAGING_SLOTS];
    struct vk_timeline uploads;
    uint64_t upload_value[STAGING_SLOTS]; /* of the timeline, when the slot's packet is on the device */
    struct flight_record *record;
    struct vkring_event upload_event[STAGING_SLOTS];
    uint64_t seen_value; /* of the timeline: uploads up to here are on record */
    double seen_seconds;
};

_Static_assert((int)KEY_PARTS == PACKET_PARTS, "a packet has the parts that kernels read");

/** How a packet of a number of key rows lies in a slot: part after part, each packed. */
struct packet_shape {
    uint64_t rows;
    uint64_t part_bytes[PACKET_PARTS];
    uint64_t part_offset[PACKET_PARTS]; /* aligned for kernels */
    uint64_t bytes;
};

struct packet_shape packet_shape_of(const struct problem *problem, uint64_t rows);
/** Puts a part behind those that are there. */
void packet_shape_add(struct packet_shape *shape, int part, const struct tensor_shape *tensor);
/** Where parts lie in memory that begins at first. */
struct packet_memory packet_shape_memory(const struct packet_shape *shape, void *first);

/** What slots for packets of at most most_rows take. */
enum vkring_status staging_measure(vkring_device *device, const struct problem *problem, uint64_t most_rows,
                                   struct vkring_plan_memory *memory);
/** problem and record are borrowed; the latter gets all uploads. */
enum vkring_status staging_create(vkring_device *device, const struct problem *problem, uint64_t most_rows, struct flight_record *record,
                                  struct staging *out_staging);
/** As vk_timeline_settle, of all uploads. Accepts one that was not created. */
bool staging_settle(const struct staging *staging, double seconds);
/** The network may still touch the slots: their memory is never freed. */
void staging_quarantine(struct staging *staging);
/** Accepts one that was not created. Nothing may be in flight. */
void staging_destroy(struct staging *staging);

/** Where the network finds a packet. */
struct packet_memory staging_memory(const struct staging *staging, uint32_t slot, const struct packet_shape *shape);
/** Where kernels find it. */
struct key_tensors staging_keys(const struct staging *staging, uint32_t slot, const struct packet_shape *shape, uint64_t key_row);

/** A packet has arrived in host memory: makes it visible to the device and, where memory is not unified, starts its upload. */
enum vkring_status staging_arrived(struct staging *staging, uint32_t slot, const struct packet_shape *shape, uint32_t step);
/** Puts uploads on record that are done. */
enum vkring_status staging_poll(struct staging *staging);
/** And those that are not. */
void staging_record_pending(const struct staging *staging);
/** Whether the packet that arrived last in the slot is where kernels find it. */
enum vkring_status staging_uploaded(struct staging *staging, uint32_t slot, bool *out_uploaded);
/** What kernels that read it wait for; a null semaphore where memory is unified. */
struct vk_semaphore_value staging_wait(const struct staging *staging, uint32_t slot);

#endif
