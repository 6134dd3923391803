/* SPDX-License-Identifier: MIT */
/** Running one case: made, compared with float64, warmed up, timed. */
#ifndef VKRING_BENCH_MEASURE_H
#define VKRING_BENCH_MEASURE_H

#include "../tools/progress.h"
#include "../tools/report_file.h"
#include "bench_case.h"
#include "bench_options.h"

struct bench_result {
    const char *name;
    struct vkring_plan_params problem;
    const char *unsupported; /* why the case cannot be run here; nothing below is set then */
    bool validated;
    double error_rms, error_maximum; /* over the RMS of the reference, of the rows looked at; the largest of any rank */
    uint32_t repeats;
    /* a run's time is that of its slowest rank */
    double seconds_median, seconds_least, seconds_most;
    double gflops; /* by bench_case_flop and the median */
    /* of the run with the median time, the largest of any rank */
    double compute_seconds, transfer_seconds, exposed_wait_seconds;
    double computed_flop; /* of a run, as of vkring_run_stats */
    double sent_bytes;    /* of all ranks */
    /* the largest of any rank */
    double planned_bytes; /* device memory that the plan said it would take */
    double taken_bytes;   /* the most that the device's accounts say it took, up to the last run */
    double peak_bytes;    /* the same with the tensors */
    char kernel[192];     /* of rank 0 */
};

struct bench_setting {
    struct ranks *ranks;
    struct progress *progress;
    vkring_device *device;
    vkring_comm *comm;
    const struct bench_options *options;
    struct report_file csv, json; /* of rank 0 */
};

/** Collective. A wrong result is a failure. */
bool bench_measure(const struct bench_setting *setting, const struct bench_case *which, struct bench_result *out_result,
                   struct failure *failure);

#endif
