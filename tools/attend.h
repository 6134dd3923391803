/* SPDX-License-Identifier: MIT */
/** What vkring attend holds on its way from options to outputs. */
#ifndef VKRING_TOOLS_ATTEND_H
#define VKRING_TOOLS_ATTEND_H

#include "attend_options.h"
#include "outputs.h"
#include "run_report.h"
#include "tensor_io.h"

enum tensor_kind { TENSOR_QUERY, TENSOR_KEY, TENSOR_VALUE, TENSOR_OUTPUT, TENSOR_LSE, TENSOR_KINDS };

struct attend {
    struct ranks *ranks;
    int argc;
    char **argv;
    struct attend_options options;
    struct progress progress;
    uint64_t token;     /**< of the temporary files */
    uint32_t host_turn; /**< how many ranks of this host come before this one */

    struct inputs inputs;
    struct attend_problem problem;
    struct outputs outputs;
    uint64_t *query_rows, *key_rows; /**< of each rank */
    struct tensor_io tensors[TENSOR_KINDS];
    struct tensor_piece piece;

    vkring_device *device;
    vkring_buffer *buffers[TENSOR_KINDS]; /**< null for what has no elements on this rank */
    vkring_comm *comm;
    vkring_plan *plan;
    struct rank_report report;
};

/** Cuts the sequence and sets tensors; once inputs and outputs are open. */
bool attend_cut(struct attend *attend, struct failure *failure);

/** Phases on the device, in this order. All collective, but for the first. */
bool attend_open_device(struct attend *attend, struct failure *failure);
bool attend_make_plan(struct attend *attend, struct failure *failure);
bool attend_load(struct attend *attend, struct failure *failure);
bool attend_run(struct attend *attend, struct failure *failure);
bool attend_store(struct attend *attend, struct failure *failure);
void attend_close_device(struct attend *attend);

#endif
