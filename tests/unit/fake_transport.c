/* SPDX-License-Identifier: MIT */
#include "fake_transport.h"

#include <base/clock.h>
#include <stdlib.h>
#include <string.h>

struct fake_message {
    struct fake_message *next;
    uint32_t tag;
    uint64_t bytes;
    unsigned char data[];
};

struct fake_request {
    struct fake_request *next;
    unsigned char *data;
    uint64_t bytes;
    uint32_t peer;
    uint32_t tag;
    bool is_receive;
};

static bool faulty(const struct fake_rank *self, int kind)
{
    const struct fake_fault *fault = &self->network->fault;
    return fault->rank == self->rank && (int)fault->kind == kind && self->sends >= fault->good_sends;
}

static void post(struct fake_rank *self, const struct fake_request *request)
{
    uint64_t bytes = request->bytes;
    if (faulty(self, FAKE_LONG))
        bytes++;
    if (faulty(self, FAKE_SHORT) && bytes > 0)
        bytes--;
    struct fake_message *message = calloc(1, sizeof(*message) + bytes);
    message->tag = request->tag;
    message->bytes = bytes;
    if (request->bytes > 0)
        memcpy(message->data, request->data, bytes < request->bytes ? bytes : request->bytes);
    if (faulty(self, FAKE_FLIPPED))
        message->data[bytes - 1] ^= 1;
    struct fake_message **place = &self->network->messages[self->rank][request->peer];
    while (*place)
        place = &(*place)->next;
    *place = message;
}

static enum vkring_status start(struct fake_rank *self, struct fake_request request, void **out_request)
{
    struct fake_request *made = malloc(sizeof(*made));
    *made = request;
    self->live_requests++;
    *out_request = made;
    return VKRING_OK;
}

static enum vkring_status fake_send(void *context, const void *data, uint64_t bytes, uint32_t peer, uint32_t tag, void **out_request)
{
    struct fake_rank *self = context;
    struct fake_request request = {.data = (unsigned char *)data, .bytes = bytes, .peer = peer, .tag = tag};
    if (faulty(self, FAKE_SEND_FAILS))
        return VKRING_ERROR_COMM;
    if (faulty(self, FAKE_NULL_REQUEST))
        return VKRING_OK;
    if (faulty(self, FAKE_LATE))
        clock_sleep(self->network->fault.seconds);
    pthread_mutex_lock(&self->network->lock);
    if (!faulty(self, FAKE_LOST))
        post(self, &request);
    if (faulty(self, FAKE_TWICE))
        post(self, &request);
    pthread_mutex_unlock(&self->network->lock);
    self->sends++;
    return start(self, request, out_request);
}

static enum vkring_status fake_receive(void *context, void *data, uint64_t bytes, uint32_t peer, uint32_t tag, void **out_request)
{
    return start(context, (struct fake_request){.data = data, .bytes = bytes, .peer = peer, .tag = tag, .is_receive = true}, out_request);
}

/* The oldest message for a receive, taken out of its queue, or null. */
static struct fake_message *take(struct fake_rank *self, const struct fake_request *request)
{
    struct fake_message **place = &self->network->messages[request->peer][self->rank];
    while (*place && (*place)->tag != request->tag)
        place = &(*place)->next;
    struct fake_message *message = *place;
    if (message)
        *place = message->next;
    return message;
}

static enum vkring_status deliver(struct fake_request *request, struct fake_message *message, uint64_t *out_bytes)
{
    uint64_t bytes = message->bytes;
    if (bytes <= request->bytes && bytes > 0)
        memcpy(request->data, message->data, bytes);
    free(message);
    if (bytes > request->bytes)
        return VKRING_ERROR_PEER;
    *out_bytes = bytes;
    return VKRING_OK;
}

/* A send to a rank that takes nothing is never done; to others, at once. */
static bool send_is_done(const struct fake_rank *self, uint32_t peer)
{
    const struct fake_fault *fault = &self->network->fault;
    return !(fault->kind == FAKE_NEVER_TAKEN && fault->rank == peer);
}

static enum vkring_status fake_test(void *context, void **request, bool *out_done, uint64_t *out_bytes)
{
    struct fake_rank *self = context;
    struct fake_request *tested = *request;
    enum vkring_status status = VKRING_OK;
    if (faulty(self, FAKE_TEST_FAILS))
        return VKRING_ERROR_COMM;
    if (tested->is_receive) {
        pthread_mutex_lock(&self->network->lock);
        struct fake_message *message = take(self, tested);
        pthread_mutex_unlock(&self->network->lock);
        if (!message)
            return VKRING_OK;
        status = deliver(tested, message, out_bytes);
    } else if (!send_is_done(self, tested->peer)) {
        return VKRING_OK;
    }
    free(tested);
    *request = NULL;
    self->live_requests--;
    *out_done = status == VKRING_OK;
    return status;
}

static void fake_abandon(void *context, void **request)
{
    struct fake_rank *self = context;
    struct fake_request *abandoned = *request;
    abandoned->next = self->abandoned;
    self->abandoned = abandoned;
    self->live_requests--;
    self->abandoned_requests++;
    *request = NULL;
}

static void fake_destroy(void *context)
{
    struct fake_rank *self = context;
    volatile unsigned char last_read = 0;
    while (self->abandoned) {
        struct fake_request *request = self->abandoned;
        self->abandoned = request->next;
        if (request->is_receive)
            memset(request->data, 0xee, request->bytes);
        else if (request->bytes > 0)
            last_read = request->data[request->bytes - 1];
        free(request);
    }
    (void)last_read;
}

struct vkring_comm_functions fake_table(struct fake_network *network, uint32_t rank)
{
    return (struct vkring_comm_functions){
        .context = &network->ranks[rank],
        .rank = rank,
        .size = network->size,
        .send = fake_send,
        .receive = fake_receive,
        .test = fake_test,
        .abandon = fake_abandon,
        .destroy = fake_destroy,
    };
}

void fake_network_init(struct fake_network *network, uint32_t size, struct fake_fault fault)
{
    *network = (struct fake_network){.size = size, .fault = fault};
    pthread_mutex_init(&network->lock, NULL);
    for (uint32_t rank = 0; rank < size; rank++)
        network->ranks[rank] = (struct fake_rank){.network = network, .rank = rank};
}

void fake_network_finish(struct fake_network *network)
{
    for (uint32_t from = 0; from < network->size; from++) {
        for (uint32_t to = 0; to < network->size; to++) {
            while (network->messages[from][to]) {
                struct fake_message *next = network->messages[from][to]->next;
                free(network->messages[from][to]);
                network->messages[from][to] = next;
            }
        }
    }
    pthread_mutex_destroy(&network->lock);
}
