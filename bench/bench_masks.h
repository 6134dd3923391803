/* SPDX-License-Identifier: MIT */
/** What masks and modifiers of a case read, beside query, key and value: on the device for the run, on the host for the oracle. */
#ifndef VKRING_BENCH_MASKS_H
#define VKRING_BENCH_MASKS_H

#include <ref/reference.h>

#include "../tools/failure.h"
#include "bench_case.h"

struct bench_masks {
    uint32_t segments;  /* packed sequences of equal length; 0: no segment ids */
    int32_t *query_ids; /* [q_len], the same in all batch entries; key_ids likewise */
    int32_t *key_ids;
    float *bias;           /* [kv_len] */
    float *slopes, *sinks; /* [heads] */
    vkring_buffer *on_device[5];
};

/** The rank's part on the device, placed in io. The problem has its defaults filled in. */
bool bench_masks_make(vkring_device *device, const struct vkring_plan_params *problem, uint32_t segments,
                      const struct vkring_plan_info *info, struct bench_masks *out_masks, struct vkring_forward_io *io,
                      struct failure *failure);
/** Accepts what was not made. */
void bench_masks_free(struct bench_masks *masks);

/** Fills what the oracle needs for the query at a position of the sequence. */
void bench_masks_refer(const struct bench_masks *masks, const struct vkring_plan_params *problem, uint64_t position,
                       struct reference_problem *out_problem);

#endif
