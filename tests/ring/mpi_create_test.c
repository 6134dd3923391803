/* SPDX-License-Identifier: MIT */
/* Communicators that one rank cannot make: no rank has one, and all know within their deadlines. MPI and the allocator in front of it. */
#include <math.h>
#include <stdlib.h>

#include <base/clock.h>
#include <comm/comm.h>

#include "world.h"

/* What fails on the last rank. */
enum fault { SOUND, NO_LINK, NO_COMM, NO_DUPLICATE, LOST_DUPLICATE, NO_HANDLER, NO_AGREEMENT, NO_DEADLINE, FAULTS };

static struct {
    enum fault fault;
    int allocations;
} armed;

static bool strikes(enum fault fault)
{
    return armed.fault == fault && world_rank == world_size - 1;
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size)
{
    const int place = armed.allocations++;
    if ((place == 0 && strikes(NO_LINK)) || (place == 1 && strikes(NO_COMM)))
        return NULL;
    return __real_calloc(count, size);
}

int MPI_Comm_idup(MPI_Comm comm, MPI_Comm *out_duplicate, MPI_Request *out_request)
{
    MPI_Comm lost;
    if (strikes(LOST_DUPLICATE)) { /* the other ranks have theirs */
        PMPI_Comm_idup(comm, &lost, out_request);
        PMPI_Wait(out_request, MPI_STATUS_IGNORE);
    }
    return strikes(NO_DUPLICATE) || strikes(LOST_DUPLICATE) ? MPI_ERR_OTHER : PMPI_Comm_idup(comm, out_duplicate, out_request);
}

int MPI_Comm_set_errhandler(MPI_Comm comm, MPI_Errhandler handler)
{
    return strikes(NO_HANDLER) ? MPI_ERR_OTHER : PMPI_Comm_set_errhandler(comm, handler);
}

int MPI_Iallreduce(const void *mine, void *all, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm, MPI_Request *out_request)
{
    return strikes(NO_AGREEMENT) ? MPI_ERR_OTHER : PMPI_Iallreduce(mine, all, count, type, op, comm, out_request);
}

/* Status on the rank that the fault strikes, and on others. */
static const struct {
    enum vkring_status own, others;
} expected[FAULTS] = {
    [SOUND] = {VKRING_OK, VKRING_OK},
    [NO_LINK] = {VKRING_ERROR_OUT_OF_HOST_MEMORY, VKRING_ERROR_TIMEOUT},
    [NO_COMM] = {VKRING_ERROR_OUT_OF_HOST_MEMORY, VKRING_ERROR_PEER},
    [NO_DUPLICATE] = {VKRING_ERROR_COMM, VKRING_ERROR_TIMEOUT},
    [LOST_DUPLICATE] = {VKRING_ERROR_COMM, VKRING_ERROR_TIMEOUT},
    [NO_HANDLER] = {VKRING_ERROR_COMM, VKRING_ERROR_PEER},
    [NO_AGREEMENT] = {VKRING_ERROR_COMM, VKRING_ERROR_TIMEOUT},
    [NO_DEADLINE] = {VKRING_ERROR_INVALID_ARGUMENT, VKRING_ERROR_PEER},
};

static bool is_expected(enum fault fault, enum vkring_status status, double seconds)
{
    const enum vkring_status due = world_rank == world_size - 1 ? expected[fault].own : expected[fault].others;
    return world_expect(status == due, "fault %d: %s, not %s", (int)fault, vkring_status_string(status), vkring_status_string(due)) &&
           world_expect(seconds < (due == VKRING_ERROR_TIMEOUT ? 2 : 1), "fault %d: %g s", (int)fault, seconds) &&
           world_expect(due != VKRING_ERROR_PEER || vkring_last_error()->rank == world_size - 1, "fault %d: %s", (int)fault,
                        vkring_last_error()->message);
}

START_TEST(no_rank_has_a_communicator_unless_all_have)
{
    const enum fault fault = (enum fault)_i;
    MPI_Comm parent, late;
    vkring_comm *comm = NULL;
    MPI_Comm_dup(MPI_COMM_WORLD, &parent); /* in which others wait for one that does not come */
    armed.allocations = 0;
    armed.fault = fault;
    const double begin = clock_seconds();
    const enum vkring_status status = vkring_comm_create_mpi_within(parent, strikes(NO_DEADLINE) ? NAN : 1, &comm);
    const double seconds = clock_seconds() - begin;
    armed.fault = SOUND;
    bool good = is_expected(fault, status, seconds) && world_expect((comm != NULL) == (status == VKRING_OK), "status and result differ");
    vkring_comm_destroy(&comm);
    if (world_rank == world_size - 1 && (fault == NO_LINK || fault == NO_DUPLICATE)) { /* MPI_Finalize waits for it */
        MPI_Request request;
        PMPI_Comm_idup(parent, &late, &request);
        PMPI_Wait(&request, MPI_STATUS_IGNORE);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    good = world_expect(vkring_comm_create_mpi(MPI_COMM_WORLD, &comm) == VKRING_OK, "%s", vkring_last_error()->message) && good;
    vkring_comm_destroy(&comm);
    ck_assert(world_agrees(good));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("mpi create");
    TCase *tcase = tcase_create("faults");
    world_begin_without_device(&argc, &argv);
    tcase_add_loop_test(tcase, no_rank_has_a_communicator_unless_all_have, 0, FAULTS);
    suite_add_tcase(suite, tcase);
    const int result = suite_run(suite);
    MPI_Finalize();
    return result;
}
