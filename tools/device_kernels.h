/* SPDX-License-Identifier: MIT */
/** Which kernels a device gets for usual problems, and why. */
#ifndef VKRING_TOOLS_DEVICE_KERNELS_H
#define VKRING_TOOLS_DEVICE_KERNELS_H

#include <jansson.h>
#include <stdio.h>

#include "failure.h"

/** Opens the device, which takes it through its self-test, and asks. Null on a failure. */
json_t *device_kernels(uint32_t index, struct failure *failure);
/** What device_kernels gave, as lines. */
void device_kernels_print(FILE *out, const json_t *kernels);

#endif
