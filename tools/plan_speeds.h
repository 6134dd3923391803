/* SPDX-License-Identifier: MIT */
/** Speeds of devices from what a run left behind. */
#ifndef VKRING_TOOLS_PLAN_SPEEDS_H
#define VKRING_TOOLS_PLAN_SPEEDS_H

#include "plan_options.h"

/**
 * Fills flops and backward_flops from the file of --from: of each rank where a report has as many ranks as are planned, else one rank's for
 * all. Of the cases of vkring-bench, those of the problem's type and dimensions count.
 */
bool plan_speeds_read(struct plan_options *options, struct failure *failure);

#endif
