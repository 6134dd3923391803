/* SPDX-License-Identifier: MIT */
/** Whether the files that a vkring attend wrote are what the oracle makes of those that it read. */
#ifndef VKRING_TESTS_NPY_CHECK_H
#define VKRING_TESTS_NPY_CHECK_H

#include <stdbool.h>

#include <ref/compare.h>

/**
 * words are the options that vkring attend had, those that change nothing included. Inputs are rounded to the type that it had on the
 * device; every output among the options is judged by the gates of that type.
 */
bool npy_check(int count, char **words);

/** Forward's, of matrix units where the environment has VKRING_TEST_MATRICES. */
struct error_gate gate_of_results(enum vkring_type type);

#endif
