/* SPDX-License-Identifier: MIT */
#include "device_speed.h"

double vk_device_flops(const vkring_device *device)
{
    switch (device->info.kind) {
    case VKRING_DEVICE_CPU:
        return 2e10;
    case VKRING_DEVICE_DISCRETE:
        return 2e12;
    case VKRING_DEVICE_INTEGRATED:
    case VKRING_DEVICE_VIRTUAL:
    case VKRING_DEVICE_OTHER:
        break;
    }
    return 2e11;
}
