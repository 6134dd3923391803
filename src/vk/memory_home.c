/* SPDX-License-Identifier: MIT */
#include "memory_home.h"

#include <isa-l.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void read_host(char *name, size_t size)
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    memset(name, 0, size);
    if (file && !fgets(name, (int)size, file))
        *name = '\0';
    if (file)
        fclose(file);
    if (!*name)
        gethostname(name, size - 1);
}

uint64_t vk_memory_home(const vkring_device *device)
{
    char host[256];
    read_host(host, sizeof(host));
    const uint64_t home = crc64_ecma_refl(0, (const unsigned char *)host, sizeof(host));
    return device->limits.unified_memory ? home : crc64_ecma_refl(home, device->uuid, sizeof(device->uuid));
}
