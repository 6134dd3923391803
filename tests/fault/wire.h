/* SPDX-License-Identifier: MIT */
/**
 * A communicator's table of functions between processes of one host, over memory that they share, with one fault on demand.
 *
 * Each ordered pair of ranks has a ring of bytes that one process writes and one reads, so a process that is killed or stopped leaves no
 * lock behind and no half message. A message is done for its sender once it fits; a long one, on a wire where sends wait, once its
 * receiver takes it.
 */
#ifndef VKRING_TESTS_WIRE_H
#define VKRING_TESTS_WIRE_H

#include <stdatomic.h>

#include <vkring/vkring.h>

enum { WIRE_RANKS = 8, WIRE_TAGS = 7, WIRE_BYTES = 1 << 15, WIRE_SHORT_BYTES = 128, WIRE_UNTAKEN = 256 };

enum wire_fault_kind {
    WIRE_SOUND,
    /* of one message */
    WIRE_DROP,
    WIRE_DELAY,
    WIRE_SHORTEN,
    WIRE_DUPLICATE,
    WIRE_FLIP,
    WIRE_REFUSE, /* the transport fails to start it */
    /* of another call of a rank's transport */
    WIRE_REFUSE_RECEIVE, /* it fails to start to receive */
    WIRE_BREAK,          /* it fails when a message is done */
    /* of what else a rank stands on: not done here */
    WIRE_DEVICE, /* a call of Vulkan fails */
    WIRE_MEMORY, /* so does the allocator */
    /* of a rank, when it is about to send the message */
    WIRE_KILL,
    WIRE_STOP,
    WIRE_CUT, /* from here on nothing leaves it and nothing reaches it */
    WIRE_FAULTS
};

const char *wire_fault_name(enum wire_fault_kind kind);

struct wire_fault {
    enum wire_fault_kind kind;
    uint32_t rank;  /* the sender */
    uint32_t tag;   /* 0: of any */
    uint64_t nth;   /* of its messages of that tag, from when it was armed */
    double seconds; /* of a delay */
    uint64_t draw;  /* which bit, or how much is cut off */
};

struct wire_ring {
    atomic_uint_fast64_t written, read;       /* bytes, ever */
    atomic_uint_fast64_t taken[WIRE_UNTAKEN]; /* of message n at n % WIRE_UNTAKEN: n + 1 once it was received */
    unsigned char bytes[WIRE_BYTES];
};

/** In shared memory; zeros are an idle one. */
struct wire_net {
    struct wire_fault fault;
    bool sends_wait; /* those of more than WIRE_SHORT_BYTES, for their receivers; not what ranks agree on, which MPI takes for short */
    uint64_t live[WIRE_RANKS]; /* requests of each rank that are neither done nor given up */
    atomic_bool fired;
    uint32_t fired_peer, fired_tag;                 /* valid once fired */
    double fired_seconds;                           /* by clock_seconds */
    struct wire_ring rings[WIRE_RANKS][WIRE_RANKS]; /* by sender, receiver */
};

/** How many messages of each tag a rank has sent since it was armed; [0] is of all. And what it has begun to receive, and what was done. */
struct wire_counts {
    uint64_t sent[WIRE_TAGS], receives, done;
};

struct wire;

/** net and out_wire's target outlive the communicator. The fault waits until wire_arm. */
enum vkring_status wire_comm_create(struct wire_net *net, uint32_t rank, uint32_t ranks, struct wire **out_wire, vkring_comm **out_comm);
/** Counts from here. */
void wire_arm(struct wire *wire);
struct wire_counts wire_count(const struct wire *wire);
/** Says that the fault has happened, for those that do not happen here. */
void wire_note_fault(struct wire_net *net, uint32_t peer, uint32_t tag);

#endif
