/* SPDX-License-Identifier: MIT */
/** How packets lie in memory. Pure arithmetic. */
#ifndef VKRING_RING_PACKET_SHAPE_H
#define VKRING_RING_PACKET_SHAPE_H

#include "../attention/tensors.h"
#include "packet.h"

_Static_assert((int)KEY_PARTS == PACKET_PARTS, "a packet has the parts that kernels read");

/** How a packet of a number of key rows lies in a slot: part after part, each packed. */
struct packet_shape {
    uint64_t rows;
    uint64_t part_bytes[PACKET_PARTS];
    uint64_t part_offset[PACKET_PARTS]; /* aligned for kernels */
    uint64_t bytes;
};

/** Of no batch entries nothing travels, a bias that all share neither. */
struct packet_shape packet_shape_of(const struct problem *problem, uint64_t rows);
/** Bytes of its parts. */
uint64_t packet_shape_payload(const struct packet_shape *shape);
/** Where in a slot so many bytes of its parts, one after another, end. */
uint64_t packet_shape_end(const struct packet_shape *shape, uint64_t payload_bytes);
/** Puts a part behind those that are there. */
void packet_shape_add(struct packet_shape *shape, int part, const struct tensor_shape *tensor);
/** Where parts lie in memory that begins at first. */
struct packet_memory packet_shape_memory(const struct packet_shape *shape, void *first);

#endif
