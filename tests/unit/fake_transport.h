/* SPDX-License-Identifier: MIT */
/** A communicator's table of functions between threads of one process, with faults on demand. */
#ifndef VKRING_TESTS_FAKE_TRANSPORT_H
#define VKRING_TESTS_FAKE_TRANSPORT_H

#include <pthread.h>
#include <vkring/vkring.h>

enum { FAKE_MOST_RANKS = 8 };

struct fake_message;
struct fake_request;

/** What goes wrong with what one rank sends or starts; VKRING_NONE in `rank` for nothing. */
struct fake_fault {
    uint32_t rank;
    enum {
        FAKE_SHORT,
        FAKE_LONG,
        FAKE_LOST,
        FAKE_LATE,
        FAKE_SEND_FAILS,
        FAKE_TEST_FAILS,
        FAKE_NULL_REQUEST,
        FAKE_NEVER_TAKEN,
        FAKE_FLIPPED,
        FAKE_TWICE
    } kind;
    double seconds;      /**< how late */
    uint32_t good_sends; /**< go out as they are before */
};

struct fake_network {
    pthread_mutex_t lock;
    uint32_t size;
    struct fake_fault fault;
    struct fake_message *messages[FAKE_MOST_RANKS][FAKE_MOST_RANKS]; /* by sender, receiver; oldest first */
    struct fake_rank {
        struct fake_network *network;
        uint32_t rank;
        struct fake_request *abandoned;
        uint32_t live_requests;
        uint32_t abandoned_requests;
        uint32_t sends;
    } ranks[FAKE_MOST_RANKS];
};

void fake_network_init(struct fake_network *network, uint32_t size, struct fake_fault fault);
/** Frees what was never received. */
void fake_network_finish(struct fake_network *network);

/**
 * The table of one rank. Its destroy lets a last message arrive in the memory of every receive that was given up, as the contract allows,
 * and reads that of every send.
 */
struct vkring_comm_functions fake_table(struct fake_network *network, uint32_t rank);

#endif
