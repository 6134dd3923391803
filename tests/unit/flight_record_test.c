/* SPDX-License-Identifier: MIT */
/* The latest events, the oldest first, and what is said of them. */
#include <ring/flight_record.h>

#include "../harness/suite.h"

static struct vkring_event event_of_step(uint32_t step, bool finished)
{
    return (struct vkring_event){.kind = VKRING_EVENT_UPLOAD, .step = step, .peer = VKRING_NONE, .finished = finished};
}

START_TEST(the_latest_stay)
{
    struct flight_record record;
    ck_assert_int_eq(flight_record_create(3, &record), VKRING_OK);
    ck_assert_uint_eq(flight_record_kept(&record), 0);
    ck_assert_ptr_null(flight_record_last(&record));
    for (uint32_t step = 0; step < 8; step++) {
        const struct vkring_event event = event_of_step(step, step != 7);
        flight_record_add(&record, &event);
        const uint64_t kept = step < 2 ? step + 1 : 3;
        ck_assert_uint_eq(flight_record_kept(&record), kept);
        for (uint64_t i = 0; i < kept; i++)
            ck_assert_uint_eq(flight_record_at(&record, i)->step, step + 1 - kept + i);
    }
    ck_assert_uint_eq(record.count, 8);
    ck_assert_uint_eq(flight_record_last(&record)->step, 6);
    flight_record_clear(&record);
    ck_assert_uint_eq(flight_record_kept(&record), 0);
    ck_assert_ptr_null(flight_record_last(&record));
    flight_record_destroy(&record);
    flight_record_destroy(&record);
}
END_TEST

static void expect_text(const struct vkring_event *event, const char *expected)
{
    char text[160];
    flight_record_describe(event, 100, text, sizeof(text));
    ck_assert_str_eq(text, expected);
}

START_TEST(an_event_is_one_line)
{
    struct vkring_event event = {
        .kind = VKRING_EVENT_RECEIVE, .finished = true, .step = 3, .peer = 2, .bytes = 4096, .begin_seconds = 100.25, .end_seconds = 101.5};
    expect_text(&event, "step 3, receive from rank 2, 4096 bytes, 0.250000 to 1.500000 s");
    event.kind = VKRING_EVENT_SEND_GRADIENTS;
    event.finished = false;
    expect_text(&event, "step 3, send of gradients to rank 2, 4096 bytes, 0.250000 and still under way at 1.500000 s");
    event = (struct vkring_event){
        .kind = VKRING_EVENT_WAIT, .finished = true, .peer = VKRING_NONE, .begin_seconds = 100, .end_seconds = 100.000001};
    expect_text(&event, "step 0, wait, 0.000000 to 0.000001 s");
}
END_TEST

START_TEST(every_kind_has_a_name)
{
    for (int kind = VKRING_EVENT_FORWARD; kind <= VKRING_EVENT_WAIT; kind++) {
        const char *name = vkring_event_kind_string((enum vkring_event_kind)kind);
        ck_assert_str_ne(name, "unknown event");
        for (int other = VKRING_EVENT_FORWARD; other < kind; other++)
            ck_assert_str_ne(name, vkring_event_kind_string((enum vkring_event_kind)other));
    }
    ck_assert_str_eq(vkring_event_kind_string((enum vkring_event_kind)0), "unknown event");
    ck_assert_str_eq(vkring_event_kind_string((enum vkring_event_kind)(VKRING_EVENT_WAIT + 1)), "unknown event");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flight record");
    suite_add(suite, "kept", the_latest_stay);
    suite_add(suite, "text", an_event_is_one_line);
    suite_add(suite, "names", every_kind_has_a_name);
    return suite_run(suite);
}
