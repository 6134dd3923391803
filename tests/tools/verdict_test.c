/* SPDX-License-Identifier: MIT */
/* Which rank speaks, and what status all end with, for what they heard of each other. */
#include "../../tools/verdict.h"

#include <string.h>

#include "../harness/suite.h"

enum state { FINE, USAGE, FAILED, SAW, TOLD, SILENT };

/* Reaches a verdict from one state for each rank; failures are alike only where they are of one state. */
static struct verdict reach(uint32_t size, const enum state *states)
{
    struct verdict_record records[8] = {0};
    bool arrived[8];
    for (uint32_t rank = 0; rank < size; rank++) {
        const enum state state = states[rank];
        arrived[rank] = state != SILENT;
        if (state != FINE && state != SILENT)
            records[rank] = (struct verdict_record){.status = state == USAGE ? EXIT_STATUS_USAGE : EXIT_STATUS_FAILED,
                                                    .of_peer = state == SAW || state == TOLD,
                                                    .told = state == TOLD,
                                                    .message_hash = (uint32_t)state};
    }
    return verdict_reach(records, arrived, size);
}

static void expect(const struct verdict *verdict, enum exit_status status, uint32_t speaker, bool named, uint32_t silent)
{
    ck_assert_int_eq(verdict->status, status);
    ck_assert_uint_eq(verdict->speaker, speaker);
    ck_assert_uint_eq(verdict->silent, silent);
    if (speaker != VKRING_NONE)
        ck_assert_int_eq(verdict->names_speaker, named);
}

START_TEST(nobody_speaks_where_nothing_failed)
{
    struct verdict verdict = reach(3, (enum state[]){FINE, FINE, FINE});
    expect(&verdict, EXIT_STATUS_DONE, VKRING_NONE, false, VKRING_NONE);
    verdict = reach(1, (enum state[]){FINE});
    expect(&verdict, EXIT_STATUS_DONE, VKRING_NONE, false, VKRING_NONE);
}
END_TEST

START_TEST(what_all_say_names_no_rank)
{
    struct verdict verdict = reach(3, (enum state[]){USAGE, USAGE, USAGE});
    expect(&verdict, EXIT_STATUS_USAGE, 0, false, VKRING_NONE);
    verdict = reach(1, (enum state[]){FAILED});
    expect(&verdict, EXIT_STATUS_FAILED, 0, false, VKRING_NONE);
}
END_TEST

START_TEST(the_lowest_that_failed_speaks)
{
    struct verdict verdict = reach(4, (enum state[]){FINE, FAILED, USAGE, FINE});
    expect(&verdict, EXIT_STATUS_FAILED, 1, true, VKRING_NONE);
    verdict = reach(4, (enum state[]){FINE, FINE, FINE, USAGE});
    expect(&verdict, EXIT_STATUS_USAGE, 3, true, VKRING_NONE);
}
END_TEST

START_TEST(who_failed_goes_before_who_saw_it)
{
    struct verdict verdict = reach(3, (enum state[]){SAW, SAW, FAILED});
    expect(&verdict, EXIT_STATUS_FAILED, 2, true, VKRING_NONE);
    verdict = reach(3, (enum state[]){FINE, SAW, SILENT});
    expect(&verdict, EXIT_STATUS_FAILED, 1, true, 2);
}
END_TEST

START_TEST(of_a_silent_rank_the_lowest_of_the_others_tells)
{
    struct verdict verdict = reach(3, (enum state[]){SILENT, FINE, FINE});
    expect(&verdict, EXIT_STATUS_FAILED, 1, true, 0);
    verdict = reach(3, (enum state[]){FINE, SILENT, SILENT});
    expect(&verdict, EXIT_STATUS_FAILED, 0, true, 1);
}
END_TEST

/* A rank that was stopped and goes on gets what others said in the meantime; they have spoken of it, and may be gone. */
START_TEST(who_is_told_of_itself_leaves_it_to_others)
{
    struct verdict verdict = reach(3, (enum state[]){TOLD, SAW, SAW});
    expect(&verdict, EXIT_STATUS_FAILED, 1, true, VKRING_NONE);
    verdict = reach(2, (enum state[]){TOLD, FAILED});
    expect(&verdict, EXIT_STATUS_FAILED, 1, true, VKRING_NONE);
    verdict = reach(3, (enum state[]){FINE, TOLD, SILENT});
    expect(&verdict, EXIT_STATUS_FAILED, 1, true, 2);
}
END_TEST

START_TEST(any_bar_is_written_over)
{
    const struct verdict_record records[2] = {{.status = EXIT_STATUS_DONE, .shows_bar = 1}, {.status = EXIT_STATUS_FAILED}};
    const bool arrived[2] = {true, true};
    struct verdict verdict = verdict_reach(records, arrived, 2);
    ck_assert(verdict.over_bar);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("verdict");
    suite_add(suite, "nobody speaks where nothing failed", nobody_speaks_where_nothing_failed);
    suite_add(suite, "what all say names no rank", what_all_say_names_no_rank);
    suite_add(suite, "the lowest that failed speaks", the_lowest_that_failed_speaks);
    suite_add(suite, "who failed goes before who saw it", who_failed_goes_before_who_saw_it);
    suite_add(suite, "of a silent rank the lowest of the others tells", of_a_silent_rank_the_lowest_of_the_others_tells);
    suite_add(suite, "who is told of itself leaves it to others", who_is_told_of_itself_leaves_it_to_others);
    suite_add(suite, "any bar is written over", any_bar_is_written_over);
    return suite_run(suite);
}
