/* SPDX-License-Identifier: MIT */
/** Whose memory a device lives off. */
#ifndef VKRING_VK_MEMORY_HOME_H
#define VKRING_VK_MEMORY_HOME_H

#include "device.h"

/**
 * The same number for two devices, of any processes, if what one takes the other lacks: that of the host where memory is unified, elsewhere
 * that of the device on its host. Hosts are told apart by the boot id of Linux, or by their names.
 */
uint64_t vk_memory_home(const vkring_device *device);

#endif
