/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <vkring/mpi.h>

#include "group.h"

static uint32_t rank_in(MPI_Comm comm)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    return (uint32_t)rank;
}

void group_join(struct group *group, const char *program, int *argc, char ***argv)
{
    int thread_level, size = 1;
    MPI_Comm host;
    *group = (struct group){.program = program, .size = 1, .launched = group_has_launcher()};
    if (!group->launched)
        return;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &thread_level);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    group->rank = rank_in(MPI_COMM_WORLD);
    group->size = (uint32_t)size;
    group->host_rank = rank_in(host);
    MPI_Comm_free(&host);
}

static double fold(const struct group *group, double value, MPI_Op operation)
{
    double folded = value;
    if (group->size > 1)
        MPI_Allreduce(&value, &folded, 1, MPI_DOUBLE, operation, MPI_COMM_WORLD);
    return folded;
}

double group_sum(const struct group *group, double value)
{
    return fold(group, value, MPI_SUM);
}

double group_most(const struct group *group, double value)
{
    return fold(group, value, MPI_MAX);
}

enum vkring_status group_make_comm(const struct group *group, vkring_comm **out_comm)
{
    *out_comm = NULL;
    return group->size > 1 ? vkring_comm_create_mpi(MPI_COMM_WORLD, out_comm) : VKRING_OK;
}

enum vkring_status group_make_part(const struct group *group, uint32_t colour, vkring_comm **out_comm)
{
    enum vkring_status status = VKRING_OK;
    MPI_Comm part;
    int size;
    *out_comm = NULL;
    if (group->size == 1)
        return VKRING_OK;
    MPI_Comm_split(MPI_COMM_WORLD, (int)colour, (int)group->rank, &part);
    MPI_Comm_size(part, &size);
    if (size > 1)
        status = vkring_comm_create_mpi(part, out_comm);
    MPI_Comm_free(&part);
    return status;
}

void group_leave(const struct group *group)
{
    if (group->launched)
        MPI_Finalize();
}

_Noreturn void group_abort(void)
{
    fflush(NULL);
    MPI_Abort(MPI_COMM_WORLD, 1);
    exit(1);
}
