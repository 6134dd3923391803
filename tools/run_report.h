/* SPDX-License-Identifier: MIT */
/** What --report writes. */
#ifndef VKRING_TOOLS_RUN_REPORT_H
#define VKRING_TOOLS_RUN_REPORT_H

#include <jansson.h>

#include "inputs.h"
#include "ranks.h"

/** What one rank did, in one message. */
struct rank_report {
    char host[64];
    uint32_t device_index;
    enum vkring_device_kind device_kind;
    char device_name[256];
    char device_driver[512];
    uint32_t device_subgroup_size;
    bool device_unified_memory;
    struct vkring_plan_info plan;
    struct vkring_run_stats stats;          /**< of the forward run */
    struct vkring_run_stats backward_stats; /**< only where gradients are wanted */
    double measured_flops;                  /**< by which it got its share; 0 where that was not measured */
    double check_seconds, prepare_seconds, load_seconds, store_seconds;
    uint64_t tensor_bytes; /**< of this rank's parts, on the device */
    struct vkring_memory_use memory;
};

/* Parts that reports of other commands have too. */
json_t *run_report_problem(const struct attend_options *options, const struct attend_problem *problem);
json_t *run_report_device(const struct rank_report *report);
/** Writes the report, which it takes; null: there was no memory for it. */
bool run_report_put(json_t *report, int fd, const char *path, struct failure *failure);

/** Collective: rank 0 writes the reports of all to the open file at path. */
bool run_report_write(struct ranks *ranks, const struct attend_options *options, const struct attend_problem *problem,
                      const struct rank_report *mine, int fd, const char *path, struct failure *failure);

#endif
