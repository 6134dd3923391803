/* SPDX-License-Identifier: MIT */
/* The table of functions over MPI 3.1. MPI reports no dead peer: deadlines are the caller's, and nothing here waits but to be made. */
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <vkring/mpi.h>

#include "../base/clock.h"
#include "comm.h"

#define DEFAULT_TIMEOUT_SECONDS 300.0

/* In place of the first rank that failed. */
#define NO_RANK INT_MAX

struct mpi_request {
    MPI_Request handle;
    bool is_receive;
    uint32_t peer;
    struct mpi_request *next;
};

struct mpi_link {
    MPI_Comm comm;
    vkring_comm *owner;
    struct mpi_request *spare;     /* kept for later messages: after a few, starting one allocates nothing */
    struct mpi_request *abandoned; /* given up, and still MPI's */
    bool damaged; /* a request failed, or was given up and is still MPI's: freeing the communicator could wait for a peer */
    /* while it is made */
    bool unfinished;          /* MPI may still write to it */
    int failed, first_failed; /* this rank, or NO_RANK; the first of all */
};

static bool mpi_is_running(void)
{
    int initialized = 0;
    int finalized = 0;
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    return initialized && !finalized;
}

/* What MPI says about code, in one line; text has room for MPI_MAX_ERROR_STRING + 1 characters. */
static void describe(int code, char *text)
{
    int length = 0;
    if (MPI_Error_string(code, text, &length) != MPI_SUCCESS)
        length = 0;
    text[length] = '\0';
    for (int i = 0; i < length; i++) {
        if (text[i] == '\n')
            text[i] = ' ';
    }
}

static enum vkring_status fail_of_mpi(int code, const char *call, uint32_t peer)
{
    char text[MPI_MAX_ERROR_STRING + 1];
    describe(code, text);
    if (peer == VKRING_NONE)
        return status_fail(VKRING_ERROR_COMM, "%s failed: %s", call, text);
    return status_fail_at(VKRING_ERROR_COMM, peer, VKRING_NONE, "%s with rank %" PRIu32 " failed: %s", call, peer, text);
}

static struct mpi_request *request_take(struct mpi_link *link)
{
    struct mpi_request *request = link->spare;
    if (request)
        link->spare = request->next;
    else
        request = malloc(sizeof(*request));
    if (request)
        *request = (struct mpi_request){.handle = MPI_REQUEST_NULL};
    return request;
}

static void request_keep(struct mpi_request **list, struct mpi_request *request)
{
    request->next = *list;
    *list = request;
}

/* MPI counts in int. Callers cut what they send into chunks. */
static enum vkring_status check_size(uint64_t size_bytes, uint32_t peer)
{
    if (size_bytes > INT_MAX)
        return status_fail_at(VKRING_ERROR_INVALID_ARGUMENT, peer, VKRING_NONE,
                              "a message of %" PRIu64 " bytes is too large for MPI, which takes %d: choose smaller chunks", size_bytes,
                              INT_MAX);
    return VKRING_OK;
}

static enum vkring_status start(struct mpi_link *link, bool is_receive, void *data, uint64_t size_bytes, uint32_t peer, uint32_t tag,
                                void **out_request)
{
    enum vkring_status status;
    TRY(check_size(size_bytes, peer), fail);
    struct mpi_request *request = request_take(link);
    if (!request)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a message request");
    request->is_receive = is_receive;
    request->peer = peer;

    int code = is_receive ? MPI_Irecv(data, (int)size_bytes, MPI_BYTE, (int)peer, (int)tag, link->comm, &request->handle)
                          : MPI_Isend(data, (int)size_bytes, MPI_BYTE, (int)peer, (int)tag, link->comm, &request->handle);
    if (code != MPI_SUCCESS) {
        request_keep(&link->spare, request);
        link->damaged = true;
        return fail_of_mpi(code, is_receive ? "MPI_Irecv" : "MPI_Isend", peer);
    }
    *out_request = request;
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status link_send(void *context, const void *data, uint64_t size_bytes, uint32_t peer, uint32_t tag, void **out_request)
{
    return start(context, false, (void *)data, size_bytes, peer, tag, out_request);
}

static enum vkring_status link_receive(void *context, void *data, uint64_t size_bytes, uint32_t peer, uint32_t tag, void **out_request)
{
    return start(context, true, data, size_bytes, peer, tag, out_request);
}

static enum vkring_status fail_of_test(int code, const struct mpi_request *request)
{
    int class = code;
    MPI_Error_class(code, &class);
    if (class == MPI_ERR_TRUNCATE)
        return status_fail_at(VKRING_ERROR_PEER, request->peer, VKRING_NONE, "rank %" PRIu32 " sent a message longer than expected",
                              request->peer);
    return fail_of_mpi(code, request->is_receive ? "receiving" : "sending", request->peer);
}

/* Puts a request away that MPI no longer needs, or may still need. */
static void request_retire(struct mpi_link *link, struct mpi_request *request)
{
    request_keep(request->handle == MPI_REQUEST_NULL ? &link->spare : &link->abandoned, request);
}

static enum vkring_status link_test(void *context, void **request, bool *out_done, uint64_t *out_size_bytes)
{
    struct mpi_link *link = context;
    struct mpi_request *tested = *request;
    MPI_Status mpi_status;
    int done = 0;
    int bytes = 0;
    int code = MPI_Test(&tested->handle, &done, &mpi_status);
    if (code == MPI_SUCCESS && !done) {
        *out_done = false;
        return VKRING_OK;
    }
    if (code == MPI_SUCCESS && tested->is_receive)
        code = MPI_Get_count(&mpi_status, MPI_BYTE, &bytes);
    *request = NULL;
    request_retire(link, tested);
    if (code != MPI_SUCCESS) {
        link->damaged = true;
        return fail_of_test(code, tested);
    }
    *out_done = true;
    *out_size_bytes = (uint64_t)bytes;
    return VKRING_OK;
}

/*
 * Cancelling a receive never waits (MPI 3.1, 3.8.4) and mostly ends it at once, so that a message that comes late finds no memory to write
 * to. A send, or a receive whose message is half here, stays with MPI.
 */
static void link_abandon(void *context, void **request)
{
    struct mpi_link *link = context;
    struct mpi_request *abandoned = *request;
    int done = 0;
    *request = NULL;
    if (mpi_is_running()) {
        if (abandoned->is_receive)
            MPI_Cancel(&abandoned->handle);
        MPI_Test(&abandoned->handle, &done, MPI_STATUS_IGNORE);
    }
    link->damaged = link->damaged || !done;
    request_retire(link, abandoned);
}

static void free_list(struct mpi_request **list)
{
    while (*list) {
        struct mpi_request *next = (*list)->next;
        free(*list);
        *list = next;
    }
}

/* Whether MPI still has a request that was given up. */
static bool any_unfinished(struct mpi_link *link)
{
    bool unfinished = false;
    for (struct mpi_request *request = link->abandoned; request; request = request->next) {
        int done = 0;
        if (MPI_Test(&request->handle, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || !done)
            unfinished = true;
    }
    return unfinished;
}

/* Whether a message is here that nobody asked for. */
static bool any_unmatched(const struct mpi_link *link)
{
    int there = 0;
    return MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, link->comm, &there, MPI_STATUS_IGNORE) != MPI_SUCCESS || there;
}

/*
 * Not if a rank may wait for another in it, nor if messages are left that nobody asked for: Open MPI takes those that come after it is gone
 * for messages of the next communicator of the same number, and MPICH ends the process over those that are here.
 */
static bool can_be_freed(const struct mpi_link *link)
{
    return !link->damaged && !link->owner->failed && !link->owner->strays && !any_unmatched(link);
}

static void link_destroy(void *context)
{
    struct mpi_link *link = context;
    if (mpi_is_running()) {
        if (any_unfinished(link)) { /* left to MPI, which may still touch them */
            link->owner->scratch = NULL;
            link->owner->lines = NULL;
        }
        if (can_be_freed(link))
            MPI_Comm_free(&link->comm);
    }
    free_list(&link->spare);
    free_list(&link->abandoned);
    free(link);
}

static enum vkring_status check_parent(MPI_Comm comm)
{
    int is_inter = 0;
    if (!mpi_is_running())
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "MPI is not initialised, or already finalised");
    if (comm == MPI_COMM_NULL)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the MPI communicator is MPI_COMM_NULL");
    int code = MPI_Comm_test_inter(comm, &is_inter);
    if (code != MPI_SUCCESS)
        return fail_of_mpi(code, "MPI_Comm_test_inter", VKRING_NONE);
    if (is_inter)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "the MPI communicator is an intercommunicator");
    return VKRING_OK;
}

/* Creation ------------------------------------------------------------------------------------------------------------- */

/* What all ranks do together. */
static enum vkring_status wait_for_all(struct mpi_link *link, int code, MPI_Request *request, const char *call, double timeout_seconds)
{
    struct comm_backoff backoff = {0};
    const double start_seconds = clock_seconds();
    int done = 0;
    link->unfinished = code == MPI_SUCCESS;
    while (code == MPI_SUCCESS) {
        code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        link->unfinished = code != MPI_SUCCESS || !done;
        if (code == MPI_SUCCESS && done)
            return VKRING_OK;
        if (clock_seconds() - start_seconds >= timeout_seconds)
            return status_fail(VKRING_ERROR_TIMEOUT, "not every rank made a communicator within %g seconds", timeout_seconds);
        comm_backoff_pause(&backoff);
    }
    return fail_of_mpi(code, call, VKRING_NONE);
}

static enum vkring_status duplicate(MPI_Comm parent, struct mpi_link *link, double timeout_seconds)
{
    MPI_Request request = MPI_REQUEST_NULL;
    const int code = MPI_Comm_idup(parent, &link->comm, &request);
    return wait_for_all(link, code, &request, "MPI_Comm_idup", timeout_seconds);
}

static enum vkring_status make_comm(struct mpi_link *link, int rank, int size, vkring_comm **out_comm)
{
    enum vkring_status status;
    const struct vkring_comm_functions table = {
        .context = link,
        .rank = (uint32_t)rank,
        .size = (uint32_t)size,
        .send = link_send,
        .receive = link_receive,
        .test = link_test,
        .abandon = link_abandon,
        .destroy = link_destroy,
    };
    const int code = MPI_Comm_set_errhandler(link->comm, MPI_ERRORS_RETURN);
    if (code != MPI_SUCCESS)
        return fail_of_mpi(code, "MPI_Comm_set_errhandler", VKRING_NONE);
    TRY(vkring_comm_create(&table, out_comm), fail);
    link->owner = *out_comm;
    link->owner->fn_records_errors = true;
    return VKRING_OK;
fail:
    return status;
}

/* All ranks have a communicator, or none keeps its own. mine: how this one fared. */
static enum vkring_status agree(struct mpi_link *link, int rank, enum vkring_status mine, double timeout_seconds)
{
    enum vkring_status status;
    const struct vkring_error error = *vkring_last_error();
    MPI_Request request = MPI_REQUEST_NULL;
    link->failed = mine == VKRING_OK ? NO_RANK : rank;
    const int code = MPI_Iallreduce(&link->failed, &link->first_failed, 1, MPI_INT, MPI_MIN, link->comm, &request);
    status = wait_for_all(link, code, &request, "MPI_Iallreduce", timeout_seconds);
    if (mine != VKRING_OK)
        return status_fail_at(mine, error.rank, error.step, "%s", error.message);
    if (status == VKRING_OK && link->first_failed != NO_RANK)
        return status_fail_at(VKRING_ERROR_PEER, (uint32_t)link->first_failed, VKRING_NONE, "rank %d could not make its communicator",
                              link->first_failed);
    return status;
}

/* The duplicate, if there is one, stays: freeing it is collective. */
static void drop(struct mpi_link *link, vkring_comm **comm)
{
    if (*comm)
        (*comm)->fn.destroy = NULL;
    vkring_comm_destroy(comm);
    if (!link->unfinished)
        free(link);
}

enum vkring_status vkring_comm_create_mpi_within(MPI_Comm parent, double timeout_seconds, vkring_comm **out_comm)
{
    enum vkring_status status;
    vkring_comm *comm = NULL;
    int rank = 0, size = 0;
    const bool is_deadline = isfinite(timeout_seconds) && timeout_seconds >= 0;
    const double seconds = is_deadline && timeout_seconds > 0 ? timeout_seconds : DEFAULT_TIMEOUT_SECONDS;
    TRY(check_parent(parent), fail);
    MPI_Comm_rank(parent, &rank);
    MPI_Comm_size(parent, &size);
    struct mpi_link *link = calloc(1, sizeof(*link));
    if (!link)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a communicator");
    TRY(duplicate(parent, link, seconds), fail_link);
    status = is_deadline ? make_comm(link, rank, size, &comm)
                         : status_fail(VKRING_ERROR_INVALID_ARGUMENT, "timeout_seconds is negative or not finite");
    TRY(agree(link, rank, status, seconds), fail_link);
    *out_comm = comm;
    return VKRING_OK;
fail_link:
    drop(link, &comm);
fail:
    return status;
}

enum vkring_status vkring_comm_create_mpi(MPI_Comm comm, vkring_comm **out_comm)
{
    return vkring_comm_create_mpi_within(comm, DEFAULT_TIMEOUT_SECONDS, out_comm);
}
