/* SPDX-License-Identifier: MIT */
/** Clocks of different hosts, seen as one: that of rank 0. */
#ifndef VKRING_TOOLS_SHARED_CLOCK_H
#define VKRING_TOOLS_SHARED_CLOCK_H

#include "ranks.h"

struct shared_clock {
    double offset_seconds;      /**< now_seconds() of this rank plus this is that of rank 0 */
    double uncertainty_seconds; /**< at most so far off; infinite where rank 0 did not answer */
};

/**
 * Asks rank 0 for the time, often, and believes the answer that came the fastest: it was given in the middle of the round trip, give or
 * take half of that (Cristian 1989). Collective; waits no longer than ranks->timeout_seconds for a rank, and leaves it to others to say who
 * was silent.
 */
void shared_clock_measure(struct ranks *ranks, struct shared_clock *out_clock);

#endif
