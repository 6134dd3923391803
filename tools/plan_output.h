/* SPDX-License-Identifier: MIT */
/** What vkring plan tells: as a table for people, as JSON for programs. */
#ifndef VKRING_TOOLS_PLAN_OUTPUT_H
#define VKRING_TOOLS_PLAN_OUTPUT_H

#include <stdio.h>

#include <vkring/simulate.h>

#include "report_file.h"

/** One pass over the ring. */
struct plan_pass {
    const char *name;
    struct vkring_simulation whole;
    struct vkring_simulated_turn *turns;
    struct vkring_simulated_result *results; /**< [ranks] */
};

struct plan_outcome {
    const struct vkring_plan_params *problem;
    uint32_t ranks;
    struct plan_pass passes[2]; /**< forward and, where wanted, backward */
    uint32_t pass_count;
    bool has_limit;   /**< of memory */
    uint64_t longest; /**< keys; with a limit */
};

void plan_print(FILE *out, const struct plan_outcome *outcome);
/** True at once where it is not wanted. */
bool plan_write_json(struct report_file *file, const struct plan_outcome *outcome, struct failure *failure);

#endif
