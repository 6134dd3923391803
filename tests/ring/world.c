/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/clock.h>

uint32_t world_rank, world_size;

void world_begin_without_device(int *argc, char ***argv)
{
    int provided, rank, size;
    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    world_rank = (uint32_t)rank;
    world_size = (uint32_t)size;
}

vkring_device *world_begin(int *argc, char ***argv)
{
    world_begin_without_device(argc, argv);
    return test_device_open(NULL);
}

void world_loosen_order(vkring_device *of)
{
    loose_order_install(of, world_rank % 2 == 0 ? LATE_COPIES : LATE_KERNELS);
}

int world_end(Suite *suite, vkring_device **devices, int count, vkring_comm **comm)
{
    int result = device_suite_run(suite, devices, count);
    vkring_comm_destroy(comm);
    MPI_Finalize();
    return result;
}

bool world_agrees(bool mine)
{
    int here = mine, everywhere = 0;
    MPI_Allreduce(&here, &everywhere, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    return everywhere != 0;
}

static void sum_all(double *values, uint64_t count)
{
    MPI_Allreduce(MPI_IN_PLACE, values, (int)count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

double world_sum(double mine)
{
    sum_all(&mine, 1);
    return mine;
}

double world_deadline(double least_seconds, double seconds_just_now)
{
    return least_seconds + 2 * world_sum(seconds_just_now);
}

void world_share_reference(void)
{
    static struct case_ranks ranks;
    ranks = (struct case_ranks){.rank = world_rank, .count = world_size, .sum = sum_all};
    case_share_reference(&ranks);
}

vkring_comm *world_comm(void)
{
    vkring_comm *comm = NULL;
    if (vkring_comm_create_mpi(MPI_COMM_WORLD, &comm) == VKRING_OK)
        return comm;
    fprintf(stderr, "rank %u: %s\n", world_rank, vkring_last_error()->message);
    exit(EXIT_FAILURE);
}

static char state_of(long process)
{
    char path[64], line[1024] = "";
    snprintf(path, sizeof(path), "/proc/%ld/stat", process);
    FILE *file = fopen(path, "r");
    const char *name_end = file && fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
    if (file)
        fclose(file);
    return name_end && name_end[1] ? name_end[2] : 'X';
}

bool world_sees_stop(long process)
{
    const double begin = clock_seconds();
    while (state_of(process) != 'T' && clock_seconds() - begin < 60)
        clock_sleep(0.01);
    return world_expect(state_of(process) == 'T', "process %ld did not stop", process);
}

bool world_expect(bool condition, const char *format, ...)
{
    va_list arguments;
    if (condition)
        return true;
    fprintf(stderr, "rank %u: ", world_rank);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return false;
}
