/* SPDX-License-Identifier: MIT */
/** Time that only goes forward. */
#ifndef VKRING_BASE_CLOCK_H
#define VKRING_BASE_CLOCK_H

#include <stdint.h>

/** Seconds since some fixed moment. */
double clock_seconds(void);
/** Sleeps about so long. */
void clock_sleep(double seconds);

#endif
