/* SPDX-License-Identifier: MIT */
/** What of a ring is needed under a mask. Pure arithmetic on positions: what segment ids or a bias mask besides is not known when ranks
 * agree. */
#ifndef VKRING_RING_SCHEDULE_H
#define VKRING_RING_SCHEDULE_H

#include "../attention/kernel_choice.h"
#include "layout.h"

/** Whether a rank's queries keep any key of the packet it meets at a step; of causal blocks, whether they may. */
bool schedule_keeps_any(const struct problem *problem, const struct layout *layout, uint32_t rank, uint32_t step);

/**
 * How many steps it takes until no rank keeps a key of any later packet, the own one being the first: 1 … ranks. The same on every rank.
 * VKRING_ERROR_OUT_OF_HOST_MEMORY: there is none for a list of the ranks' keys.
 */
enum vkring_status schedule_steps(const struct problem *problem, const struct layout *layout, uint32_t *out_steps);

/**
 * What kernels of a choice take, in pairs, for the queries of a rank and the packet that it meets at a step, of one head and batch entry.
 */
double schedule_computed_pairs(const struct problem *problem, const struct layout *layout, const struct kernel_choice *choice,
                               uint32_t rank, uint32_t step);

/**
 * Sums of the gradients of a packet. At step s > 0 a rank adds what its rows give to the packet that it meets, and passes the sum on; it is
 * there for step s + 1. The last of so many steps' goes home, where the owner's part completes it: there it is that of step `steps`.
 *
 * Whose packet the sum of a step is about; which rank it comes from, of step 2 on; which it goes to, before the last.
 */
uint32_t schedule_gradient_owner(const struct layout *layout, uint32_t rank, uint32_t steps, uint32_t step);
uint32_t schedule_gradient_source(const struct layout *layout, uint32_t rank, uint32_t steps, uint32_t step);
uint32_t schedule_gradient_target(const struct layout *layout, uint32_t rank, uint32_t steps, uint32_t step);

#endif
