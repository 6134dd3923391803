/* SPDX-License-Identifier: MIT */
/* Runs that the application drives beside its own work: right, bounded, and no load on the machine while they wait. */
#include <stdio.h>
#include <sys/resource.h>

#include <base/clock.h>
#include <ring/plan.h>

#include "actor.h"

static vkring_device *device;

enum { TIMEOUT = 1, MOST_RANKS = 8 };

/* Sinks are summed over ranks at the very end; small chunks take many turns. */
static const struct attention_case with_sinks = {.name = "with sinks",
                                                 .seed = 21,
                                                 .params = {.batch = 2,
                                                            .q_len = 127,
                                                            .kv_len = 200,
                                                            .heads = 2,
                                                            .head_dim = 16,
                                                            .sinks = true,
                                                            .backward = true,
                                                            .chunk_bytes = 4096,
                                                            .timeout_seconds = 60}};
static const struct attention_case causal = {.name = "causal",
                                             .seed = 22,
                                             .params = {.batch = 1,
                                                        .q_len = 333,
                                                        .kv_len = 333,
                                                        .heads = 2,
                                                        .head_dim = 16,
                                                        .sinks = true,
                                                        .causal = true,
                                                        .layout = VKRING_LAYOUT_ZIGZAG,
                                                        .backward = true,
                                                        .timeout_seconds = 60}};

static bool enter(struct actor *actor, const struct attention_case *c)
{
    return actor_enter(actor, device, c) && actor_block(actor, device);
}

/* Destroying never waits for a peer, also with a run under way. */
static bool leave(struct actor *actor)
{
    const double seconds = actor_leave(actor);
    return world_agrees(world_expect(seconds < 1, "destroying took %.1f s", seconds));
}

static bool start(const struct actor *actor, bool backward)
{
    return world_expect(case_start(actor->session, backward) == VKRING_OK, "start: %s", vkring_last_error()->message);
}

static bool has_blocking_bits(struct actor *actor)
{
    struct case_result result = {0};
    bool same = case_close(actor->session, &result) &&
                world_expect(case_same_bits(actor->c, &actor->blocking, &result), "%s: not the bits of the blocking call", actor->c->name);
    actor->session = NULL;
    case_free_result(&result);
    return same;
}

/* One turn of each that has not ended, and some work of the application's own. */
static bool drive(struct actor *actors, int count)
{
    bool running = true, good = true;
    while (running && good) {
        running = false;
        for (int i = 0; i < count; i++) {
            bool done = true;
            good = good && world_expect(vkring_plan_test(actors[i].plan, &done) == VKRING_OK, "test: %s", vkring_last_error()->message);
            running = running || !done;
        }
        clock_sleep(1e-4);
    }
    return good;
}

/* Started in another order on every other rank, as nothing orders two communicators. */
START_TEST(an_application_overlaps_two_plans)
{
    struct actor actors[2];
    ck_assert(enter(&actors[0], &with_sinks) && enter(&actors[1], &causal));
    bool good = true;
    for (int backward = 0; backward < 2; backward++) {
        for (uint32_t i = 0; i < 2; i++)
            good = good && start(&actors[(i + world_rank) % 2], backward == 1);
        good = good && drive(actors, 2);
    }
    for (int i = 0; i < 2; i++)
        good = good && has_blocking_bits(&actors[i]);
    good = world_agrees(good);
    ck_assert(leave(&actors[0]) && leave(&actors[1]) && good);
}
END_TEST

static bool is_refused(enum vkring_status status, const char *what)
{
    return world_expect(status == VKRING_ERROR_INVALID_ARGUMENT, "%s: status %d", what, status);
}

/* And does the one that is under way no harm. */
START_TEST(a_second_run_is_refused)
{
    struct actor actor;
    vkring_plan *other = NULL, *third = NULL;
    struct case_session *of_other = NULL;
    uint64_t rows[MOST_RANKS];
    bool done = false;
    ck_assert(enter(&actor, &with_sinks));
    bool good = vkring_plan_create(device, actor.comm, &causal.params, &other) == VKRING_OK;
    struct case_data data;
    good = world_agrees(good && case_make_data(&causal, &data));
    ck_assert(good);
    of_other = case_open(&causal, device, other, &data);
    good = of_other && start(&actor, false);
    good = good && is_refused(case_start(actor.session, false), "forward again") &&
           is_refused(case_start(actor.session, true), "backward under way");
    good = good && is_refused(case_start(of_other, false), "another plan") &&
           is_refused(vkring_plan_create(device, actor.comm, &causal.params, &third), "a new plan") &&
           is_refused(vkring_shares_measure(device, actor.comm, &causal.params, rows, NULL), "measuring shares");
    good = good && world_expect(vkring_plan_test(other, &done) == VKRING_OK && done, "nothing is under way: %d", done);
    good = good && world_expect(vkring_plan_wait(actor.plan) == VKRING_OK, "%s", vkring_last_error()->message);
    good = good && start(&actor, true) && vkring_plan_wait(actor.plan) == VKRING_OK && has_blocking_bits(&actor);
    good = good && world_expect(case_start(of_other, false) == VKRING_OK && vkring_plan_wait(other) == VKRING_OK, "%s",
                                vkring_last_error()->message);
    good = world_agrees(good);
    case_close(of_other, NULL);
    case_free_data(&data);
    vkring_plan_destroy(&other);
    ck_assert(leave(&actor) && good);
}
END_TEST

START_TEST(nothing_under_way_is_done)
{
    struct actor actor;
    bool done = false;
    ck_assert(enter(&actor, &causal));
    bool good = world_expect(vkring_plan_wait(actor.plan) == VKRING_OK, "%s", vkring_last_error()->message);
    good = good && vkring_plan_test(actor.plan, &done) == VKRING_OK && done;
    good = world_agrees(good);
    ck_assert(leave(&actor) && good);
}
END_TEST

/* From now on a plan has a deadline that is soon: how soon, a run without fault says. */
static bool set_deadline(struct actor *actor, bool backward, double *out_deadline)
{
    const double begin = clock_seconds();
    const bool good = start(actor, backward) && vkring_plan_wait(actor->plan) == VKRING_OK;
    *out_deadline = actor->plan->timeout_seconds = world_deadline(TIMEOUT, clock_seconds() - begin);
    return world_agrees(good);
}

/* Test reaches the deadline as wait does; the plan is dead then. */
START_TEST(test_finds_a_silent_rank)
{
    struct actor actor;
    enum vkring_status status = VKRING_OK;
    bool done = false, good = true;
    double deadline;
    ck_assert(enter(&actor, &with_sinks) && set_deadline(&actor, _i == 1, &deadline));
    if (world_rank == 0) {
        actor.rules.good_sends = actor.rules.sends + 1;
        actor.rules.lose = true;
    }
    const double begin = clock_seconds();
    good = start(&actor, _i == 1);
    while (good && !done && status == VKRING_OK) {
        status = vkring_plan_test(actor.plan, &done);
        clock_sleep(0.01);
    }
    const double seconds = clock_seconds() - begin;
    const struct vkring_error *error = vkring_last_error();
    good = good && world_expect(seconds < 2 * deadline, "it took %.2f s", seconds);
    if (world_rank == 1)
        good = good && world_expect(status == VKRING_ERROR_TIMEOUT && error->rank == 0, "status %d: %s", status, error->message);
    if (world_rank != 0)
        good = good && world_expect(vkring_plan_test(actor.plan, &done) == VKRING_ERROR_INVALID_ARGUMENT, "the plan lives");
    good = world_agrees(good);
    ck_assert(leave(&actor) && good);
}
END_TEST

static bool test_for(struct actor *actor, double seconds)
{
    const double begin = clock_seconds();
    bool good = true, done;
    do {
        good = world_expect(vkring_plan_test(actor->plan, &done) == VKRING_OK, "%s", vkring_last_error()->message);
        clock_sleep(0.005);
    } while (good && clock_seconds() - begin < seconds);
    return good;
}

/* A pause longer than the deadline is not held against the last rank, which comes only after it. */
START_TEST(an_application_may_be_busy_elsewhere)
{
    struct actor actor;
    const bool last = world_rank == world_size - 1;
    ck_assert(enter(&actor, &causal));
    actor.plan->timeout_seconds = 0.5;
    bool good = last || start(&actor, false);
    if (!last) {
        good = good && test_for(&actor, 0.2);
        clock_sleep(0.8);
        good = good && test_for(&actor, 0);
    }
    actor.plan->timeout_seconds = 30;
    MPI_Barrier(MPI_COMM_WORLD);
    good = good && (!last || start(&actor, false));
    good = good && world_expect(vkring_plan_wait(actor.plan) == VKRING_OK, "%s", vkring_last_error()->message);
    good = world_agrees(good);
    ck_assert(leave(&actor) && good);
}
END_TEST

/* A transport may hold a message until somebody asks for it, as nobody does for the last words of ranks that waited for the last one. */
START_TEST(words_that_nobody_asks_for_hold_nothing_up)
{
    struct actor actor;
    bool good = true;
    ck_assert(enter(&actor, &causal));
    actor.rules.words_wait = true;
    for (int backward = 0; backward < 2; backward++) {
        actor.plan->timeout_seconds = 2 * TIMEOUT;
        if (world_rank == world_size - 1)
            clock_sleep(TIMEOUT);
        good = good && start(&actor, backward == 1);
        good = good && world_expect(vkring_plan_wait(actor.plan) == VKRING_OK, "%s", vkring_last_error()->message);
        good = world_agrees(good);
    }
    good = good && has_blocking_bits(&actor);
    vkring_plan_destroy(&actor.plan);
    good = good && world_expect(vkring_plan_create(device, actor.comm, &causal.params, &actor.plan) == VKRING_OK, "%s",
                                vkring_last_error()->message);
    good = world_agrees(good);
    ck_assert(leave(&actor) && good);
}
END_TEST

/* Peers run into their deadline, or had what they needed. With a new communicator all goes on. */
START_TEST(a_plan_is_destroyed_under_way)
{
    struct actor actor;
    double deadline;
    ck_assert(enter(&actor, &with_sinks) && set_deadline(&actor, _i % 2 == 1, &deadline));
    bool good = start(&actor, _i % 2 == 1);
    if (_i < 2 && world_rank > 0) {
        const double begin = clock_seconds();
        vkring_plan_wait(actor.plan);
        good = good && world_expect(clock_seconds() - begin < 2 * deadline, "it took %.1f s", clock_seconds() - begin);
        good = good && world_expect(world_rank > 1 || vkring_last_error()->rank == 0, "%s", vkring_last_error()->message);
    }
    good = leave(&actor) && world_agrees(good);
    ck_assert(good);
    ck_assert(enter(&actor, &with_sinks));
    ck_assert(leave(&actor));
}
END_TEST

static double thread_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + 1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* A second in which the last rank does not come. */
START_TEST(waiting_takes_no_core)
{
    struct actor actor;
    ck_assert(enter(&actor, &causal));
    const bool late = world_rank == world_size - 1;
    MPI_Barrier(MPI_COMM_WORLD);
    if (late)
        clock_sleep(1);
    const double begin = clock_seconds(), used = thread_seconds();
    bool good = start(&actor, false) && vkring_plan_wait(actor.plan) == VKRING_OK;
    const double waited = clock_seconds() - begin, share = (thread_seconds() - used) / waited;
    if (!late)
        printf("rank %u waited %.2f s at %.1f %% of a core\n", world_rank, waited, 100 * share);
    good = world_agrees(good && world_expect(late || share < 0.15, "%.0f %% of a core", 100 * share));
    ck_assert(leave(&actor) && good);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("ring start");
    TCase *tcase = tcase_create("start");
    const struct vk_limit_overrides not_unified = {.no_unified_memory = true};
    device = world_begin(&argc, &argv);
    if (world_rank % 2) { /* with uploads that may be under way */
        vkring_device_destroy(&device);
        device = test_device_open(&not_unified);
    }
    tcase_add_test(tcase, an_application_overlaps_two_plans);
    tcase_add_test(tcase, a_second_run_is_refused);
    tcase_add_test(tcase, nothing_under_way_is_done);
    if (world_size > 1) {
        tcase_add_test(tcase, an_application_may_be_busy_elsewhere);
        tcase_add_test(tcase, words_that_nobody_asks_for_hold_nothing_up);
        tcase_add_loop_test(tcase, test_finds_a_silent_rank, 0, 2);
        tcase_add_loop_test(tcase, a_plan_is_destroyed_under_way, 0, 4);
        tcase_add_test(tcase, waiting_takes_no_core);
    }
    suite_add_tcase(suite, tcase);
    return world_end(suite, &device, 1, NULL);
}
