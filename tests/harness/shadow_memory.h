/* SPDX-License-Identifier: MIT */
/**
 * Memory that is not coherent, where all is: the host has a copy of what it maps, full of poison at first, which flushing writes to the
 * memory and invalidating reads from it, in whole atoms, with all that lies beside.
 */
#ifndef VKRING_TESTS_SHADOW_MEMORY_H
#define VKRING_TESTS_SHADOW_MEMORY_H

#include <vk/device.h>

/** From now on, for buffers of device that are mapped and not coherent. All devices of a process have the same driver. From any thread. */
void shadow_memory_install(vkring_device *device);

#endif
