/* SPDX-License-Identifier: MIT */
#include "actor.h"

#include <base/clock.h>

bool actor_enter(struct actor *actor, vkring_device *device, const struct attention_case *c)
{
    *actor = (struct actor){.c = c, .inner = world_comm(), .rules = {.good_sends = UINT64_MAX}};
    bool good = lossy_comm_create(actor->inner, &actor->rules, &actor->comm) == VKRING_OK && case_make_data(c, &actor->data) &&
                vkring_plan_create(device, actor->comm, &c->params, &actor->plan) == VKRING_OK;
    good = world_agrees(world_expect(good, "%s", vkring_last_error()->message));
    actor->session = good ? case_open(c, device, actor->plan, &actor->data) : NULL;
    return world_agrees(actor->session != NULL);
}

bool actor_block(struct actor *actor, vkring_device *device)
{
    return world_agrees(case_run_plan(actor->c, device, actor->plan, &actor->data, &actor->blocking));
}

double actor_leave(struct actor *actor)
{
    const double begin = clock_seconds();
    vkring_plan_destroy(&actor->plan);
    vkring_comm_destroy(&actor->comm);
    vkring_comm_destroy(&actor->inner);
    const double seconds = clock_seconds() - begin;
    case_close(actor->session, NULL);
    case_free_result(&actor->blocking);
    case_free_data(&actor->data);
    return seconds;
}
