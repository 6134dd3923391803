/* SPDX-License-Identifier: MIT */
#include "suite.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

int suite_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    setvbuf(stdout, NULL, _IOLBF, 0);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

void suite_add(Suite *suite, const char *name, const TTest *test)
{
    TCase *tcase = tcase_create(name);
    tcase_add_test(tcase, test);
    suite_add_tcase(suite, tcase);
}

void add_loop_of_form(TCase *tcase, const TTest *test, int cases, int form, int forms)
{
    const bool turns = environment_number("VKRING_TEST_TURNS", 0) != 0;
    for (int i = turns ? form : 0; i < cases; i += turns ? forms : 1)
        tcase_add_loop_test(tcase, test, i, i + 1);
}

uint64_t environment_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}
