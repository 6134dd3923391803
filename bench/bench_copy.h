/* SPDX-License-Identifier: MIT */
/** How fast memory is: what reading a cache is compared with. */
#ifndef VKRING_BENCH_COPY_H
#define VKRING_BENCH_COPY_H

#include "../tools/failure.h"

/** Bytes read and written, both counted, by a copy on every core that this process may use; the fastest of five. */
bool bench_copy_host(double *out_bytes_per_second, struct failure *failure);

#endif
