/* SPDX-License-Identifier: MIT */
/**
 * Two slots for packets: one is attended to and passed on while the next arrives in the other.
 *
 * Where memory is unified a slot is one buffer that the network, the host and kernels use alike. Elsewhere it is a pinned host buffer,
 * which the network uses, and a device buffer, to which each packet is uploaded once.
 */
#ifndef VKRING_RING_STAGING_H
#define VKRING_RING_STAGING_H

#include "packet_shape.h"
#include "transfers.h"

#define STAGING_SLOTS 2u

struct staging {
    vkring_device *device;
    const struct problem *problem;
    bool unified;
    vkring_buffer *host[STAGING_SLOTS];
    vkring_buffer *on_device[STAGING_SLOTS]; /* null where unified */
    struct transfers transfers;
    uint64_t passed_bytes[STAGING_SLOTS]; /* of the slot: visible to the device or, where memory is not unified, on their way to it */
    uint64_t upload_value[STAGING_SLOTS]; /* of the transfers' timeline, when those are on the device; 0 for none */
};

/** What slots for packets of at most most_rows take. */
enum vkring_status staging_measure(vkring_device *device, const struct problem *problem, uint64_t most_rows,
                                   struct vkring_plan_memory *memory);
/** problem and record are borrowed; the latter gets all transfers. */
enum vkring_status staging_create(vkring_device *device, const struct problem *problem, uint64_t most_rows, struct flight_record *record,
                                  struct staging *out_staging);
/** As vk_timeline_settle, of all transfers. Accepts one that was not created. */
bool staging_settle(const struct staging *staging, double seconds);
/** The network may still touch the slots: their memory is never freed. */
void staging_quarantine(struct staging *staging);
/** Accepts one that was not created. Nothing may be in flight. */
void staging_destroy(struct staging *staging);

/** Where the network finds a packet. */
struct packet_memory staging_memory(const struct staging *staging, uint32_t slot, const struct packet_shape *shape);
/** Where kernels find it. */
struct key_tensors staging_keys(const struct staging *staging, uint32_t slot, const struct packet_shape *shape, uint64_t key_row);

/** How much of a packet is worth a transfer of its own. */
uint64_t staging_piece_bytes(const struct packet_shape *shape, uint64_t chunk_bytes);
/** A packet begins to arrive in the slot's host memory. */
void staging_expect(struct staging *staging, uint32_t slot);
/**
 * So many bytes of its parts, one after another, have arrived: makes them visible to the device or, where memory is not unified, starts
 * uploads, if what is new is worth it or the last. Kernels must be done with the packet before it. out_passed: nothing is left to start.
 */
enum vkring_status staging_arrived(struct staging *staging, uint32_t slot, const struct packet_shape *shape, uint32_t step,
                                   uint64_t arrived_bytes, uint64_t piece_bytes, bool *out_passed);
/** Whether the packet that arrived last in the slot is where kernels find it. */
enum vkring_status staging_uploaded(struct staging *staging, uint32_t slot, bool *out_uploaded);
/** What kernels that read it wait for; a null semaphore where memory is unified. */
struct vk_semaphore_value staging_wait(const struct staging *staging, uint32_t slot);

#endif
