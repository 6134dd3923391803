/* SPDX-License-Identifier: MIT */
/*
 * A rank that stops in a call of MPI, for tests of vkring: VKRING_TEST_STOPS names the call, and VKRING_TEST_RANK the rank. Linked in front
 * of MPI. Alarms come sixty times as soon.
 */
#include <mpi.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static void stop_in(const char *call)
{
    const char *wanted = getenv("VKRING_TEST_STOPS"), *whose = getenv("VKRING_TEST_RANK");
    const char *open_mpi = getenv("OMPI_COMM_WORLD_RANK"), *rank = open_mpi ? open_mpi : getenv("PMI_RANK");
    if (wanted && whose && rank && strcmp(wanted, call) == 0 && strcmp(whose, rank) == 0)
        raise(SIGSTOP);
}

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    stop_in("MPI_Init_thread");
    return PMPI_Init_thread(argc, argv, required, provided);
}

int MPI_Comm_idup(MPI_Comm comm, MPI_Comm *duplicate, MPI_Request *request)
{
    stop_in("MPI_Comm_idup");
    return PMPI_Comm_idup(comm, duplicate, request);
}

int MPI_Finalize(void)
{
    stop_in("MPI_Finalize");
    return PMPI_Finalize();
}

unsigned alarm(unsigned seconds)
{
    const struct itimerval due = {.it_value = {.tv_sec = seconds / 60, .tv_usec = seconds % 60 * 1000000 / 60}};
    setitimer(ITIMER_REAL, &due, NULL);
    return 0;
}
