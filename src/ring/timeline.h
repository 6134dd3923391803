/* SPDX-License-Identifier: MIT */
/**
 * When things happen in a run, by arithmetic: the program of each rank, turn by turn, with the rules by which a run waits for packets and
 * slots (run_network.c, run_gradients.c). Pure: no device, no communicator.
 */
#ifndef VKRING_RING_TIMELINE_H
#define VKRING_RING_TIMELINE_H

#include <vkring/simulate.h>

#include "../attention/kernel_choice.h"
#include "layout.h"

/** What is simulated. All is borrowed. */
struct timeline_input {
    const struct problem *problem;
    const struct layout *layout;
    uint32_t steps;
    bool backward;
    const struct vkring_simulated_rank *const *ranks; /* [layout->ranks] */
    const struct kernel_choice *choices;              /* [layout->ranks] */
};

/**
 * Writes times and bytes to results [ranks] and, unless it is null, to turns [program_turns].
 * VKRING_ERROR_OUT_OF_HOST_MEMORY is the only error.
 */
enum vkring_status timeline_run(const struct timeline_input *input, struct vkring_simulated_turn *turns,
                                struct vkring_simulated_result *results);

#endif
