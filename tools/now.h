/* SPDX-License-Identifier: MIT */
#ifndef VKRING_TOOLS_NOW_H
#define VKRING_TOOLS_NOW_H

#include <time.h>

/** Seconds since some fixed moment. */
static inline double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline void sleep_seconds(double seconds)
{
    struct timespec span = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&span, NULL);
}

#endif
