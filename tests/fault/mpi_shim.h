/* SPDX-License-Identifier: MIT */
/**
 * MPI calls of this process that meet a fault: the profiling interface, in front of MPI_Isend, MPI_Irecv and MPI_Test. Of a communicator
 * whose ranks are the job's; tags are those of src/comm.
 *
 * WIRE_CUT: nothing leaves or reaches the rank any more; where TWO_HOSTS_LINK names a network interface, that is set down instead.
 */
#ifndef VKRING_TESTS_MPI_SHIM_H
#define VKRING_TESTS_MPI_SHIM_H

#include "wire.h"

/** Forgets all before. net outlives what follows; its fault waits until mpi_shim_arm. */
void mpi_shim_aim(struct wire_net *net, uint32_t rank);
/** Counts from here. */
void mpi_shim_arm(void);
struct wire_counts mpi_shim_count(void);
/** Waits until all messages that are late have been taken by MPI. */
void mpi_shim_settle(void);

#endif
