/* SPDX-License-Identifier: MIT */
/**
 * Devices that do in another order what Vulkan leaves them free to. lavapipe takes commands as they were recorded and submissions as they
 * came, so that a barrier or a semaphore that is missing does no harm there; and validation cannot tell, as kernels have addresses, not
 * buffers.
 */
#ifndef VKRING_TESTS_LOOSE_ORDER_H
#define VKRING_TESTS_LOOSE_ORDER_H

#include <vk/device.h>

/** What waits, once submitted, until something that was submitted too waits for it, or the host has looked for a while. */
enum late { LATE_COPIES, LATE_KERNELS };

/**
 * From now on device takes commands between two barriers last to first, and copies without barriers as if they had a queue of their own,
 * which is far ahead or far behind the one of kernels. All devices of a process have the same kind late, and the same driver. Until device
 * is destroyed; from any thread.
 */
void loose_order_install(vkring_device *device, enum late late);

#endif
