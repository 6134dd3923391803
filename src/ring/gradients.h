/* SPDX-License-Identifier: MIT */
/**
 * Where gradients of keys and values meet: what this rank's rows give to those of a packet, in f32, and two slots in host memory for what
 * comes round the ring. One is added to while the other is sent. Kernels read and write slots where they are: each byte moves once each
 * way.
 */
#ifndef VKRING_RING_GRADIENTS_H
#define VKRING_RING_GRADIENTS_H

#include "../attention/rows.h"
#include "layout.h"
#include "packet_shape.h"

#define GRADIENT_SLOTS 2u

struct gradients {
    vkring_device *device;
    const struct problem *problem;
    bool travel;                          /* with several ranks; else only those of a bias are summed here */
    vkring_buffer *partial;               /* of this rank's rows, for the packet at hand */
    vkring_buffer *own_partial;           /* the same for the own keys; null: as for any packet */
    vkring_buffer *slots[GRADIENT_SLOTS]; /* null if nothing travels */
    struct rows_kernel add_f32, add;      /* to f32, and to the type; the latter not for f32 */
};

/** What gradients are kept in f32, as parts of a packet, for a number of keys. bytes is 0 where there is none. */
struct packet_shape gradient_shape_of(const struct problem *problem, bool travel, uint64_t keys);

/** Those that come to the layout's rank at a step of so many (schedule.h). */
struct packet_shape gradient_shape_at(const struct problem *problem, const struct layout *layout, uint32_t steps, uint32_t step);

/** Whose gradients they are. */
struct gradients_params {
    bool travel;
    uint64_t most_keys;      /* of any packet */
    uint64_t own_keys_apart; /* the own keys, if their partial gradients are kept while packets come; else 0 */
};

enum vkring_status gradients_measure(vkring_device *device, const struct problem *problem, const struct gradients_params *params,
                                     struct vkring_plan_memory *memory);
/** problem is borrowed. */
enum vkring_status gradients_create(vkring_device *device, const struct problem *problem, const struct gradients_params *params,
                                    struct gradients *out_gradients);
/** The network may still touch the slots: their memory is never freed. */
void gradients_quarantine(struct gradients *gradients);
/** Accepts one that was not created. Nothing may be in flight. */
void gradients_destroy(struct gradients *gradients);

/** Where the network finds a packet. */
struct packet_memory gradients_memory(const struct gradients *gradients, uint32_t slot, const struct packet_shape *shape);
/** Points the views of gradients at the partial ones, of the own keys or of a packet; views of those that are not kept stay. */
void gradients_place(const struct gradients *gradients, const struct packet_shape *shape, bool own, struct key_tensors *keys);

/** What is added: what is not there counts as zeros. */
struct gradient_sum {
    bool has_partial, has_slot;
    bool own; /* the partial ones are those of the own keys */
    uint32_t slot;
};

/** Records slot = partial + slot. */
void gradients_record_add(const struct gradients *gradients, const struct vk_commands *commands, const struct packet_shape *shape,
                          const struct gradient_sum *sum);
/** Records partial + slot, to the gradients of keys that are wanted. */
void gradients_record_home(const struct gradients *gradients, const struct vk_commands *commands, const struct packet_shape *shape,
                           const struct gradient_sum *sum, struct key_tensors *keys);
/** The kernel that adds to elements of a type, which is that of the problem or f32. */
const struct rows_kernel *gradients_adder(const struct gradients *gradients, enum vkring_type type);

#endif
