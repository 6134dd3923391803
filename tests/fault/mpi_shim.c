/* SPDX-License-Identifier: MIT */
#include "mpi_shim.h"

#include <mpi.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <base/clock.h>

enum { MOST_REQUESTS = 256 };

/* A message that goes out in place of the caller's, which is told that it has gone. */
struct parcel {
    struct parcel *next;
    MPI_Comm comm;
    MPI_Request request; /* once it was started */
    int peer, tag, bytes;
    bool started;
    double due_seconds;
    unsigned char data[];
};

/* A request that the caller has, by where it keeps it. */
struct known {
    const MPI_Request *place;
    bool is_receive;
    int peer, tag;
};

static struct {
    struct wire_net *net;
    uint32_t rank;
    bool armed, cut;
    struct wire_counts counts;
    struct parcel *parcels; /* oldest first */
    struct known known[MOST_REQUESTS];
} shim;

static struct known *known_at(const MPI_Request *place)
{
    for (int i = 0; i < MOST_REQUESTS; i++)
        if (shim.known[i].place == place)
            return &shim.known[i];
    return NULL;
}

static void note(const MPI_Request *place, bool is_receive, int peer, int tag)
{
    struct known *known = known_at(place);
    if (!known)
        known = known_at(NULL);
    if (!known)
        abort();
    *known = (struct known){place, is_receive, peer, tag};
}

/* Parcels ---------------------------------------------------------------------------------------------------------- */

static bool same_way(const struct parcel *parcel, int peer, int tag)
{
    return parcel->peer == peer && parcel->tag == tag;
}

/* Whether one that is not started yet goes the same way: messages must not overtake. */
static bool is_held_up(const struct parcel *end, int peer, int tag)
{
    for (const struct parcel *parcel = shim.parcels; parcel != end; parcel = parcel->next)
        if (!parcel->started && same_way(parcel, peer, tag))
            return true;
    return false;
}

static void start_due_parcels(void)
{
    for (struct parcel *parcel = shim.parcels; parcel; parcel = parcel->next) {
        if (parcel->started || parcel->due_seconds > clock_seconds() || is_held_up(parcel, parcel->peer, parcel->tag))
            continue;
        PMPI_Isend(parcel->data, parcel->bytes, MPI_BYTE, parcel->peer, parcel->tag, parcel->comm, &parcel->request);
        parcel->started = true;
    }
}

static void drop_parcels_that_went(void)
{
    for (struct parcel **place = &shim.parcels; *place;) {
        struct parcel *parcel = *place;
        int done = 0;
        if (parcel->started)
            PMPI_Test(&parcel->request, &done, MPI_STATUS_IGNORE);
        if (!done) {
            place = &parcel->next;
            continue;
        }
        *place = parcel->next;
        free(parcel);
    }
}

static void move_parcels(void)
{
    start_due_parcels();
    drop_parcels_that_went();
}

static struct parcel *post(const void *data, int bytes, int peer, int tag, MPI_Comm comm)
{
    struct parcel **end = &shim.parcels, *parcel = calloc(1, sizeof(*parcel) + (size_t)bytes);
    if (!parcel)
        abort();
    *parcel = (struct parcel){.comm = comm, .peer = peer, .tag = tag, .bytes = bytes};
    memcpy(parcel->data, data, (size_t)bytes);
    while (*end)
        end = &(*end)->next;
    *end = parcel;
    return parcel;
}

/* Faults ----------------------------------------------------------------------------------------------------------- */

static void set_down(const char *interface)
{
    struct ifreq request = {0};
    const int any = socket(AF_INET, SOCK_DGRAM, 0);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
    if (any < 0 || ioctl(any, SIOCGIFFLAGS, &request) != 0)
        abort();
    request.ifr_flags = (short)(request.ifr_flags & ~IFF_UP);
    if (ioctl(any, SIOCSIFFLAGS, &request) != 0)
        abort();
    close(any);
}

static void cut_off(void)
{
    const char *interface = getenv("TWO_HOSTS_LINK");
    if (interface)
        set_down(interface);
    else
        shim.cut = true;
}

static bool strikes(const struct wire_fault *fault, int tag)
{
    const bool of_calls = fault->kind >= WIRE_REFUSE_RECEIVE && fault->kind <= WIRE_MEMORY;
    if (!shim.armed || fault->kind == WIRE_SOUND || of_calls || fault->rank != shim.rank || (fault->tag && (int)fault->tag != tag))
        return false;
    return shim.counts.sent[fault->tag] == fault->nth;
}

static void spoil(struct parcel *parcel, const struct wire_fault *fault)
{
    const uint64_t bytes = (uint64_t)parcel->bytes;
    if (fault->kind == WIRE_FLIP && bytes)
        parcel->data[fault->draw / 8 % bytes] ^= (unsigned char)(1u << fault->draw % 8);
    if (fault->kind == WIRE_SHORTEN && bytes)
        parcel->bytes = (int)(fault->draw % 2 ? bytes - 1 : fault->draw % bytes);
}

/* What becomes of the message. False: MPI refuses it. */
static bool strike(const struct wire_fault *fault, const void *data, int bytes, int peer, int tag, MPI_Comm comm)
{
    if (fault->kind == WIRE_CUT)
        cut_off(); /* which may take the kernel a second, in which messages still come */
    wire_note_fault(shim.net, (uint32_t)peer, (uint32_t)tag);
    switch (fault->kind) {
    case WIRE_DELAY:
        post(data, bytes, peer, tag, comm)->due_seconds = clock_seconds() + fault->seconds;
        break;
    case WIRE_DUPLICATE:
        post(data, bytes, peer, tag, comm);
        post(data, bytes, peer, tag, comm);
        break;
    case WIRE_SHORTEN:
    case WIRE_FLIP:
        spoil(post(data, bytes, peer, tag, comm), fault);
        break;
    case WIRE_REFUSE:
        shim.armed = false;
        return false;
    case WIRE_KILL:
        raise(SIGKILL);
        break;
    case WIRE_STOP:
        raise(SIGSTOP);
        break;
    default:
        break;
    }
    return true;
}

/* Whether it is the turn of a call that is counted by itself. */
static bool fails(enum wire_fault_kind kind, uint64_t count, int peer, int tag)
{
    const struct wire_fault *fault = &shim.net->fault;
    if (!shim.armed || fault->kind != kind || fault->rank != shim.rank || fault->nth != count)
        return false;
    wire_note_fault(shim.net, (uint32_t)peer, (uint32_t)tag);
    shim.armed = false;
    return true;
}

/* MPI -------------------------------------------------------------------------------------------------------------- */

int MPI_Isend(const void *data, int bytes, MPI_Datatype type, int peer, int tag, MPI_Comm comm, MPI_Request *out_request)
{
    if (!shim.net)
        return PMPI_Isend(data, bytes, type, peer, tag, comm, out_request);
    const bool struck = strikes(&shim.net->fault, tag);
    shim.counts.sent[0]++;
    shim.counts.sent[tag]++;
    if (struck && !strike(&shim.net->fault, data, bytes, peer, tag, comm))
        return MPI_ERR_OTHER;
    note(out_request, false, peer, tag);
    if (!struck && !shim.cut && !is_held_up(NULL, peer, tag))
        return PMPI_Isend(data, bytes, type, peer, tag, comm, out_request);
    if (!struck && !shim.cut)
        post(data, bytes, peer, tag, comm);
    move_parcels();
    *out_request = MPI_REQUEST_NULL;
    return MPI_SUCCESS;
}

int MPI_Irecv(void *data, int bytes, MPI_Datatype type, int peer, int tag, MPI_Comm comm, MPI_Request *out_request)
{
    if (shim.net && fails(WIRE_REFUSE_RECEIVE, shim.counts.receives++, peer, tag))
        return MPI_ERR_OTHER;
    if (shim.net)
        note(out_request, true, peer, tag);
    return PMPI_Irecv(data, bytes, type, peer, tag, comm, out_request);
}

int MPI_Test(MPI_Request *request, int *out_done, MPI_Status *out_status)
{
    struct known *known = shim.net ? known_at(request) : NULL;
    move_parcels();
    if (known && known->is_receive && shim.cut) {
        *out_done = 0;
        return MPI_SUCCESS;
    }
    const int code = PMPI_Test(request, out_done, out_status);
    if (!known || code != MPI_SUCCESS || !*out_done)
        return code;
    known->place = NULL;
    return fails(WIRE_BREAK, shim.counts.done++, known->peer, known->tag) ? MPI_ERR_OTHER : code;
}

void mpi_shim_aim(struct wire_net *net, uint32_t rank)
{
    shim.net = net;
    shim.rank = rank;
    shim.armed = shim.cut = false;
    memset(shim.known, 0, sizeof(shim.known));
}

void mpi_shim_arm(void)
{
    shim.armed = true;
    shim.counts = (struct wire_counts){0};
}

struct wire_counts mpi_shim_count(void)
{
    return shim.counts;
}

void mpi_shim_settle(void)
{
    for (bool waits = true; waits; clock_sleep(0.001)) {
        waits = false;
        for (const struct parcel *parcel = shim.parcels; parcel; parcel = parcel->next)
            waits = waits || !parcel->started;
        move_parcels();
    }
}
