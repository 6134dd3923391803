/* SPDX-License-Identifier: MIT */
#ifndef VKRING_VK_DEVICE_SPEED_H
#define VKRING_VK_DEVICE_SPEED_H

#include "device.h"

/** A guess at FLOP/s, for cutting work into short pieces. */
double vk_device_flops(const vkring_device *device);

#endif
