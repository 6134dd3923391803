/* SPDX-License-Identifier: MIT */
/** Communicators from MPI, by a deadline of the caller's. */
#ifndef VKRING_COMM_MPI_COMM_H
#define VKRING_COMM_MPI_COMM_H

#include <vkring/mpi.h>

/** vkring_comm_create_mpi, where all ranks have to call it, and then to say how they fared, within timeout_seconds each. */
enum vkring_status mpi_comm_create(MPI_Comm parent, double timeout_seconds, vkring_comm **out_comm);

#endif
