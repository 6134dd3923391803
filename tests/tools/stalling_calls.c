/* SPDX-License-Identifier: MIT */
/*
 * Ranks that stop in a call of MPI or after a rename, or hear no more of each other from one on, for tests of vkring: VKRING_TEST_STOPS
 * names the call, and VKRING_TEST_RANK the rank, or is "all" where it is the network that stops; rank 0 is then a moment later than others.
 * Linked in front of MPI. Alarms come sixty times as soon.
 */
#include <mpi.h>

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define MOMENT_SECONDS 0.05
#define UNUSED_TAG 12345

static atomic_bool is_cut;

static void stop_in(const char *call)
{
    const char *wanted = getenv("VKRING_TEST_STOPS"), *whose = getenv("VKRING_TEST_RANK");
    const char *open_mpi = getenv("OMPI_COMM_WORLD_RANK"), *rank = open_mpi ? open_mpi : getenv("PMI_RANK");
    if (!wanted || !whose || !rank || strcmp(wanted, call) != 0)
        return;
    if (strcmp(whose, rank) == 0)
        raise(SIGSTOP);
    if (strcmp(whose, "all") != 0)
        return;
    atomic_store(&is_cut, true);
    if (strcmp(rank, "0") == 0)
        usleep((useconds_t)(MOMENT_SECONDS * 1e6));
}

/* Done when this rank gets what nobody sends. */
static int never(MPI_Request *request)
{
    static unsigned char byte;
    return PMPI_Irecv(&byte, 1, MPI_BYTE, MPI_ANY_SOURCE, UNUSED_TAG, MPI_COMM_WORLD, request);
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm, MPI_Request *request)
{
    return atomic_load(&is_cut) ? never(request) : PMPI_Isend(data, count, type, to, tag, comm, request);
}

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    stop_in("MPI_Init_thread");
    return PMPI_Init_thread(argc, argv, required, provided);
}

int MPI_Comm_idup(MPI_Comm comm, MPI_Comm *duplicate, MPI_Request *request)
{
    stop_in("MPI_Comm_idup");
    return atomic_load(&is_cut) ? never(request) : PMPI_Comm_idup(comm, duplicate, request);
}

int MPI_Finalize(void)
{
    stop_in("MPI_Finalize");
    return PMPI_Finalize();
}

/* Stops once it is done, of an output: kernels are kept by a rename, too. */
int rename(const char *from, const char *to)
{
    const int result = renameat(AT_FDCWD, from, AT_FDCWD, to);
    const size_t length = strlen(to);
    if (length > 4 && strcmp(to + length - 4, ".npy") == 0)
        stop_in("rename");
    return result;
}

unsigned alarm(unsigned seconds)
{
    const struct itimerval due = {.it_value = {.tv_sec = seconds / 60, .tv_usec = seconds % 60 * 1000000 / 60}};
    setitimer(ITIMER_REAL, &due, NULL);
    return 0;
}
