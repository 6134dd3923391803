/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <sched.h>

#include "../base/clock.h"
#include "comm.h"

/* A message between processes of one host comes within microseconds: a sleep would cost more than the wait. */
#define SPINNING_ROUNDS 50
/* Then let another process of a crowded core run, without giving up more than one turn. */
#define YIELDING_ROUNDS 100

static const double shortest_sleep_seconds = 5e-6;
static const double longest_sleep_seconds = 2e-4;

double comm_backoff_next(struct comm_backoff *backoff)
{
    uint32_t round = backoff->idle_rounds;
    if (round < UINT32_MAX)
        backoff->idle_rounds++;
    if (round < SPINNING_ROUNDS)
        return 0;
    if (round < YIELDING_ROUNDS) {
        sched_yield();
        return 0;
    }
    return fmin(shortest_sleep_seconds * (round - YIELDING_ROUNDS + 1), longest_sleep_seconds);
}

void comm_backoff_pause(struct comm_backoff *backoff)
{
    clock_sleep(comm_backoff_next(backoff));
}
