/* SPDX-License-Identifier: MIT */
#include "bench_peak.h"

#ifdef HAS_PEAK_MATRIX

#include "peak_matrix.spv.h"

#define WORKGROUPS 512u
#define SUBGROUPS 4u
/* as in peak_matrix.comp: matrices of sums of a subgroup, to each of which a round adds a product */
#define SUMS 8u

static bool measure(const struct vkring_device_info *info, struct bench_matrix_peak *peak, struct failure *failure)
{
    const struct vkring_matrix_shape *shape = &peak->shape;
    const struct bench_peak_kernel kernel = {
        .code = peak_matrix_code,
        .code_bytes = sizeof(peak_matrix_code),
        .workgroups = WORKGROUPS,
        .flop_of_round = 2.0 * shape->m * shape->n * shape->k * SUMS * SUBGROUPS * WORKGROUPS,
        .subgroups = SUBGROUPS,
        .shape = *shape,
    };
    return bench_peak_kernel_measure(info, &kernel, &peak->gflops, failure);
}

bool bench_peak_matrices(const struct vkring_device_info *info, struct bench_peak *peak, struct failure *failure)
{
    for (uint32_t i = 0; i < info->matrix_shape_count; i++) {
        peak->matrices[i].shape = info->matrix_shapes[i];
        if (!measure(info, &peak->matrices[i], failure))
            return false;
        peak->matrix_count++;
    }
    return true;
}

#else

bool bench_peak_matrices(const struct vkring_device_info *info, struct bench_peak *peak, struct failure *failure)
{
    (void)info;
    (void)peak;
    (void)failure;
    return true;
}

#endif
