/* SPDX-License-Identifier: MIT */
#include "bench_timing.h"

#include <stdlib.h>

#include "../tools/now.h"
#include "bench_options.h"

static int compare_seconds(const void *a, const void *b)
{
    const double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

bool bench_time(bool (*act)(void *context, struct failure *failure), void *context, uint32_t repeats, struct bench_timing *out_timing,
                struct failure *failure)
{
    double seconds[BENCH_REPEATS_MAX];
    if (!act(context, failure))
        return false;
    for (uint32_t i = 0; i < repeats; i++) {
        const double begin = now_seconds();
        if (!act(context, failure))
            return false;
        seconds[i] = now_seconds() - begin;
    }
    qsort(seconds, repeats, sizeof(seconds[0]), compare_seconds);
    *out_timing = (struct bench_timing){seconds[repeats / 2], seconds[0]};
    return true;
}
