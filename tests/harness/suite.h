/* SPDX-License-Identifier: MIT */
/** Running a Check suite the way all tests here do: in one process, a line for each failure and a closing line. */
#ifndef VKRING_TESTS_SUITE_H
#define VKRING_TESTS_SUITE_H

#include <check.h>
#include <stdint.h>

/** The exit status by which a test says that this machine cannot run it. */
#define TEST_SKIPPED 77

/** Runs the suite without forking (Vulkan and MPI do not survive a fork) and frees it. Returns main's exit status. */
int suite_run(Suite *suite);

/** A test case of the suite with one more test function; for suites that need no fixtures. */
void suite_add(Suite *suite, const char *name, const TTest *test);

/**
 * A loop over cases that come in several forms, of which this test has one. With VKRING_TEST_TURNS=1 each case has one form alone, the
 * forms in turn: for drivers whose compiler takes seconds for each.
 */
void add_loop_of_form(TCase *tcase, const TTest *test, int cases, int form, int forms);

/** The number in an environment variable, or otherwise if it is not set. */
uint64_t environment_number(const char *name, uint64_t otherwise);

#endif
