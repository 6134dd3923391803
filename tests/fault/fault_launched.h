/* SPDX-License-Identifier: MIT */
/** What a campaign and the ranks that a launcher started share: a file, whose path each rank gets as its argument. */
#ifndef VKRING_TESTS_FAULT_LAUNCHED_H
#define VKRING_TESTS_FAULT_LAUNCHED_H

#include <sys/types.h>

#include "fault_job.h"

struct fault_launched {
    atomic_int processes[WIRE_RANKS]; /* once it is ready for jobs; 0 before */
    atomic_uint turn;                 /* how many jobs there were; the last is in job */
    atomic_bool dismissed;
    struct fault_job job;
};

#endif
