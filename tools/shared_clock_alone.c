/* SPDX-License-Identifier: MIT */
/* A build without MPI: one rank. */
#include "shared_clock.h"

void shared_clock_measure(struct ranks *ranks, struct shared_clock *out_clock)
{
    (void)ranks;
    *out_clock = (struct shared_clock){0};
}
