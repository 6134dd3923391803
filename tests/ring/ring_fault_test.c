/* SPDX-License-Identifier: MIT */
/* A rank that stops, or whose messages are lost or spoilt: the others return in time and say where it went wrong. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <base/clock.h>
#include <ring/plan.h>

#include "lossy_comm.h"
#include "world.h"

static vkring_device *device;

enum { TIMEOUT = 1 };

static const struct attention_case sound = {
    .name = "faults",
    .seed = 1,
    .params = {.batch = 1, .q_len = 100, .kv_len = 200, .heads = 2, .head_dim = 16, .timeout_seconds = 60, .chunk_bytes = 4096}};

/* What a test of faults needs, new for each: what is left of messages in one communicator must not reach another. */
struct stage {
    vkring_comm *inner, *comm;
    struct lossy_rules rules;
    struct case_data data;
    vkring_plan *plan;
    struct case_result result;
    double seconds; /* of the last run */
    double deadline;
    bool ran;
};

static bool forward(struct stage *stage)
{
    double begin = clock_seconds();
    case_free_result(&stage->result);
    stage->ran = case_run_plan(&sound, device, stage->plan, &stage->data, &stage->result);
    stage->seconds = clock_seconds() - begin;
    return stage->ran;
}

/* With one good run, so that nothing is left to compile or to connect; only then the deadline is short. */
static bool set_stage(struct stage *stage)
{
    *stage = (struct stage){.inner = world_comm(), .rules = {.good_sends = UINT64_MAX}};
    bool set = lossy_comm_create(stage->inner, &stage->rules, &stage->comm) == VKRING_OK && case_make_data(&sound, &stage->data) &&
               vkring_plan_create(device, stage->comm, &sound.params, &stage->plan) == VKRING_OK;
    set = world_agrees(world_expect(set, "%s", vkring_last_error()->message)) && world_agrees(forward(stage));
    stage->deadline = world_deadline(TIMEOUT, stage->seconds);
    if (set)
        stage->plan->timeout_seconds = stage->deadline;
    return set;
}

/* Destroying never waits for a peer. */
static bool clear_stage(struct stage *stage)
{
    double begin = clock_seconds();
    vkring_plan_destroy(&stage->plan);
    vkring_comm_destroy(&stage->comm);
    vkring_comm_destroy(&stage->inner);
    case_free_result(&stage->result);
    case_free_data(&stage->data);
    return world_expect(clock_seconds() - begin < 1, "destroying took %.1f s", clock_seconds() - begin);
}

/* The run failed on this rank, in time, and the last error says where. */
static bool failed_in_time(const struct stage *stage, enum vkring_status expected, uint32_t culprit)
{
    const struct vkring_error *error = vkring_last_error();
    const bool told = expected == VKRING_ERROR_TIMEOUT && error->status == VKRING_ERROR_PEER; /* by one whose deadline came first */
    return world_expect(!stage->ran, "the run succeeded") &&
           world_expect(stage->seconds < 2 * stage->deadline, "the run took %.2f s", stage->seconds) &&
           world_expect(error->status == expected || told, "status %d: %s", error->status, error->message) &&
           world_expect(error->rank != VKRING_NONE && error->step != VKRING_NONE, "'%s' is of rank %u, step %u", error->message,
                        error->rank, error->step) &&
           world_expect(error->rank == culprit, "'%s' is of rank %u, not %u", error->message, error->rank, culprit);
}

/* The plan is dead, and says so at once; and no other is made of its communicator. */
static bool is_dead(struct stage *stage)
{
    vkring_plan *next = NULL;
    const double begin = clock_seconds();
    forward(stage);
    const enum vkring_status status = vkring_plan_create(device, stage->comm, &sound.params, &next);
    const double seconds = clock_seconds() - begin;
    vkring_plan_destroy(&next);
    return world_expect(!stage->ran && status == VKRING_ERROR_COMM && seconds < 1, "a dead plan %s, the next: status %d, after %.1f s",
                        stage->ran ? "ran" : "failed", status, seconds);
}

/* The sender whose messages are lost cannot know; the rank after it names it; all others wait for some rank before them, and are told. */
START_TEST(a_silent_rank_is_named)
{
    struct stage stage;
    const uint32_t silent = (uint32_t)_i % world_size;
    const uint64_t sends[] = {1, 3};
    ck_assert(set_stage(&stage));
    if (world_rank == silent) {
        stage.rules.good_sends = stage.rules.sends + sends[(uint32_t)_i / world_size];
        stage.rules.lose = true;
    }
    bool good = true;
    forward(&stage);
    if (world_rank != silent)
        good = failed_in_time(&stage, VKRING_ERROR_TIMEOUT, silent) && is_dead(&stage);
    good = world_agrees(good);
    ck_assert(world_agrees(clear_stage(&stage)) && good);
}
END_TEST

static bool is_right(struct stage *stage)
{
    return case_refer(&sound, &stage->data, &stage->result.info.rows) && case_judge(&sound, &stage->data, &stage->result);
}

/* Rank 0, which spoils what it sends, may have all it needs, and be done, before it can be told. */
static bool receiver_blames(struct stage *stage, enum vkring_status expected)
{
    forward(stage);
    bool good = world_rank == 0 && stage->ran ? is_right(stage) : failed_in_time(stage, expected, 0);
    good = world_expect(stage->seconds < 0.9 * stage->deadline, "it took %.2f s to tell", stage->seconds) && good &&
           (stage->ran || is_dead(stage));
    good = world_agrees(good);
    return world_agrees(clear_stage(stage)) && good;
}

START_TEST(a_flipped_bit_is_found)
{
    struct stage stage;
    ck_assert(set_stage(&stage));
    stage.rules.spoil = world_rank == 0;
    stage.rules.good_sends = stage.rules.sends + (uint64_t)_i;
    ck_assert(receiver_blames(&stage, VKRING_ERROR_PEER));
}
END_TEST

START_TEST(a_short_message_is_found)
{
    struct stage stage;
    ck_assert(set_stage(&stage));
    stage.rules.shorten = world_rank == 0;
    stage.rules.good_sends = stage.rules.sends + (uint64_t)_i;
    ck_assert(receiver_blames(&stage, VKRING_ERROR_PEER));
}
END_TEST

START_TEST(a_transport_that_fails_ends_the_run)
{
    struct stage stage;
    ck_assert(set_stage(&stage));
    stage.rules.fail = world_rank == 0;
    stage.rules.good_sends = stage.rules.sends + (uint64_t)_i;
    forward(&stage);
    bool good = true;
    if (world_rank == 0)
        good = (world_expect(!stage.ran && vkring_last_error()->status == VKRING_ERROR_COMM, "status %d: %s", vkring_last_error()->status,
                             vkring_last_error()->message) &&
                world_expect(stage.seconds < stage.deadline, "it took %.1f s", stage.seconds));
    else
        good = failed_in_time(&stage, VKRING_ERROR_PEER, 0) &&
               world_expect(stage.seconds < 0.9 * stage.deadline, "it took %.2f s", stage.seconds);
    good = world_agrees(good);
    ck_assert(world_agrees(clear_stage(&stage)) && good);
}
END_TEST

START_TEST(a_rank_that_is_silent_from_the_start_fails_the_plan)
{
    struct lossy_rules rules = {.lose = true, .good_sends = world_rank == 0 ? 0 : UINT64_MAX};
    struct vkring_plan_params params = sound.params;
    vkring_comm *inner = world_comm(), *comm = NULL;
    vkring_plan *plan = NULL;
    params.timeout_seconds = TIMEOUT;
    ck_assert_int_eq(lossy_comm_create(inner, &rules, &comm), VKRING_OK);
    double begin = clock_seconds();
    enum vkring_status status = vkring_plan_create(device, comm, &params, &plan);
    double seconds = clock_seconds() - begin;
    bool good = world_expect(status == VKRING_ERROR_TIMEOUT || world_rank == 0, "status %d", status) &&
                world_expect(seconds < TIMEOUT + 1, "it took %.2f s", seconds) &&
                world_expect(world_rank == 0 || vkring_last_error()->rank == 0, "'%s' is of rank %u", vkring_last_error()->message,
                             vkring_last_error()->rank);
    good = world_agrees(good);
    vkring_plan_destroy(&plan);
    vkring_comm_destroy(&comm);
    vkring_comm_destroy(&inner);
    ck_assert(good);
}
END_TEST

/* Stopped by the system, not by its network: it goes on when a survivor lets it, and finds that it is too late. */
START_TEST(a_stopped_rank_is_named)
{
    struct stage stage;
    const uint32_t stopped = world_size - 1;
    long process = (long)getpid();
    MPI_Comm survivors;
    ck_assert(set_stage(&stage));
    MPI_Comm_split(MPI_COMM_WORLD, world_rank == stopped, 0, &survivors);
    MPI_Bcast(&process, 1, MPI_LONG, (int)stopped, MPI_COMM_WORLD);
    bool good = true;
    if (world_rank == stopped) {
        raise(SIGSTOP);
        forward(&stage);
        good = world_expect(!stage.ran, "a late rank succeeded");
    } else {
        good = world_sees_stop(process);
        forward(&stage);
        good = failed_in_time(&stage, VKRING_ERROR_TIMEOUT, stopped) && good;
        MPI_Barrier(survivors);
        if (world_rank == 0)
            kill((pid_t)process, SIGCONT);
    }
    good = world_agrees(good);
    MPI_Comm_free(&survivors);
    ck_assert(world_agrees(clear_stage(&stage)) && good);
}
END_TEST

/* After all that. */
START_TEST(a_new_plan_works)
{
    struct stage stage;
    ck_assert(set_stage(&stage));
    ck_assert(world_agrees(is_right(&stage)));
    ck_assert(world_agrees(clear_stage(&stage)));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("ring faults");
    TCase *tcase = tcase_create("faults");
    const struct vk_limit_overrides not_unified = {.no_unified_memory = true};
    device = world_begin(&argc, &argv);
    if (world_rank % 2) { /* with uploads that may be under way */
        vkring_device_destroy(&device);
        device = test_device_open(&not_unified);
    }
    tcase_add_loop_test(tcase, a_silent_rank_is_named, 0, (int)(2 * world_size));
    tcase_add_loop_test(tcase, a_flipped_bit_is_found, 0, 3);
    tcase_add_loop_test(tcase, a_short_message_is_found, 0, 3);
    tcase_add_loop_test(tcase, a_transport_that_fails_ends_the_run, 0, 2);
    tcase_add_test(tcase, a_rank_that_is_silent_from_the_start_fails_the_plan);
    tcase_add_test(tcase, a_stopped_rank_is_named);
    tcase_add_test(tcase, a_new_plan_works);
    suite_add_tcase(suite, tcase);
    return world_end(suite, &device, 1, NULL);
}
