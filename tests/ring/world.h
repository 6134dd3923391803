/* SPDX-License-Identifier: MIT */
/**
 * A suite that all ranks of MPI_COMM_WORLD run in step. A rank that leaves a test early would leave the others waiting, so a test body
 * gathers what it finds in a bool and ends with ck_assert(world_agrees(...)).
 */
#ifndef VKRING_TESTS_WORLD_H
#define VKRING_TESTS_WORLD_H

#include <vkring/mpi.h>

#include "../harness/attention_case.h"
#include "../harness/loose_order.h"
#include "../harness/opened_device.h"

extern uint32_t world_rank, world_size;

/** MPI_Init. */
void world_begin_without_device(int *argc, char ***argv);
/** The same, and the device of this rank; where one rank has none, all exit with TEST_SKIPPED. */
vkring_device *world_begin(int *argc, char ***argv);

/** loose_order_install: on every other rank copies are late, on the others kernels. */
void world_loosen_order(vkring_device *of);

/** device_suite_run, the end of the communicator (may be null), and MPI_Finalize. */
int world_end(Suite *suite, vkring_device **devices, int count, vkring_comm **comm);

/** True on every rank if it is true on every rank. */
bool world_agrees(bool mine);
double world_sum(double mine);

/** From now on ranks share the work of case_refer and case_passes with backward: all must call them for the same cases. */
void world_share_reference(void);

/**
 * A deadline for all ranks, of least seconds where the machine has time for them: longer by what the same work took them just now, so that
 * ranks which a busy machine slows down are not taken for silent. Collective.
 */
double world_deadline(double least_seconds, double seconds_just_now);

/** A communicator of all ranks; exits on failure. */
vkring_comm *world_comm(void);

/** Waits until a process of this host is stopped, a minute at most: a signal that lets it go on must not come before. */
bool world_sees_stop(long process);

/** Says what is wrong, with the rank, on standard error; returns condition. */
bool world_expect(bool condition, const char *format, ...);

#endif
