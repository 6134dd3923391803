/* SPDX-License-Identifier: MIT */
/* A rank of a campaign under MPI: fault_mpi_rank FILE. Serves jobs until it is dismissed. */
#include <fcntl.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <vkring/mpi.h>

#include <base/clock.h>

#include "../harness/opened_device.h"
#include "fault_launched.h"
#include "mpi_shim.h"

static struct fault_launched *launched;
static MPI_Comm rings[WIRE_RANKS + 1]; /* by size, of the first ranks; made when first used */

static struct fault_launched *map(const char *path)
{
    const int file = open(path, O_RDWR);
    void *at = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct fault_launched), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (at == MAP_FAILED) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    close(file);
    return at;
}

static MPI_Comm ring_of(uint32_t ranks)
{
    int range[1][3] = {{0, (int)ranks - 1, 1}};
    MPI_Group world, part;
    if (rings[ranks] != MPI_COMM_NULL)
        return rings[ranks];
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_range_incl(world, 1, range, &part);
    MPI_Comm_create_group(MPI_COMM_WORLD, part, 0, &rings[ranks]);
    MPI_Group_free(&part);
    MPI_Group_free(&world);
    return rings[ranks];
}

static enum vkring_status open_ring(uint32_t rank, vkring_comm **out_comm)
{
    mpi_shim_aim(&launched->job.net, rank);
    return vkring_comm_create_mpi(ring_of(launched->job.ranks), out_comm);
}

/* MPI keeps those that were given up. */
static uint64_t live_requests(uint32_t rank)
{
    (void)rank;
    return 0;
}

/* MPI may have promised more than it has sent yet. */
static void idle(void)
{
    int ignored;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &ignored, MPI_STATUS_IGNORE);
    clock_sleep(0.001);
}

static void serve(uint32_t rank, vkring_device *device)
{
    static const struct fault_transport transport = {open_ring, mpi_shim_arm, mpi_shim_count, live_requests, mpi_shim_settle};
    unsigned served = atomic_load(&launched->turn);
    atomic_store(&launched->processes[rank], (int)getpid());
    while (!atomic_load(&launched->dismissed)) {
        if (atomic_load(&launched->turn) == served) {
            idle();
            continue;
        }
        served++;
        if (rank < launched->job.ranks)
            fault_rank_serve(&launched->job, rank, device, &transport);
    }
}

int main(int argc, char **argv)
{
    int provided, rank;
    vkring_device *device;
    if (argc != 2)
        return EXIT_FAILURE;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    launched = map(argv[1]);
    device = test_device_open(NULL);
    for (int ranks = 0; ranks <= WIRE_RANKS; ranks++)
        rings[ranks] = MPI_COMM_NULL;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    serve((uint32_t)rank, device);
    vkring_device_destroy(&device);
    MPI_Finalize();
    return EXIT_SUCCESS;
}
