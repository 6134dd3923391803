/* SPDX-License-Identifier: MIT */
#ifndef VKRING_TESTS_NPY_FEEDFORWARD_H
#define VKRING_TESTS_NPY_FEEDFORWARD_H

#include <stdbool.h>

/** As npy_check, of a vkring feedforward that had these options. */
bool npy_check_feedforward(int count, char **words);

#endif
