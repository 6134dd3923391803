/* SPDX-License-Identifier: MIT */
#include "host_devices.h"

#include <stdlib.h>
#include <string.h>

bool host_devices_list(struct host_devices *devices, uint32_t rank, struct failure *failure)
{
    *devices = (struct host_devices){0};
    uint32_t capacity = 0;
    if (vkring_devices_list(NULL, 0, &capacity) != VKRING_OK)
        return fail_library(failure, rank);
    if (capacity == 0)
        return true;
    devices->infos = calloc(capacity, sizeof(*devices->infos));
    if (!devices->infos)
        return fail_memory(failure);
    if (vkring_devices_list(devices->infos, capacity, &devices->count) != VKRING_OK)
        return fail_library(failure, rank);
    devices->count = devices->count < capacity ? devices->count : capacity; /* one may have been plugged in */
    return true;
}

void host_devices_free(struct host_devices *devices)
{
    free(devices->infos);
    *devices = (struct host_devices){0};
}

static bool takes_turn(const struct vkring_device_info *info, bool cpu)
{
    return info->supported && (info->kind == VKRING_DEVICE_CPU) == cpu;
}

static uint32_t count_turns(const struct host_devices *devices, bool cpu)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < devices->count; i++)
        count += takes_turn(&devices->infos[i], cpu);
    return count;
}

bool host_devices_turn(const struct host_devices *devices, uint32_t turn, uint32_t *out_index, struct failure *failure)
{
    bool cpu = count_turns(devices, false) == 0;
    uint32_t count = count_turns(devices, cpu);
    if (devices->count == 0)
        return fail_run(failure, "no Vulkan device on this host");
    *out_index = 0;
    if (count == 0)
        return true;
    uint32_t left = turn % count;
    for (uint32_t i = 0; i < devices->count; i++) {
        if (takes_turn(&devices->infos[i], cpu) && left-- == 0) {
            *out_index = i;
            return true;
        }
    }
    return true;
}

bool host_devices_choose(uint32_t rank, const uint32_t *wanted, uint32_t turn, uint32_t *out_index, struct failure *failure)
{
    struct host_devices devices = {0};
    bool good = host_devices_list(&devices, rank, failure);
    if (good && !wanted)
        good = host_devices_turn(&devices, turn, out_index, failure);
    else if (good && *wanted >= devices.count)
        good = fail_run(failure, "device %u does not exist: this host has %u", *wanted, devices.count);
    else if (good)
        *out_index = *wanted;
    host_devices_free(&devices);
    return good;
}

const char *device_kind_text(enum vkring_device_kind kind)
{
    switch (kind) {
    case VKRING_DEVICE_DISCRETE:
        return "discrete";
    case VKRING_DEVICE_INTEGRATED:
        return "integrated";
    case VKRING_DEVICE_VIRTUAL:
        return "virtual";
    case VKRING_DEVICE_CPU:
        return "CPU";
    case VKRING_DEVICE_OTHER:
        break;
    }
    return "other";
}

enum vkring_device_kind device_kind_of(const char *text)
{
    static const enum vkring_device_kind kinds[] = {VKRING_DEVICE_DISCRETE, VKRING_DEVICE_INTEGRATED, VKRING_DEVICE_VIRTUAL,
                                                    VKRING_DEVICE_CPU};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(text, device_kind_text(kinds[i])) == 0)
            return kinds[i];
    return VKRING_DEVICE_OTHER;
}
