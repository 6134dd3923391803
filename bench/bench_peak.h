/* SPDX-License-Identifier: MIT */
/** The most arithmetic that a device and this host's cores do: what speeds of attention are fractions of. */
#ifndef VKRING_BENCH_PEAK_H
#define VKRING_BENCH_PEAK_H

#include <stdint.h>

#include "../tools/failure.h"

struct bench_matrix_peak {
    struct vkring_matrix_shape shape;
    double gflops; /* multiplications of f16 with additions of f32 */
};

struct bench_peak {
    double device_gflops; /* f32 multiplications with additions in registers, two operations each */
    double host_gflops;   /* the same in this host's vector registers, on all cores together */
    uint32_t host_threads;
    struct bench_matrix_peak matrices[VKRING_MOST_MATRIX_SHAPES]; /* of the device's matrix units, in the device's order */
    uint32_t matrix_count;                                        /* 0: it has none, or this build no kernel for them */
};

/** The fastest of ten runs of at least 20 ms, by the wall clock, in a Vulkan device of its own on the device that info describes. */
bool bench_peak_device(const struct vkring_device_info *info, double *out_gflops, struct failure *failure);

/** The same on matrix units, for each shape that info lists; none where this build's glslang did not know them. */
bool bench_peak_matrices(const struct vkring_device_info *info, struct bench_peak *peak, struct failure *failure);

/** The fastest of ten runs of at least 20 ms on every core that this process may use. */
bool bench_peak_host(double *out_gflops, uint32_t *out_threads, struct failure *failure);

/** How many cores that are. */
uint32_t bench_peak_usable_cores(void);

/** All of them. */
bool bench_peak_measure(const struct vkring_device_info *info, struct bench_peak *out_peak, struct failure *failure);

/** A kernel that takes the push constants of peak.comp, and does its rounds in every workgroup. */
struct bench_peak_kernel {
    const uint32_t *code;
    size_t code_bytes;
    uint32_t workgroups;
    double flop_of_round; /* of all workgroups */
    uint32_t subgroups;   /* of a workgroup, of one on matrix units: constants 0 … 3 are its lanes and the shape; else 0 */
    struct vkring_matrix_shape shape;
};

/** In a Vulkan device of its own on the one that info describes. */
bool bench_peak_kernel_measure(const struct vkring_device_info *info, const struct bench_peak_kernel *kernel, double *out_gflops,
                               struct failure *failure);

#define BENCH_PEAK_REPEATS 10
#define BENCH_PEAK_LEAST_SECONDS 0.02

/** Seconds that `rounds` rounds take, or a negative number and a failure. */
typedef double (*bench_peak_run)(void *probe, uint32_t rounds, struct failure *failure);

/** Operations of a round over seconds, at as many rounds as BENCH_PEAK_LEAST_SECONDS takes. */
bool bench_peak_time(bench_peak_run run, void *probe, double flop_of_round, double *out_gflops, struct failure *failure);

#endif
