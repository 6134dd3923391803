/* SPDX-License-Identifier: MIT */
/** What vkring attend holds on its way from options to outputs. */
#ifndef VKRING_TOOLS_ATTEND_H
#define VKRING_TOOLS_ATTEND_H

#include "attend_options.h"
#include "outputs.h"
#include "run_report.h"
#include "tensor_io.h"
#include "trace.h"

struct attend {
    struct ranks *ranks;
    int argc;
    char **argv;
    struct attend_options options;
    bool told_help;
    struct progress progress;
    uint64_t token;     /**< of the temporary files */
    uint32_t host_turn; /**< how many ranks of this host come before this one */

    struct inputs inputs;
    struct attend_problem problem;
    struct outputs outputs;
    uint64_t *query_rows;                 /**< of each rank; null for equal shares */
    struct vkring_rank_rows rows;         /**< of this one */
    struct tensor_io tensors[FILE_KINDS]; /**< without elements where there is no such tensor */
    struct tensor_piece piece;

    vkring_device *device;
    vkring_buffer *buffers[FILE_KINDS]; /**< null for what has no elements on this rank */
    vkring_buffer *lse_residual;        /**< as that of the lse; only for gradients, as is the next */
    vkring_buffer *output_residual;
    vkring_comm *comm;
    vkring_plan *plan;
    struct rank_report report;
    struct trace trace; /**< with --trace */
};

typedef bool (*attend_phase)(struct attend *attend, struct failure *failure);

/** Makes freeing right at any time. */
void attend_init(struct attend *attend);
/** What is not the device's. */
void attend_free(struct attend *attend);
/** Phase after phase, until one fails on any rank, or was asked for help. */
enum exit_status attend_run_phases(struct attend *attend, const attend_phase *phases, size_t count);

/** The text, if ranks were asked for it: all or none. Collective. */
bool attend_tell_help(struct attend *attend, const char *text, struct failure *failure);
/** Ranks meet: names of temporary files, turns on the devices of a host. Collective. */
bool attend_meet(struct attend *attend, struct failure *failure);
/** What ranks must have alike; the second once inputs are open. Collective. */
bool attend_compare_options(struct attend *attend, struct failure *failure);
bool attend_compare_inputs(struct attend *attend, struct failure *failure);

/** Opens inputs and plans outputs; names these, with clean-up and progress on their way; makes them on rank 0; opens them on others; at the
 * end, once they are flushed, gives them their names. */
bool attend_open_inputs(struct attend *attend, struct failure *failure);
bool attend_name_outputs(struct attend *attend, struct failure *failure);
bool attend_create_outputs(struct attend *attend, struct failure *failure);
bool attend_join_outputs(struct attend *attend, struct failure *failure);
bool attend_commit_outputs(struct attend *attend, struct failure *failure);

/** Cuts the sequence and sets tensors; once inputs and outputs are open. Shares that are to be measured are equal at first. */
bool attend_cut(struct attend *attend, struct failure *failure);
/** Sets tensors by new query_rows. */
bool attend_cut_again(struct attend *attend, struct failure *failure);
/** What the plan is made from, once the sequence is cut but for which rows this rank holds. */
struct vkring_plan_params attend_plan_params(const struct attend *attend);
/** Each rank looks at the numbers that it will read: together, at all. */
bool attend_check(struct attend *attend, struct failure *failure);

/** Phases on the device, in this order. All collective, but for the first and the third. */
bool attend_open_device(struct attend *attend, struct failure *failure);
bool attend_measure_shares(struct attend *attend, struct failure *failure);
bool attend_make_buffers(struct attend *attend, struct failure *failure);
bool attend_make_plan(struct attend *attend, struct failure *failure);
bool attend_load(struct attend *attend, struct failure *failure);
bool attend_run_forward(struct attend *attend, struct failure *failure);
bool attend_run_backward(struct attend *attend, struct failure *failure);
bool attend_store(struct attend *attend, struct failure *failure);
void attend_close_device(struct attend *attend);

#endif
