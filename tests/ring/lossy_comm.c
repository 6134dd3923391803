/* SPDX-License-Identifier: MIT */
#include "lossy_comm.h"

#include <stdlib.h>
#include <string.h>

#include <comm/comm.h>
#include <ring/packet.h>

struct lossy {
    vkring_comm *comm;
    const struct vkring_comm_functions *inner; /* of comm */
    struct lossy_rules *rules;
};

struct lossy_request {
    void *inner; /* null: the message is lost, which its sender cannot know */
    bool waits;  /* for ever */
    unsigned char *copy;
};

static enum vkring_status wrap(enum vkring_status status, struct lossy_request *request, void **out_request)
{
    if (status != VKRING_OK) {
        free(request->copy);
        free(request);
        return status;
    }
    *out_request = request;
    return VKRING_OK;
}

static bool is_word(const void *data, uint64_t size_bytes)
{
    struct packet_header header;
    if (size_bytes != sizeof(header))
        return false;
    memcpy(&header, data, sizeof(header));
    return packet_notice_of(&header, size_bytes) == PACKET_WAITING;
}

static enum vkring_status lossy_send(void *context, const void *data, uint64_t size_bytes, uint32_t peer, uint32_t tag, void **out_request)
{
    struct lossy *lossy = context;
    struct lossy_rules *rules = lossy->rules;
    struct lossy_request *request = calloc(1, sizeof(*request));
    const bool struck = rules->sends == rules->good_sends;
    if (!request)
        return VKRING_ERROR_OUT_OF_HOST_MEMORY;
    request->waits = rules->words_wait && is_word(data, size_bytes);
    if (request->waits || (rules->lose && rules->sends >= rules->good_sends))
        return wrap(VKRING_OK, request, out_request);
    rules->sends++;
    if (struck && rules->fail)
        return wrap(VKRING_ERROR_COMM, request, out_request);
    if (struck && (rules->spoil || rules->shorten) && size_bytes > 0) {
        request->copy = malloc(size_bytes);
        memcpy(request->copy, data, size_bytes);
        request->copy[size_bytes / 2] ^= rules->spoil ? 0x10 : 0;
        data = request->copy;
        size_bytes -= rules->shorten ? 1 : 0;
    }
    return wrap(lossy->inner->send(lossy->inner->context, data, size_bytes, peer, tag, &request->inner), request, out_request);
}

static enum vkring_status lossy_receive(void *context, void *data, uint64_t size_bytes, uint32_t peer, uint32_t tag, void **out_request)
{
    struct lossy *lossy = context;
    struct lossy_request *request = calloc(1, sizeof(*request));
    if (!request)
        return VKRING_ERROR_OUT_OF_HOST_MEMORY;
    return wrap(lossy->inner->receive(lossy->inner->context, data, size_bytes, peer, tag, &request->inner), request, out_request);
}

static enum vkring_status lossy_test(void *context, void **request, bool *out_done, uint64_t *out_size_bytes)
{
    struct lossy *lossy = context;
    struct lossy_request *tested = *request;
    *out_done = !tested->waits;
    if (tested->waits)
        return VKRING_OK;
    if (tested->inner) {
        enum vkring_status status = lossy->inner->test(lossy->inner->context, &tested->inner, out_done, out_size_bytes);
        if (status != VKRING_OK || !*out_done)
            return status;
    }
    free(tested->copy);
    free(tested);
    *request = NULL;
    return VKRING_OK;
}

/* The copy of a message that is given up is left to the transport. */
static void lossy_abandon(void *context, void **request)
{
    struct lossy *lossy = context;
    struct lossy_request *abandoned = *request;
    if (abandoned->inner)
        lossy->inner->abandon(lossy->inner->context, &abandoned->inner);
    free(abandoned);
    *request = NULL;
}

/* What was sent here and never asked for is as stray there, and must not reach a communicator that takes its place. */
static void lossy_destroy(void *context)
{
    struct lossy *lossy = context;
    lossy->comm->strays = true;
    free(lossy);
}

enum vkring_status lossy_comm_create(vkring_comm *inner, struct lossy_rules *rules, vkring_comm **out_comm)
{
    struct lossy *lossy = calloc(1, sizeof(*lossy));
    const struct vkring_comm_functions functions = {
        .context = lossy,
        .rank = vkring_comm_rank(inner),
        .size = vkring_comm_size(inner),
        .send = lossy_send,
        .receive = lossy_receive,
        .test = lossy_test,
        .abandon = lossy_abandon,
        .destroy = lossy_destroy,
    };
    if (!lossy)
        return VKRING_ERROR_OUT_OF_HOST_MEMORY;
    *lossy = (struct lossy){.comm = inner, .inner = &inner->fn, .rules = rules};
    return vkring_comm_create(&functions, out_comm);
}
