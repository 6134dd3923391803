/* SPDX-License-Identifier: MIT */
/** A round of a gather: a message to each other rank and one from each, behind seals that say which it is and that it is whole. */
#ifndef VKRING_COMM_GATHER_ROUND_H
#define VKRING_COMM_GATHER_ROUND_H

#include "comm.h"

/** How many requests of a round are still under way, and whether one has just ended. */
struct gather_round {
    uint32_t pending;
    bool progress;
};

/** Fails where blocks of all ranks have no size in 64 bits. */
enum vkring_status gather_check_blocks(const struct vkring_comm *comm, uint64_t block_bytes);
/** Scratch for blocks of at most block_bytes, blocks_bytes in all, and their messages; exchanges: each rank gets another. */
enum vkring_status gather_reserve(struct vkring_comm *comm, uint64_t block_bytes, uint64_t blocks_bytes, bool exchanges);
/** The same for a gather whose size and shares are set, with this rank's own block in its place. */
enum vkring_status gather_prepare(struct comm_gather *gather, const void *mine);
enum vkring_status gather_start_round(struct comm_gather *gather);
/** Puts what has come in its place. Errors: a message of another round or length, a damaged one, a refusal. */
enum vkring_status gather_poll_round(struct comm_gather *gather, struct gather_round *out_round);

#endif
