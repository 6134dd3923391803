/* SPDX-License-Identifier: MIT */
/* The same again: same bits on every run, from two threads at once, and however finely the work is cut. */
#include <math.h>
#include <pthread.h>
#include <string.h>

#include <ring/plan.h>

#include "../harness/attention_case.h"
#include "../harness/opened_device.h"

static vkring_device *device;
static int types;

static const struct attention_case plain = {
    .name = "repeated",
    .seed = 5,
    .params = {.batch = 2, .q_len = 127, .kv_len = 200, .heads = 4, .kv_heads = 2, .head_dim = 64, .causal = true}};

static struct attention_case plain_of(int type)
{
    struct attention_case c = plain;
    c.params.type = (enum vkring_type)type;
    return c;
}

START_TEST(two_runs_give_the_same_bits)
{
    struct attention_case c = plain_of(_i % 3);
    struct case_data data;
    struct case_result first, second, other_plan;
    vkring_plan *plan = NULL;
    c.params.dispatch_seconds = _i >= 3 ? 1e-9 : 0;
    if (_i % 3 >= types)
        return;
    ck_assert(case_make_data(&c, &data));
    ck_assert_int_eq(vkring_plan_create(device, NULL, &c.params, &plan), VKRING_OK);
    ck_assert(case_run_plan(&c, device, plan, &data, &first));
    ck_assert(case_run_plan(&c, device, plan, &data, &second));
    ck_assert(case_run(&c, device, NULL, &data, &other_plan));
    ck_assert(case_same_bits(&c, &first, &second));
    ck_assert(case_same_bits(&c, &first, &other_plan));
    vkring_plan_destroy(&plan);
    case_free_result(&first);
    case_free_result(&second);
    case_free_result(&other_plan);
    case_free_data(&data);
}
END_TEST

/* A run that gave one result says nothing about the next: the plan keeps no trace of other inputs. */
START_TEST(a_plan_forgets_its_last_run)
{
    struct attention_case c = plain_of(VKRING_TYPE_F32), other = c;
    struct case_data data, other_data;
    struct case_result first, between, again;
    vkring_plan *plan = NULL;
    c.params.dispatch_seconds = other.params.dispatch_seconds = 1e-9;
    other.seed = 6;
    other.inputs = INPUTS_BLOCK_GAPS;
    ck_assert(case_make_data(&c, &data) && case_make_data(&other, &other_data));
    ck_assert_int_eq(vkring_plan_create(device, NULL, &c.params, &plan), VKRING_OK);
    ck_assert(case_run_plan(&c, device, plan, &data, &first));
    ck_assert(case_run_plan(&other, device, plan, &other_data, &between));
    ck_assert(case_run_plan(&c, device, plan, &data, &again));
    ck_assert(case_same_bits(&c, &first, &again));
    vkring_plan_destroy(&plan);
    case_free_result(&first);
    case_free_result(&between);
    case_free_result(&again);
    case_free_data(&data);
    case_free_data(&other_data);
}
END_TEST

START_TEST(work_is_cut_over_everything)
{
    struct attention_case c = plain_of(VKRING_TYPE_F32);
    vkring_plan *plan = NULL;
    c.params.dispatch_seconds = 1e-9;
    ck_assert_int_eq(vkring_plan_create(device, NULL, &c.params, &plan), VKRING_OK);
    ck_assert_uint_eq(plan->forward.tilings[0].boxes_batch, 2);
    ck_assert_uint_eq(plan->forward.tilings[0].boxes_heads, 4);
    if (plan->forward.tilings[0].tiles > 1)
        ck_assert_uint_gt(plan->forward.tilings[0].boxes_tiles, 1);
    ck_assert_uint_lt(plan->forward.tilings[0].keys, c.params.kv_len);
    vkring_plan_destroy(&plan);
}
END_TEST

struct worker {
    struct attention_case c;
    struct case_data data;
    struct case_result alone;
    bool passes;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    worker->passes = true;
    for (int i = 0; i < 5 && worker->passes; i++) {
        struct case_result result = {0};
        worker->passes = case_run(&worker->c, device, NULL, &worker->data, &result) && case_same_bits(&worker->c, &worker->alone, &result);
        case_free_result(&result);
    }
    return NULL;
}

START_TEST(plans_run_from_two_threads)
{
    struct worker workers[2] = {{.c = plain}, {.c = plain}};
    pthread_t threads[2];
    workers[1].c.seed = 99;
    workers[1].c.params.q_len = 65;
    workers[1].c.params.causal = false;
    workers[1].c.params.dispatch_seconds = 1e-9;
    for (int i = 0; i < 2; i++) {
        ck_assert(case_make_data(&workers[i].c, &workers[i].data));
        ck_assert(case_run(&workers[i].c, device, NULL, &workers[i].data, &workers[i].alone));
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        ck_assert(workers[i].passes);
        case_free_result(&workers[i].alone);
        case_free_data(&workers[i].data);
    }
}
END_TEST

/* 4 · batch · heads · kept pairs · (head_dim + value_dim) / 2 */
START_TEST(a_run_says_what_it_did)
{
    struct attention_case c = plain_of(VKRING_TYPE_F32);
    struct case_data data;
    struct case_result result;
    vkring_plan *plan = NULL;
    uint64_t done = 7, total = 0;
    double pairs = 0;
    c.params.value_dim = 16;
    for (int i = 0; i < 127; i++)
        pairs += i + 200 - 127 + 1;
    ck_assert(case_make_data(&c, &data));
    ck_assert_int_eq(vkring_plan_create(device, NULL, &c.params, &plan), VKRING_OK);
    ck_assert(case_run_plan(&c, device, plan, &data, &result));
    ck_assert_double_eq(result.stats.flop, 4.0 * 2 * 4 * pairs * (64 + 16) / 2);
    ck_assert_double_ge(result.stats.computed_flop, result.stats.flop);
    ck_assert_uint_eq(result.stats.steps, 1);
    ck_assert_uint_eq(result.stats.sent_bytes, 0);
    ck_assert_uint_eq(result.stats.received_bytes, 0);
    ck_assert(result.stats.total_seconds > 0);
    ck_assert(result.stats.compute_seconds >= 0 && result.stats.compute_seconds <= result.stats.total_seconds);
    vkring_plan_get_progress(plan, &done, &total);
    ck_assert_uint_gt(total, 0);
    ck_assert_uint_eq(done, total);
    ck_assert_uint_eq(result.info.ranks, 1);
    ck_assert_uint_eq(result.info.rank, 0);
    ck_assert_uint_eq(result.info.rows.query_rows, 127);
    ck_assert_uint_eq(result.info.rows.key_rows, 200);
    ck_assert_uint_eq(result.info.rows.query_spans[0].first + result.info.rows.key_spans[0].first, 0);
    ck_assert_uint_gt(strlen(result.info.kernel), 0);
    vkring_plan_destroy(&plan);
    case_free_result(&result);
    case_free_data(&data);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("repeat");
    TCase *bits = tcase_create("bits");
    struct vkring_device_info info;
    device = test_device_open(NULL);
    vkring_device_get_info(device, &info);
    types = info.f16 ? 3 : 1;
    tcase_add_loop_test(bits, two_runs_give_the_same_bits, 0, 6);
    suite_add_tcase(suite, bits);
    suite_add(suite, "bits", a_plan_forgets_its_last_run);
    suite_add(suite, "bits", plans_run_from_two_threads);
    suite_add(suite, "cut", work_is_cut_over_everything);
    suite_add(suite, "stats", a_run_says_what_it_did);
    return device_suite_run(suite, &device, 1);
}
