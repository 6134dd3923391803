/* SPDX-License-Identifier: MIT */
/** The Vulkan devices of this host. */
#ifndef VKRING_TOOLS_HOST_DEVICES_H
#define VKRING_TOOLS_HOST_DEVICES_H

#include "failure.h"

struct host_devices {
    struct vkring_device_info *infos; /**< in the library's order */
    uint32_t count;
};

/** count may become 0. Free the devices whatever is returned. */
bool host_devices_list(struct host_devices *devices, uint32_t rank, struct failure *failure);
void host_devices_free(struct host_devices *devices);

/**
 * The device of the process that is number `turn` on this host: the supported devices in turn, without the CPU as long as there is
 * another. Fails where there is no device at all; one that is not supported is returned where there is no other, for the library to say
 * why.
 */
bool host_devices_turn(const struct host_devices *devices, uint32_t turn, uint32_t *out_index, struct failure *failure);

/** Lists them and takes the wanted one, or where that is null, that of the turn. */
bool host_devices_choose(uint32_t rank, const uint32_t *wanted, uint32_t turn, uint32_t *out_index, struct failure *failure);

/** "discrete", "integrated", "virtual", "CPU" or "other". */
const char *device_kind_text(enum vkring_device_kind kind);
/** Other for any other text. */
enum vkring_device_kind device_kind_of(const char *text);

#endif
