/* SPDX-License-Identifier: MIT */
/* A GPU as its limits describe it, and a problem for it: what kernels are chosen by. */
#ifndef VKRING_TESTS_DESCRIBED_GPU_H
#define VKRING_TESTS_DESCRIBED_GPU_H

#include <attention/problem.h>
#include <vk/device.h>

extern const struct problem described_problem;

/** Without matrix units, and with few registers. */
vkring_device described_gpu(void);

#endif
