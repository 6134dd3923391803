/* SPDX-License-Identifier: MIT */
/** A small piece of a problem, made to time a device by. */
#ifndef VKRING_RING_SPEED_TRIAL_H
#define VKRING_RING_SPEED_TRIAL_H

#include "../attention/kernel_choice.h"

enum { TRIAL_TENSORS = 16 };

struct speed_trial {
    struct vkring_plan_params params;
    vkring_plan *plan;
    struct vkring_backward_io io;
    vkring_buffer *buffers[TRIAL_TENSORS];
};

/**
 * Of one batch entry of a problem, as many queries and keys as take the device a twentieth of a second, at most most_queries and most_keys,
 * each at least 1: warm, with mask and types as the problem has them, and kernels of a choice (null: that a plan for it has). All tensors
 * are zeros.
 */
enum vkring_status speed_trial_create(vkring_device *device, const struct vkring_plan_params *problem, const struct kernel_choice *choice,
                                      uint64_t most_queries, uint64_t most_keys, struct speed_trial *out_trial);
/** The same with so many queries and keys. */
enum vkring_status speed_trial_create_of(vkring_device *device, const struct vkring_plan_params *problem,
                                         const struct kernel_choice *choice, uint64_t queries, uint64_t keys,
                                         struct speed_trial *out_trial);
/** Accepts one that was not created. */
void speed_trial_destroy(struct speed_trial *trial);

/** One run, forward and, of a problem with backward, that too. Adds to flop, of pairs that kernels go through, and seconds. */
enum vkring_status speed_trial_run(struct speed_trial *trial, double *flop, double *seconds);

#endif
