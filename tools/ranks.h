/* SPDX-License-Identifier: MIT */
/** The processes of one command: those that an MPI launcher started, or this one alone. */
#ifndef VKRING_TOOLS_RANKS_H
#define VKRING_TOOLS_RANKS_H

#include "failure.h"

#define DEFAULT_TIMEOUT_SECONDS 300.0

struct ranks {
    uint32_t rank;
    uint32_t size;
    bool launched;                  /**< by an MPI launcher */
    double timeout_seconds;         /**< how long a peer may show no sign of life */
    bool broken;                    /**< messages are out of step; only ranks_finish is left */
    uint32_t lowest_heard;          /**< in the last exchange */
    struct rank_messages *messages; /**< of ranks_mpi.c; null for one rank */
};

/**
 * Joins the ranks of the launcher, if there is one. Collective then: MPI waits for the others 300 seconds, and then this ends with a line.
 * A failure leaves a rank alone, which can only ranks_finish.
 */
bool ranks_start(struct ranks *ranks, int *argc, char ***argv, struct failure *failure);

/**
 * Every rank gives bytes and gets those of all: all is size · bytes long, in rank order, and arrived[r] tells whether those of rank r came.
 *
 * Collective. Waits for a rank until it has shown no sign of life for patience_seconds. Returns whether all came; if not, the ranks are
 * broken. The ranks must not be broken before.
 */
bool ranks_exchange(struct ranks *ranks, const void *mine, size_t bytes, void *all, bool *arrived, double patience_seconds);

/** Tells the other ranks that this one lives and gets on. From any one thread; does nothing where MPI cannot take that. */
void ranks_beat(struct ranks *ranks);

/** A communicator for the library; null for one rank. Collective. */
enum vkring_status ranks_make_comm(struct ranks *ranks, vkring_comm **out_comm);

/** Leaves MPI and ends the process, within bounded time even if peers are gone. Does not return. */
_Noreturn void ranks_finish(struct ranks *ranks, enum exit_status status);

#endif
