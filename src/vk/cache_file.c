/* SPDX-License-Identifier: MIT */
#include "cache_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "" for nowhere. */
static enum vkring_status folder_path(const char *cache_folder, char *out, size_t size)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length;
    if (cache_folder)
        length = snprintf(out, size, "%s", cache_folder);
    else if (xdg && *xdg == '/') /* the specification has relative ones ignored */
        length = snprintf(out, size, "%s/vkring", xdg);
    else if (home && *home)
        length = snprintf(out, size, "%s/.cache/vkring", home);
    else
        length = snprintf(out, size, "%s", "");
    if (length < 0 || (size_t)length >= size)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "cache_folder is too long");
    return VKRING_OK;
}

enum vkring_status cache_file_path(vkring_device *device, const char *cache_folder, const char *kind, char **out_path)
{
    enum vkring_status status;
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    char folder[PATH_MAX - 128], path[PATH_MAX], uuid[2 * VK_UUID_SIZE + 1];
    *out_path = NULL;
    TRY(folder_path(cache_folder, folder, sizeof(folder)), fail);
    if (!*folder)
        return VKRING_OK;
    device->instance.get_properties(device->physical, &properties);
    for (size_t i = 0; i < VK_UUID_SIZE; i++)
        snprintf(uuid + 2 * i, 3, "%02x", properties.properties.pipelineCacheUUID[i]);
    snprintf(path, sizeof(path), "%s/%s-%04x-%04x-%s", folder, kind, device->info.vendor_id, device->info.device_id, uuid);
    *out_path = strdup(path);
    if (!*out_path)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a path");
    return VKRING_OK;
fail:
    return status;
}

static bool make_folders(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%s", path);
    for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(folder, 0700) != 0 && errno != EEXIST)
            return false;
        *slash = '/';
    }
    return true;
}

bool cache_file_write(const char *path, const void *header, size_t header_bytes, const void *data, size_t bytes)
{
    char temporary[PATH_MAX + 8];
    bool good;
    snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    if (!make_folders(path))
        return false;
    int descriptor = mkstemp(temporary);
    if (descriptor < 0)
        return false;
    FILE *file = fdopen(descriptor, "wb");
    if (!file) {
        close(descriptor);
        unlink(temporary);
        return false;
    }
    good = fwrite(header, 1, header_bytes, file) == header_bytes && fwrite(data, 1, bytes, file) == bytes;
    good = fclose(file) == 0 && good;
    good = good && rename(temporary, path) == 0;
    if (!good)
        unlink(temporary);
    return good;
}
