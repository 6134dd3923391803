/* SPDX-License-Identifier: MIT */
/** Ranks agree on the problem, and on whether all of them are well, before the first byte of it moves. */
#ifndef VKRING_RING_AGREE_H
#define VKRING_RING_AGREE_H

#include "../attention/problem.h"
#include "../comm/comm.h"
#include "layout.h"

/**
 * Collective. mine: how this rank's own checks went; problem, layout and chunk_bytes are not looked at unless it is VKRING_OK.
 * Returns mine if that failed; VKRING_ERROR_PEER if another rank's did, naming the lowest; VKRING_ERROR_MISMATCH where parameters differ.
 */
enum vkring_status agree_on_problem(vkring_comm *comm, enum vkring_status mine, const struct problem *problem, const struct layout *layout,
                                    uint64_t chunk_bytes, double timeout_seconds);

/** Collective: the same for a later stage, which `doing` names. */
enum vkring_status agree_on_status(vkring_comm *comm, enum vkring_status mine, const char *doing, double timeout_seconds);

#endif
