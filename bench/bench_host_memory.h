/* SPDX-License-Identifier: MIT */
/** How fast memory is: what reading a cache is compared with. */
#ifndef VKRING_BENCH_HOST_MEMORY_H
#define VKRING_BENCH_HOST_MEMORY_H

#include "../tools/failure.h"

/** In bytes per second; 0: not known. */
struct bench_host_memory {
    double copy; /* read and written, both counted */
    double read; /* by sums */
};

/** On every core that this process may use at once; the fastest of five. */
bool bench_host_memory(struct bench_host_memory *out_memory, struct failure *failure);

#endif
