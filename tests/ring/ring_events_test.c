/* SPDX-License-Identifier: MIT */
/* What a run says that it did: all of it, in order, within bounds, and what was under way when it failed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/clock.h>
#include <ring/plan.h>
#include <vkring/simulate.h>

#include "actor.h"

static vkring_device *device;

enum { MOST_EVENTS = 4096, TIMEOUT = 1 };

static const struct attention_case problem = {.name = "events",
                                              .seed = 31,
                                              .params = {.batch = 2,
                                                         .q_len = 127,
                                                         .kv_len = 200,
                                                         .heads = 2,
                                                         .head_dim = 16,
                                                         .sinks = true,
                                                         .backward = true,
                                                         .chunk_bytes = 4096,
                                                         .events = MOST_EVENTS,
                                                         .timeout_seconds = 60}};

/* Of the last run. */
static struct {
    struct vkring_event events[MOST_EVENTS];
    uint64_t count, dropped;
} listed;

static bool run(struct actor *actor, bool backward)
{
    const bool ran = case_start(actor->session, backward) == VKRING_OK && vkring_plan_wait(actor->plan) == VKRING_OK;
    vkring_plan_get_events(actor->plan, MOST_EVENTS, listed.events, &listed.count, &listed.dropped);
    return ran;
}

static bool is_of_compute_queue(enum vkring_event_kind kind)
{
    return kind >= VKRING_EVENT_FORWARD && kind <= VKRING_EVENT_APPLICATION;
}

static bool overlap(const struct vkring_event *a, const struct vkring_event *b)
{
    return a->begin_seconds < b->end_seconds && b->begin_seconds < a->end_seconds;
}

/* Finished, forward in time, and alone in its place. Of the compute queue all are in one place, and waits where none of them is. */
static bool is_in_order(uint64_t i)
{
    const struct vkring_event *event = &listed.events[i];
    bool good = world_expect(event->finished && event->end_seconds >= event->begin_seconds, "%s from %f to %f",
                             vkring_event_kind_string(event->kind), event->begin_seconds, event->end_seconds) &&
                world_expect(i == 0 || event->end_seconds >= listed.events[i - 1].end_seconds - 1e-3 || event->kind == VKRING_EVENT_WAIT,
                             "%s of step %u ended before what is before it", vkring_event_kind_string(event->kind), event->step);
    for (uint64_t j = 0; good && j < i; j++) {
        const struct vkring_event *before = &listed.events[j];
        const bool both = is_of_compute_queue(event->kind) && is_of_compute_queue(before->kind);
        const bool queue_and_wait = (event->kind == VKRING_EVENT_WAIT && is_of_compute_queue(before->kind)) ||
                                    (before->kind == VKRING_EVENT_WAIT && is_of_compute_queue(event->kind));
        if (both || queue_and_wait || event->kind == before->kind)
            good = world_expect(!overlap(event, before), "%s and %s overlap", vkring_event_kind_string(event->kind),
                                vkring_event_kind_string(before->kind));
    }
    return good;
}

struct sums {
    uint64_t sent, received, uploaded, read_back;
    uint64_t largest_read_back; /* in a piece */
    double waited, computed;
    double busy; /* the compute queue */
};

static struct sums sum_up(void)
{
    struct sums sums = {0};
    for (uint64_t i = 0; i < listed.count; i++) {
        const struct vkring_event *event = &listed.events[i];
        const double seconds = event->end_seconds - event->begin_seconds;
        sums.sent += event->kind == VKRING_EVENT_SEND || event->kind == VKRING_EVENT_SEND_GRADIENTS ? event->bytes : 0;
        sums.received += event->kind == VKRING_EVENT_RECEIVE || event->kind == VKRING_EVENT_RECEIVE_GRADIENTS ? event->bytes : 0;
        sums.uploaded += event->kind == VKRING_EVENT_UPLOAD ? event->bytes : 0;
        if (event->kind == VKRING_EVENT_READBACK) {
            sums.read_back += event->bytes;
            sums.largest_read_back = max_u64(sums.largest_read_back, event->bytes);
        }
        sums.waited += event->kind == VKRING_EVENT_WAIT ? seconds : 0;
        sums.computed += event->device_seconds;
        sums.busy += is_of_compute_queue(event->kind) ? seconds : 0;
    }
    return sums;
}

static bool is_near(double a, double b)
{
    return a - b < 1e-6 && b - a < 1e-6;
}

enum { LATE_MS = 500 };

/* What kernels need not pack is read back piece by piece, so that the first is sent early. */
static bool is_read_back_in_pieces(const struct actor *actor, const struct sums *sums)
{
    struct vkring_plan_info info;
    vkring_plan_get_info(actor->plan, &info);
    const uint64_t piece = max_u64(problem.params.chunk_bytes, info.packet_bytes / 8 + 1);
    if (world_size == 1 || device->limits.unified_memory)
        return world_expect(sums->read_back == 0, "%llu bytes read back", (unsigned long long)sums->read_back);
    return world_expect(sums->read_back > info.packet_bytes / 2 && sums->read_back <= info.packet_bytes && sums->largest_read_back <= piece,
                        "%llu of %llu bytes read back, %llu at once", (unsigned long long)sums->read_back,
                        (unsigned long long)info.packet_bytes, (unsigned long long)sums->largest_read_back);
}

/* Of a FLOP a second: speeds that a run is found to have are those by which another is simulated. */
static bool is_simulated(const struct attention_case *c, const struct vkring_run_stats *stats, bool backward)
{
    enum { MOST_RANKS = 8 };
    struct vkring_device_info info;
    struct vkring_simulation whole;
    struct vkring_simulated_result results[MOST_RANKS];
    vkring_device_get_info(device, &info);
    const struct vkring_simulated_rank rank = {.forward_flops = 1, .device = &info};
    const struct vkring_simulation_params params = {
        .problem = &c->params, .ranks = world_size, .rank = &rank, .rank_count = 1, .backward = backward};
    if (!world_expect(vkring_simulate(&params, &whole, NULL, results) == VKRING_OK, "%s", vkring_last_error()->message))
        return false;
    const double flop = results[world_rank].compute_seconds;
    return world_expect(fabs(stats->computed_flop - flop) < 1e-9 * flop, "%g FLOP, %g simulated", stats->computed_flop, flop);
}

/* Stats and events are two accounts of one run. The last rank comes late, so that rank 0 waits for its packet. */
START_TEST(events_add_up_to_the_stats)
{
    static struct actor actor;
    const bool backward = _i == 1;
    ck_assert(actor_enter(&actor, device, &problem));
    bool good = world_agrees(run(&actor, false));
    if (backward)
        good = good && world_agrees(run(&actor, false));
    if (world_rank == world_size - 1)
        clock_sleep(LATE_MS * 1e-3);
    const double begin = clock_seconds();
    good = good && run(&actor, backward);
    const double end = clock_seconds();
    struct vkring_run_stats stats;
    vkring_plan_get_stats(actor.plan, &stats);
    const struct sums sums = sum_up();
    good = good && world_expect(listed.count > 0 && listed.dropped == 0, "%llu events, %llu dropped", (unsigned long long)listed.count,
                                (unsigned long long)listed.dropped);
    for (uint64_t i = 0; good && i < listed.count; i++)
        good = is_in_order(i) &&
               world_expect(listed.events[i].begin_seconds >= begin && listed.events[i].end_seconds <= end, "out of the run");
    good = good && world_expect(sums.sent == stats.sent_bytes && sums.received == stats.received_bytes, "%llu and %llu bytes",
                                (unsigned long long)sums.sent, (unsigned long long)sums.received);
    good = good &&
           world_expect(is_near(sums.waited, stats.exposed_wait_seconds), "waited %g s, not %g", sums.waited, stats.exposed_wait_seconds);
    good =
        good && world_expect(is_near(sums.computed, stats.compute_seconds), "computed %g s, not %g", sums.computed, stats.compute_seconds);
    good = good && world_expect(world_size == 1 || (sums.uploaded > 0) == !device->limits.unified_memory, "%llu bytes uploaded",
                                (unsigned long long)sums.uploaded);
    good = good && is_read_back_in_pieces(&actor, &sums);
    good = good && is_simulated(&problem, &stats, backward);
    good = good && world_expect(!actor.comm->strays, "told others that it waits, in a sound run");
    good = good && world_expect(world_size == 1 || world_rank > 0 || sums.waited + sums.busy > LATE_MS * 1e-3 - 0.2,
                                "rank 0 waited %g s and worked for %g s", sums.waited, sums.busy);
    good = world_agrees(good);
    actor_leave(&actor);
    ck_assert(good);
}
END_TEST

START_TEST(the_latest_events_are_kept)
{
    static struct actor actor;
    struct attention_case c = problem;
    struct vkring_event few[3];
    uint64_t count, dropped;
    c.params.events = 5;
    ck_assert(actor_enter(&actor, device, &c));
    bool good = run(&actor, false);
    const uint64_t kept = listed.count;
    good = good && world_expect(kept == 5 || (kept < 5 && listed.dropped == 0), "%llu kept, %llu dropped", (unsigned long long)kept,
                                (unsigned long long)listed.dropped);
    vkring_plan_get_events(actor.plan, 0, NULL, &count, &dropped);
    good = good && world_expect(count == kept && dropped == listed.dropped, "%llu and %llu", (unsigned long long)count,
                                (unsigned long long)dropped);
    vkring_plan_get_events(actor.plan, 3, few, &count, &dropped);
    for (uint64_t i = 0; good && kept >= 3 && i < 3; i++)
        good = world_expect(memcmp(&few[i], &listed.events[kept - 3 + i], sizeof(few[i])) == 0, "not the latest");
    good = world_agrees(good);
    actor_leave(&actor);
    ck_assert(good);
}
END_TEST

START_TEST(too_many_events_are_refused)
{
    struct attention_case c = problem;
    vkring_plan *plan = NULL;
    c.params.events = ((uint64_t)1 << 24) + 1;
    ck_assert_int_eq(vkring_plan_create(device, NULL, &c.params, &plan), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(plan);
}
END_TEST

/* What the log gets. */
struct lines {
    int errors, infos;
    char error[600];
    bool tells_of_receive;
};

static void keep_line(void *user, enum vkring_log_level level, const char *message)
{
    struct lines *lines = user;
    lines->errors += level == VKRING_LOG_ERROR;
    lines->infos += level == VKRING_LOG_INFO;
    if (level == VKRING_LOG_ERROR)
        snprintf(lines->error, sizeof(lines->error), "%s", message);
    if (level == VKRING_LOG_INFO && strstr(message, "receive from rank 0") && strstr(message, "still under way"))
        lines->tells_of_receive = true;
}

static bool lists_pending_receive(void)
{
    for (uint64_t i = 0; i < listed.count; i++) {
        const struct vkring_event *event = &listed.events[i];
        if (!event->finished && event->kind == VKRING_EVENT_RECEIVE)
            return world_expect(event->peer == 0 && event->step == 1 && event->bytes == 4096, "rank %u, step %u, %llu bytes", event->peer,
                                event->step, (unsigned long long)event->bytes);
    }
    return world_expect(false, "no receive is under way");
}

/* Rank 0 sends one chunk of its packet and no more. */
START_TEST(a_failure_tells_what_was_under_way)
{
    static struct actor actor;
    struct lines lines = {0};
    const struct log log = device->log;
    ck_assert(actor_enter(&actor, device, &problem));
    bool good = world_agrees(run(&actor, false));
    actor.plan->timeout_seconds = TIMEOUT;
    actor.rules.lose = world_rank == 0;
    actor.rules.good_sends = world_rank == 0 ? actor.rules.sends + 1 : UINT64_MAX;
    device->log = (struct log){keep_line, &lines};
    const bool ran = run(&actor, false);
    device->log = log;
    const struct vkring_error *error = vkring_last_error();
    if (world_rank == 1)
        good = good &&
               world_expect(!ran && strstr(error->message, "rank 0 sent no keys for 1 s at step 1 (4096 of ") &&
                                strstr(error->message, "; last done: step "),
                            "'%s'", error->message) &&
               world_expect(lines.errors == 1 && lines.infos > 0 && strstr(lines.error, error->message), "%d errors, %d lines: '%s'",
                            lines.errors, lines.infos, lines.error) &&
               world_expect(lines.tells_of_receive, "the log does not tell of the receive") && lists_pending_receive();
    good = world_agrees(good);
    actor_leave(&actor);
    ck_assert(good);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("ring events");
    TCase *tcase = tcase_create("events");
    const struct vk_limit_overrides not_unified = {.no_unified_memory = true};
    device = world_begin(&argc, &argv);
    if (world_rank % 2) {
        vkring_device_destroy(&device);
        device = test_device_open(&not_unified);
    }
    tcase_add_loop_test(tcase, events_add_up_to_the_stats, 0, 2);
    tcase_add_test(tcase, the_latest_events_are_kept);
    tcase_add_test(tcase, too_many_events_are_refused);
    if (world_size > 1)
        tcase_add_test(tcase, a_failure_tells_what_was_under_way);
    suite_add_tcase(suite, tcase);
    return world_end(suite, &device, 1, NULL);
}
