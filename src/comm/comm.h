/* SPDX-License-Identifier: MIT */
/** Messages between ranks over a table of functions, every wait with a deadline. Knows src/base only. */
#ifndef VKRING_COMM_COMM_H
#define VKRING_COMM_COMM_H

#include "../base/status.h"

struct vkring_comm {
    struct vkring_comm_functions fn;
};

/** Tags. Messages of one tag between two ranks arrive in order. */
enum comm_tag { COMM_TAG_AGREE = 1, COMM_TAG_HEADER = 2, COMM_TAG_PACKET = 3 };

/**
 * Every rank gives bytes and gets those of all: all is size · bytes long, in rank order. Collective.
 * VKRING_ERROR_TIMEOUT when nothing arrives for timeout_seconds: the last error names the silent neighbour. Never waits longer than that
 * without progress. Backs off when idle: neither spins a core nor sleeps long.
 */
enum vkring_status comm_allgather(vkring_comm *comm, const void *mine, uint64_t bytes, void *all, double timeout_seconds);

/** A pause that starts at nothing and grows to 0.2 ms while nothing happens. Start it with { 0 } and again after each success. */
struct comm_backoff {
    uint32_t idle_rounds;
};
void comm_backoff_pause(struct comm_backoff *backoff);

#endif
