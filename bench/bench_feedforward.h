/* SPDX-License-Identifier: MIT */
/** How fast the feed-forward layer is, forward and backward. */
#ifndef VKRING_BENCH_FEEDFORWARD_H
#define VKRING_BENCH_FEEDFORWARD_H

#include "bench_measure.h"

/** Measures a few layers on the setting's device, prints a line for each, and with --json writes all of them. */
bool bench_feedforward(struct bench_setting *setting, struct failure *failure);

#endif
