/* SPDX-License-Identifier: MIT */
/* The rest of src/base: checked sizes, status and last error, the log, the clock. */
#include <pthread.h>
#include <string.h>

#include <base/checked.h>
#include <base/clock.h>
#include <base/log.h>
#include <base/status.h>

#include "../harness/suite.h"

START_TEST(sizes_that_fit)
{
    uint64_t out = 7;
    ck_assert(checked_add(UINT64_MAX - 1, 1, &out));
    ck_assert_uint_eq(out, UINT64_MAX);
    ck_assert(checked_multiply(UINT64_MAX / 3, 3, &out));
    ck_assert_uint_eq(out, UINT64_MAX / 3 * 3);
    ck_assert(checked_multiply(0, UINT64_MAX, &out));
    ck_assert_uint_eq(out, 0);
    ck_assert(checked_multiply(UINT64_MAX, 0, &out));
    ck_assert_uint_eq(out, 0);
    ck_assert(checked_align(13, 8, &out));
    ck_assert_uint_eq(out, 16);
    ck_assert(checked_align(16, 8, &out));
    ck_assert_uint_eq(out, 16);
    ck_assert(checked_align(UINT64_MAX, 1, &out));
    ck_assert_uint_eq(out, UINT64_MAX);
}
END_TEST

START_TEST(sizes_that_do_not_fit_leave_the_result)
{
    uint64_t out = 7;
    ck_assert(!checked_add(UINT64_MAX, 1, &out));
    ck_assert(!checked_multiply(UINT64_MAX / 3 + 1, 3, &out));
    ck_assert(!checked_multiply(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
    ck_assert(!checked_align(UINT64_MAX, 8, &out));
    ck_assert(!checked_product((uint64_t[]){UINT64_C(1) << 40, UINT64_C(1) << 20, 16}, 3, &out));
    ck_assert_uint_eq(out, 7);
}
END_TEST

START_TEST(products)
{
    uint64_t out = 7;
    ck_assert(checked_product((uint64_t[]){3, 5, 7}, 3, &out));
    ck_assert_uint_eq(out, 105);
    ck_assert(checked_product(NULL, 0, &out));
    ck_assert_uint_eq(out, 1);
    /* a zero anywhere makes the product 0, whatever the factors before it */
    ck_assert(checked_product((uint64_t[]){UINT64_MAX, UINT64_MAX, 0}, 3, &out));
    ck_assert_uint_eq(out, 0);
}
END_TEST

START_TEST(quotients_and_extremes)
{
    ck_assert_uint_eq(divide_up(0, 5), 0);
    ck_assert_uint_eq(divide_up(10, 5), 2);
    ck_assert_uint_eq(divide_up(11, 5), 3);
    ck_assert_uint_eq(divide_up(UINT64_MAX, 2), (UINT64_C(1) << 63));
    ck_assert_uint_eq(min_u64(2, 3), 2);
    ck_assert_uint_eq(max_u64(2, 3), 3);
}
END_TEST

static void *look_and_fail(void *seen)
{
    *(struct vkring_error *)seen = *vkring_last_error();
    status_fail(VKRING_ERROR_DEVICE, "of the other thread");
    return NULL;
}

START_TEST(last_error_belongs_to_its_thread)
{
    struct vkring_error seen = {.status = VKRING_ERROR_COMM};
    pthread_t thread;
    ck_assert_int_eq(status_fail_at(VKRING_ERROR_TIMEOUT, 3, 4, "rank %d is silent", 3), VKRING_ERROR_TIMEOUT);
    ck_assert_int_eq(pthread_create(&thread, NULL, look_and_fail, &seen), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(seen.status, VKRING_OK);
    ck_assert_uint_eq(seen.rank, VKRING_NONE);
    ck_assert_uint_eq(seen.step, VKRING_NONE);
    ck_assert_str_eq(seen.message, "");
    const struct vkring_error *ours = vkring_last_error();
    ck_assert_int_eq(ours->status, VKRING_ERROR_TIMEOUT);
    ck_assert_uint_eq(ours->rank, 3);
    ck_assert_uint_eq(ours->step, 4);
    ck_assert_str_eq(ours->message, "rank 3 is silent");
}
END_TEST

START_TEST(last_error_may_quote_the_one_before)
{
    status_fail(VKRING_ERROR_COMM, "inner");
    status_fail(VKRING_ERROR_PEER, "outer: %s", vkring_last_error()->message);
    ck_assert_str_eq(vkring_last_error()->message, "outer: inner");
    ck_assert_uint_eq(vkring_last_error()->rank, VKRING_NONE);
}
END_TEST

START_TEST(long_errors_are_cut)
{
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    status_fail(VKRING_ERROR_COMM, "%s", text);
    ck_assert_uint_eq(strlen(vkring_last_error()->message), sizeof(vkring_last_error()->message) - 1);
}
END_TEST

START_TEST(every_status_has_a_name_of_its_own)
{
    for (int a = VKRING_ERROR_TIMEOUT; a <= VKRING_OK; a++)
        for (int b = VKRING_ERROR_TIMEOUT; b < a; b++)
            ck_assert_str_ne(vkring_status_string((enum vkring_status)a), vkring_status_string((enum vkring_status)b));
    ck_assert_ptr_nonnull(vkring_status_string((enum vkring_status)1000));
    ck_assert_str_eq(vkring_version(), "0.1.0");
}
END_TEST

static enum vkring_status try_twice(enum vkring_status second, int *calls)
{
    enum vkring_status status;
    *calls += 1;
    TRY(VKRING_OK, out);
    *calls += 1;
    TRY(second, out);
    *calls += 1;
out:
    return status;
}

START_TEST(try_goes_to_its_label_on_failure)
{
    int calls = 0;
    ck_assert_int_eq(try_twice(VKRING_ERROR_COMM, &calls), VKRING_ERROR_COMM);
    ck_assert_int_eq(calls, 2);
    ck_assert_int_eq(try_twice(VKRING_OK, &calls), VKRING_OK);
    ck_assert_int_eq(calls, 5);
}
END_TEST

struct heard {
    int lines;
    enum vkring_log_level level;
    char message[2000];
};

static void listen(void *user, enum vkring_log_level level, const char *message)
{
    struct heard *heard = user;
    heard->lines++;
    heard->level = level;
    strcpy(heard->message, message);
}

START_TEST(log_lines_reach_the_callback)
{
    struct heard heard = {0};
    struct log log = {.callback = listen, .user = &heard};
    log_line(&log, VKRING_LOG_WARNING, "%s %d", "seven is", 7);
    ck_assert_int_eq(heard.lines, 1);
    ck_assert_int_eq(heard.level, VKRING_LOG_WARNING);
    ck_assert_str_eq(heard.message, "seven is 7");
    log_line(&(struct log){0}, VKRING_LOG_ERROR, "nobody listens");
    ck_assert_int_eq(heard.lines, 1);
}
END_TEST

START_TEST(the_clock_goes_forward)
{
    double before = clock_seconds();
    clock_sleep(0.02);
    double between = clock_seconds();
    clock_sleep(0);
    clock_sleep(-1);
    ck_assert(between - before >= 0.019);
    ck_assert(clock_seconds() >= between);
    ck_assert(clock_seconds() - between < 0.5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base");
    suite_add(suite, "sizes", sizes_that_fit);
    suite_add(suite, "sizes", sizes_that_do_not_fit_leave_the_result);
    suite_add(suite, "sizes", products);
    suite_add(suite, "sizes", quotients_and_extremes);
    suite_add(suite, "status", last_error_belongs_to_its_thread);
    suite_add(suite, "status", last_error_may_quote_the_one_before);
    suite_add(suite, "status", long_errors_are_cut);
    suite_add(suite, "status", every_status_has_a_name_of_its_own);
    suite_add(suite, "status", try_goes_to_its_label_on_failure);
    suite_add(suite, "log", log_lines_reach_the_callback);
    suite_add(suite, "clock", the_clock_goes_forward);
    return suite_run(suite);
}
