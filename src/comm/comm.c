/* SPDX-License-Identifier: MIT */
#include "comm.h"

#include <inttypes.h>
#include <stdlib.h>

static enum vkring_status check_table(const struct vkring_comm_functions *functions)
{
    if (!functions || !functions->send || !functions->receive || !functions->test || !functions->abandon)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "a communicator needs the functions send, receive, test and abandon");
    if (functions->rank >= functions->size)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "rank %" PRIu32 " is not one of %" PRIu32 " ranks", functions->rank,
                           functions->size);
    return VKRING_OK;
}

enum vkring_status vkring_comm_create(const struct vkring_comm_functions *functions, vkring_comm **out_comm)
{
    enum vkring_status status;
    TRY(check_table(functions), fail);

    struct vkring_comm *comm = calloc(1, sizeof(*comm));
    if (!comm)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a communicator");
    comm->fn = *functions;
    TRY(comm_scratch_take(comm, COMM_REFUSAL_BYTES), fail_comm);
    *out_comm = comm;
    return VKRING_OK;
fail_comm:
    free(comm);
fail:
    return status;
}

void vkring_comm_destroy(vkring_comm **comm)
{
    if (!comm || !*comm)
        return;
    comm_lines_hang_up(*comm);
    if ((*comm)->fn.destroy)
        (*comm)->fn.destroy((*comm)->fn.context);
    comm_lines_free(*comm);
    free((*comm)->scratch);
    free(*comm);
    *comm = NULL;
}

uint32_t vkring_comm_rank(const vkring_comm *comm)
{
    return comm->fn.rank;
}

uint32_t vkring_comm_size(const vkring_comm *comm)
{
    return comm->fn.size;
}

enum vkring_status comm_check_usable(const struct vkring_comm *comm)
{
    if (comm->failed)
        return status_fail(VKRING_ERROR_COMM, "the communicator cannot be used after a failure: messages of before may still arrive");
    return VKRING_OK;
}

/* The last error of a table's function that failed, at what, with peer. */
static enum vkring_status record(const struct vkring_comm *comm, enum vkring_status status, const char *what, uint32_t peer)
{
    if (status == VKRING_OK || comm->fn_records_errors)
        return status;
    return status_fail_at(status, peer, VKRING_NONE, "the application's communicator failed to %s with rank %" PRIu32 ": %s", what, peer,
                          vkring_status_string(status));
}

/* Null stands for "no request" on this side of the table. */
static enum vkring_status check_request(const void *request)
{
    if (!request)
        return status_fail(VKRING_ERROR_COMM, "the application's communicator started a message and gave a null request");
    return VKRING_OK;
}

enum vkring_status comm_send(struct vkring_comm *comm, const void *data, uint64_t bytes, uint32_t peer, enum comm_tag tag,
                             void **out_request)
{
    enum vkring_status status;
    *out_request = NULL;
    TRY(comm_check_usable(comm), fail);
    TRY(record(comm, comm->fn.send(comm->fn.context, data, bytes, peer, tag, out_request), "start a send", peer), fail);
    comm->sent_bytes += bytes;
    return check_request(*out_request);
fail:
    return status;
}

enum vkring_status comm_receive(struct vkring_comm *comm, void *data, uint64_t bytes, uint32_t peer, enum comm_tag tag, void **out_request)
{
    enum vkring_status status;
    *out_request = NULL;
    TRY(comm_check_usable(comm), fail);
    TRY(record(comm, comm->fn.receive(comm->fn.context, data, bytes, peer, tag, out_request), "start a receive", peer), fail);
    return check_request(*out_request);
fail:
    return status;
}

enum vkring_status comm_test(struct vkring_comm *comm, void **request, uint32_t peer, bool *out_done, uint64_t *out_bytes)
{
    *out_done = false;
    return record(comm, comm->fn.test(comm->fn.context, request, out_done, out_bytes), "finish a message", peer);
}

void comm_leave(struct vkring_comm *comm, void **request)
{
    if (*request)
        comm->fn.abandon(comm->fn.context, request);
    *request = NULL;
}

void comm_abandon(struct vkring_comm *comm, void **request)
{
    if (!*request)
        return;
    comm_leave(comm, request);
    comm->failed = true;
}
