/* SPDX-License-Identifier: MIT */
/** A rank's tensors of a case, and their comparison with float64 on a sample of rows. */
#ifndef VKRING_BENCH_INPUTS_H
#define VKRING_BENCH_INPUTS_H

#include "../tools/progress.h"
#include "bench_case.h"
#include "bench_masks.h"

struct bench_inputs {
    struct vkring_plan_params problem; /* defaults filled in */
    struct vkring_plan_info info;
    struct bench_masks masks;
    vkring_buffer *query, *key, *value, *output;
    vkring_buffer *lse, *lse_residual, *output_grad, *query_grad, *key_grad, *value_grad; /* for backward */
    struct vkring_backward_io io;
    double device_bytes; /* what the buffers take by the device's accounts */
};

/* Of the rows looked at, over the RMS of the reference. */
struct bench_error {
    double rms, maximum;
    bool within_gates;
};

/** Normal random numbers, each a function of its place in the whole tensor: the same whatever the ranks. */
bool bench_inputs_make(vkring_device *device, const struct bench_case *which, const struct vkring_plan_info *info,
                       struct bench_inputs *out_inputs, struct failure *failure);
/** Accepts what was not made. */
void bench_inputs_free(struct bench_inputs *inputs);

/** Of the output now in its buffer; of a plan with backward, of the gradients of queries. Returns whether it could be compared. */
bool bench_inputs_compare(struct bench_inputs *inputs, struct progress *progress, struct bench_error *out_error, struct failure *failure);

#endif
