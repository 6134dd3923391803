/* SPDX-License-Identifier: MIT */
/** Communicators from MPI. Needs a library built with MPI. */
#ifndef VKRING_MPI_H
#define VKRING_MPI_H

#include <mpi.h>

#include "vkring.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Duplicates comm and sets MPI_ERRORS_RETURN on the duplicate only. Collective over comm; MPI is initialised, MPI_THREAD_FUNNELED is enough.
 * Destroy the result before MPI_Finalize.
 *
 * All ranks get a communicator, or all an error: VKRING_ERROR_PEER names one that could not make its own. _TIMEOUT: not every rank of comm
 * called it within 300 seconds, or one failed before it could tell the others; what is collective over comm, this call too, may then be
 * out of step. _COMM: an MPI call failed. _INVALID_ARGUMENT: MPI does not run, or comm is null or an intercommunicator; others time out.
 *
 * After a timeout or a peer's failure vkring_comm_destroy leaves unfinished requests and the duplicate to MPI: freeing them could wait for ever,
 * and messages that nobody asked for could come to a later communicator of the same number.
 */
VKRING_API enum vkring_status vkring_comm_create_mpi(MPI_Comm comm, vkring_comm **out_comm);

/**
 * The same with timeout_seconds in place of 300: for all ranks to call it, and then to say how they fared, each; 0 for 300. Where it is
 * negative or not finite that rank gets VKRING_ERROR_INVALID_ARGUMENT, and the others _PEER.
 */
VKRING_API enum vkring_status vkring_comm_create_mpi_within(MPI_Comm comm, double timeout_seconds, vkring_comm **out_comm);

#ifdef __cplusplus
}
#endif

#endif
