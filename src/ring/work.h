/* SPDX-License-Identifier: MIT */
/** What tasks of a program take, in FLOP of attention: by this runs are counted, and simulated. Pure arithmetic. */
#ifndef VKRING_RING_WORK_H
#define VKRING_RING_WORK_H

#include "../attention/kernel_choice.h"
#include "program.h"

/** FLOP of forward for so many pairs in one head and batch entry. */
double work_flop(const struct problem *problem, double pairs);
/** What a task multiplies, in units of what forward does for the same pairs; 0 of tasks without pairs. */
double work_factor(const struct task *task, bool joint);
/** How often a task of the layout's rank loads or stores elements, in a ring of so many steps, beside its pairs. */
double work_accesses(const struct problem *problem, const struct layout *layout, uint32_t steps, const struct task *task);

/** The step at which the sum comes that a TASK_ADD adds to: the own gradients come home after the last. */
static inline uint32_t work_sum_step(uint32_t steps, const struct task *task)
{
    return task->step == 0 ? steps : task->step;
}

/** Of what kernels go through for a whole problem, the part that the mask keeps; 1 where it keeps nothing. */
double work_kept_part(const struct problem *problem, const struct kernel_choice *choice);

#endif
