/* SPDX-License-Identifier: MIT */
/** What a test needs to start runs and watch them, new for each: what is left of messages in one communicator must not reach another. */
#ifndef VKRING_TESTS_ACTOR_H
#define VKRING_TESTS_ACTOR_H

#include "lossy_comm.h"
#include "world.h"

struct actor {
    const struct attention_case *c;
    vkring_comm *inner, *comm;
    struct lossy_rules rules;
    vkring_plan *plan;
    struct case_data data;
    struct case_session *session; /* closed, and set to null, by a test that wants its result */
    struct case_result blocking;  /* what blocking calls made of the tensors, once a test asked for it */
};

/** Collective. False on all ranks if it fails on one. device and c are borrowed. */
bool actor_enter(struct actor *actor, vkring_device *device, const struct attention_case *c);
/** Makes the blocking calls. Collective, like actor_enter. */
bool actor_block(struct actor *actor, vkring_device *device);
/** Not collective. Returns how many seconds destroying the plan and its communicators took. */
double actor_leave(struct actor *actor);

#endif
