/* SPDX-License-Identifier: MIT */
#include "bench_peak.h"

#include <math.h>

bool bench_peak_time(bench_peak_run run, void *probe, double flop_of_round, double *out_gflops, struct failure *failure)
{
    uint32_t rounds = 1;
    double least = run(probe, rounds, failure);
    while (least >= 0 && least < BENCH_PEAK_LEAST_SECONDS && rounds < UINT32_MAX / 2)
        least = run(probe, rounds *= 2, failure);
    for (uint32_t i = 1; least >= 0 && i < BENCH_PEAK_REPEATS; i++)
        least = fmin(least, run(probe, rounds, failure));
    if (least < 0)
        return false;
    *out_gflops = flop_of_round * rounds / least * 1e-9;
    return true;
}

bool bench_peak_measure(const struct vkring_device_info *info, struct bench_peak *out_peak, struct failure *failure)
{
    return bench_peak_device(info, &out_peak->device_gflops, failure) && bench_peak_matrices(info, out_peak, failure) &&
           bench_peak_host(&out_peak->host_gflops, &out_peak->host_threads, failure);
}
