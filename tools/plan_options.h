/* SPDX-License-Identifier: MIT */
/** The command line of vkring plan. */
#ifndef VKRING_TOOLS_PLAN_OPTIONS_H
#define VKRING_TOOLS_PLAN_OPTIONS_H

#include "attend_options.h"

/** One for each rank, or one that all have; null: not given. */
struct plan_amounts {
    double *values;
    uint32_t count;
};

struct plan_options {
    struct attend_options attend; /**< of it: sizes, type, mask, layout, shares, help. First, so that its takers serve here */
    uint64_t ranks;
    bool backward;
    struct plan_amounts flops, backward_flops; /**< FLOP/s; above 0 */
    struct vkring_device_info *devices;        /**< as many as flops; null: not known */
    struct plan_amounts link;                  /**< bytes/s; above 0 */
    struct plan_amounts latency, task;         /**< seconds */
    struct plan_amounts copy;                  /**< bytes/s; null: memory is unified */
    struct plan_amounts memory;                /**< bytes */
    const char *from, *json;                   /**< borrowed from argv */
};

/** argv[0] is the command's name. Free the options whatever is returned. */
bool plan_options_parse(struct plan_options *options, int argc, char **argv, struct failure *failure);
void plan_options_free(struct plan_options *options);

/** That of a rank, or `otherwise`. */
static inline double plan_amount(const struct plan_amounts *amounts, uint32_t rank, double otherwise)
{
    return amounts->values ? amounts->values[amounts->count > 1 ? rank : 0] : otherwise;
}

extern const char plan_help[];

#endif
