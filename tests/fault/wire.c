/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <base/clock.h>
#include <comm/comm.h>

struct frame {
    uint32_t tag;
    uint32_t reserved;
    uint64_t bytes, number;
    double due_seconds;
};

/* What came and is not yet wanted, oldest first. */
struct arrival {
    struct arrival *next;
    struct frame frame;
    unsigned char data[];
};

struct wire_request {
    bool is_receive;
    bool lost;            /* of a send: it is done, and goes nowhere */
    bool numbered, waits; /* of a send: it has its number; it is done only once it is taken */
    uint32_t peer, tag, copies;
    const void *from;
    void *to;
    uint64_t bytes, number;
    double due_seconds;
    unsigned char *spoilt; /* what is sent in place of the caller's bytes */
};

struct wire {
    struct wire_net *net;
    uint32_t rank, ranks;
    bool armed, cut;
    struct wire_counts counts;
    uint64_t numbers[WIRE_RANKS]; /* of the next message to each */
    struct arrival *arrived[WIRE_RANKS];
};

const char *wire_fault_name(enum wire_fault_kind kind)
{
    static const char *const names[WIRE_FAULTS] = {"sound",  "drop",  "delay",  "shorten", "duplicate", "flip", "refuse",
                                                   "deafen", "break", "device", "memory",  "kill",      "stop", "cut"};
    return names[kind];
}

static void copy_in(struct wire_ring *ring, uint64_t at, const void *data, uint64_t bytes)
{
    for (uint64_t done = 0, piece; done < bytes; done += piece) {
        const uint64_t place = (at + done) % WIRE_BYTES;
        piece = bytes - done < WIRE_BYTES - place ? bytes - done : WIRE_BYTES - place;
        memcpy(ring->bytes + place, (const char *)data + done, piece);
    }
}

static void copy_out(const struct wire_ring *ring, uint64_t at, void *data, uint64_t bytes)
{
    for (uint64_t done = 0, piece; done < bytes; done += piece) {
        const uint64_t place = (at + done) % WIRE_BYTES;
        piece = bytes - done < WIRE_BYTES - place ? bytes - done : WIRE_BYTES - place;
        memcpy((char *)data + done, ring->bytes + place, piece);
    }
}

static bool ring_write(struct wire_ring *ring, const struct frame *frame, const void *data)
{
    const uint64_t written = atomic_load(&ring->written), bytes = sizeof(*frame) + frame->bytes;
    if (written - atomic_load(&ring->read) + bytes > WIRE_BYTES)
        return false;
    copy_in(ring, written, frame, sizeof(*frame));
    copy_in(ring, written + sizeof(*frame), data, frame->bytes);
    atomic_store(&ring->written, written + bytes);
    return true;
}

static struct arrival *ring_read(struct wire_ring *ring)
{
    const uint64_t read = atomic_load(&ring->read);
    struct frame frame;
    if (atomic_load(&ring->written) == read)
        return NULL;
    copy_out(ring, read, &frame, sizeof(frame));
    struct arrival *arrival = calloc(1, sizeof(*arrival) + frame.bytes);
    if (!arrival)
        return NULL; /* until there is memory */
    arrival->frame = frame;
    copy_out(ring, read + sizeof(frame), arrival->data, frame.bytes);
    atomic_store(&ring->read, read + sizeof(frame) + frame.bytes);
    return arrival;
}

/* The oldest message for a receive, taken out of its queue; null if there is none, or it is not due yet. Others of its tag wait for it. */
static struct arrival *take(struct wire *wire, const struct wire_request *request)
{
    struct arrival **place = &wire->arrived[request->peer], *arrival;
    while (*place && (*place)->frame.tag != request->tag)
        place = &(*place)->next;
    arrival = *place;
    if (!arrival || arrival->frame.due_seconds > clock_seconds())
        return NULL;
    *place = arrival->next;
    atomic_store(&wire->net->rings[request->peer][wire->rank].taken[arrival->frame.number % WIRE_UNTAKEN], arrival->frame.number + 1);
    return arrival;
}

static void pull(struct wire *wire, uint32_t peer)
{
    struct arrival **end = &wire->arrived[peer];
    while (*end)
        end = &(*end)->next;
    for (struct arrival *next; !wire->cut && (next = ring_read(&wire->net->rings[peer][wire->rank])); end = &next->next)
        *end = next;
}

static bool strikes(struct wire *wire, uint32_t tag)
{
    const struct wire_fault *fault = &wire->net->fault;
    const bool of_calls = fault->kind >= WIRE_REFUSE_RECEIVE && fault->kind <= WIRE_MEMORY;
    if (!wire->armed || fault->kind == WIRE_SOUND || of_calls || fault->rank != wire->rank || (fault->tag && fault->tag != tag))
        return false;
    return wire->counts.sent[fault->tag] == fault->nth;
}

void wire_note_fault(struct wire_net *net, uint32_t peer, uint32_t tag)
{
    net->fired_peer = peer;
    net->fired_tag = tag;
    net->fired_seconds = clock_seconds();
    atomic_store(&net->fired, true);
}

/* Whether it is the turn of a call that is counted by itself. */
static bool fails(struct wire *wire, enum wire_fault_kind kind, uint64_t count, const struct wire_request *request)
{
    const struct wire_fault *fault = &wire->net->fault;
    if (!wire->armed || fault->kind != kind || fault->rank != wire->rank || fault->nth != count)
        return false;
    wire_note_fault(wire->net, request->peer, request->tag);
    wire->armed = false;
    return true;
}

static void spoil(struct wire_request *request, const struct wire_fault *fault)
{
    request->spoilt = malloc(request->bytes + 1);
    memcpy(request->spoilt, request->from, request->bytes);
    if (fault->kind == WIRE_FLIP && request->bytes)
        request->spoilt[fault->draw / 8 % request->bytes] ^= (unsigned char)(1u << fault->draw % 8);
    if (fault->kind == WIRE_SHORTEN && request->bytes)
        request->bytes = fault->draw % 2 ? request->bytes - 1 : fault->draw % request->bytes;
    request->from = request->spoilt;
}

/* False: the transport refuses the message. */
static bool strike(struct wire *wire, struct wire_request *request)
{
    const struct wire_fault *fault = &wire->net->fault;
    wire_note_fault(wire->net, request->peer, request->tag);
    switch (fault->kind) {
    case WIRE_DROP:
        request->lost = true;
        break;
    case WIRE_DELAY:
        request->due_seconds = clock_seconds() + fault->seconds;
        break;
    case WIRE_DUPLICATE:
        request->copies = 2;
        break;
    case WIRE_SHORTEN:
    case WIRE_FLIP:
        spoil(request, fault);
        break;
    case WIRE_REFUSE:
        return false;
    case WIRE_KILL:
        raise(SIGKILL);
        break;
    case WIRE_STOP:
        raise(SIGSTOP);
        break;
    case WIRE_CUT:
        wire->cut = true;
        break;
    default:
        break;
    }
    return true;
}

static enum vkring_status start(struct wire *wire, const struct wire_request *request, void **out_request)
{
    struct wire_request *started = malloc(sizeof(*started));
    if (!started)
        return VKRING_ERROR_OUT_OF_HOST_MEMORY;
    *started = *request;
    if (request->is_receive && fails(wire, WIRE_REFUSE_RECEIVE, wire->counts.receives++, request)) {
        free(started);
        return VKRING_ERROR_COMM;
    }
    const bool struck = !request->is_receive && strikes(wire, request->tag);
    if (struck && !strike(wire, started)) {
        free(started);
        wire->armed = false;
        return VKRING_ERROR_COMM;
    }
    if (!request->is_receive) {
        started->waits = wire->net->sends_wait && request->tag != COMM_TAG_AGREE && request->bytes > WIRE_SHORT_BYTES && !struck;
        started->lost |= wire->cut;
        wire->counts.sent[0]++;
        wire->counts.sent[request->tag]++;
    }
    wire->net->live[wire->rank]++;
    *out_request = started;
    return VKRING_OK;
}

static enum vkring_status wire_send(void *context, const void *data, uint64_t size_bytes, uint32_t peer, uint32_t tag, void **out_request)
{
    const struct wire_request request = {.peer = peer, .tag = tag, .copies = 1, .from = data, .bytes = size_bytes};
    return start(context, &request, out_request);
}

static enum vkring_status wire_receive(void *context, void *data, uint64_t size_bytes, uint32_t peer, uint32_t tag, void **out_request)
{
    const struct wire_request request = {.is_receive = true, .peer = peer, .tag = tag, .to = data, .bytes = size_bytes};
    return start(context, &request, out_request);
}

/* False: it does not fit yet. */
static bool push(struct wire *wire, struct wire_request *request)
{
    if (!request->numbered)
        request->number = wire->numbers[request->peer]++;
    request->numbered = true;
    const struct frame frame = {
        .tag = request->tag, .bytes = request->bytes, .number = request->number, .due_seconds = request->due_seconds};
    while (request->copies > 0 && !request->lost) {
        if (!ring_write(&wire->net->rings[wire->rank][request->peer], &frame, request->from))
            return false;
        request->copies--;
    }
    return true;
}

static bool is_sent(struct wire *wire, struct wire_request *request)
{
    if (!push(wire, request))
        return false;
    const atomic_uint_fast64_t *taken = &wire->net->rings[wire->rank][request->peer].taken[request->number % WIRE_UNTAKEN];
    return !request->waits || request->lost || atomic_load(taken) == request->number + 1;
}

static void retire(struct wire *wire, void **request)
{
    struct wire_request *retired = *request;
    free(retired->spoilt);
    free(retired);
    wire->net->live[wire->rank]--;
    *request = NULL;
}

static enum vkring_status wire_test(void *context, void **request, bool *out_done, uint64_t *out_size_bytes)
{
    struct wire *wire = context;
    struct wire_request *tested = *request;
    *out_done = false;
    if (!tested->is_receive) {
        if (!is_sent(wire, tested))
            return VKRING_OK;
        if (fails(wire, WIRE_BREAK, wire->counts.done++, tested))
            return VKRING_ERROR_COMM;
        *out_done = true;
        retire(wire, request);
        return VKRING_OK;
    }
    pull(wire, tested->peer);
    struct arrival *arrival = take(wire, tested);
    if (!arrival)
        return VKRING_OK;
    if (fails(wire, WIRE_BREAK, wire->counts.done++, tested)) {
        free(arrival);
        return VKRING_ERROR_COMM;
    }
    const bool fits = arrival->frame.bytes <= tested->bytes;
    if (fits)
        memcpy(tested->to, arrival->data, arrival->frame.bytes);
    *out_size_bytes = arrival->frame.bytes;
    *out_done = true;
    free(arrival);
    retire(wire, request);
    return fits ? VKRING_OK : VKRING_ERROR_PEER;
}

static void wire_abandon(void *context, void **request)
{
    retire(context, request);
}

static void wire_destroy(void *context)
{
    struct wire *wire = context;
    for (uint32_t peer = 0; peer < WIRE_RANKS; peer++)
        while (wire->arrived[peer]) {
            struct arrival *next = wire->arrived[peer]->next;
            free(wire->arrived[peer]);
            wire->arrived[peer] = next;
        }
    free(wire);
}

enum vkring_status wire_comm_create(struct wire_net *net, uint32_t rank, uint32_t ranks, struct wire **out_wire, vkring_comm **out_comm)
{
    struct wire *wire = calloc(1, sizeof(*wire));
    if (!wire)
        return VKRING_ERROR_OUT_OF_HOST_MEMORY;
    *wire = (struct wire){.net = net, .rank = rank, .ranks = ranks};
    const struct vkring_comm_functions functions = {
        .context = wire,
        .rank = rank,
        .size = ranks,
        .send = wire_send,
        .receive = wire_receive,
        .test = wire_test,
        .abandon = wire_abandon,
        .destroy = wire_destroy,
    };
    *out_wire = wire;
    enum vkring_status status = vkring_comm_create(&functions, out_comm);
    if (status != VKRING_OK)
        free(wire);
    return status;
}

void wire_arm(struct wire *wire)
{
    wire->armed = true;
    wire->counts = (struct wire_counts){0};
}

struct wire_counts wire_count(const struct wire *wire)
{
    return wire->counts;
}
