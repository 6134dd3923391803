/* SPDX-License-Identifier: MIT */
/** The most f32 arithmetic that a device and this host's cores do: what speeds of attention are fractions of. */
#ifndef VKRING_BENCH_PEAK_H
#define VKRING_BENCH_PEAK_H

#include <stdint.h>

#include "../tools/failure.h"

struct bench_peak {
    double device_gflops; /* f32 multiplications with additions in registers, two operations each */
    double host_gflops;   /* the same in this host's vector registers, on all cores together */
    uint32_t host_threads;
};

/** The fastest of ten runs of at least 20 ms, by the wall clock, in a Vulkan device of its own on the device that info describes. */
bool bench_peak_device(const struct vkring_device_info *info, double *out_gflops, struct failure *failure);

/** The fastest of ten runs of at least 20 ms on every core that this process may use. */
bool bench_peak_host(double *out_gflops, uint32_t *out_threads, struct failure *failure);

/** Both. */
bool bench_peak_measure(const struct vkring_device_info *info, struct bench_peak *out_peak, struct failure *failure);

#define BENCH_PEAK_REPEATS 10
#define BENCH_PEAK_LEAST_SECONDS 0.02

/** Seconds that `rounds` rounds take, or a negative number and a failure. */
typedef double (*bench_peak_run)(void *probe, uint32_t rounds, struct failure *failure);

/** Operations of a round over seconds, at as many rounds as BENCH_PEAK_LEAST_SECONDS takes. */
bool bench_peak_time(bench_peak_run run, void *probe, double flop_of_round, double *out_gflops, struct failure *failure);

#endif
