/* SPDX-License-Identifier: MIT */
/** How fast a cache is filled and attended to. */
#ifndef VKRING_BENCH_CACHE_H
#define VKRING_BENCH_CACHE_H

#include "bench_measure.h"

/** Measures a few caches on the setting's device, prints a line for each, and with --json writes all of them. */
bool bench_cache(struct bench_setting *setting, struct failure *failure);

#endif
