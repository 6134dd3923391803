/* SPDX-License-Identifier: MIT */
/** Timing something that is done again and again. */
#ifndef VKRING_BENCH_TIMING_H
#define VKRING_BENCH_TIMING_H

#include "../tools/failure.h"

struct bench_timing {
    double median, least; /* seconds */
};

/** Once without the clock, then `repeats` times with it, at most BENCH_REPEATS_MAX. */
bool bench_time(bool (*act)(void *context, struct failure *failure), void *context, uint32_t repeats, struct bench_timing *out_timing,
                struct failure *failure);

#endif
