/* SPDX-License-Identifier: MIT */
/** Files in the user's cache folder that belong to one device with one driver. */
#ifndef VKRING_VK_CACHE_FILE_H
#define VKRING_VK_CACHE_FILE_H

#include "device.h"

/**
 * cache_folder/kind-VENDOR-DEVICE-UUID, the last being the driver's own identifier of its caches; to be freed. cache_folder: null for the
 * user's, "" for nowhere, which gives a null path.
 */
enum vkring_status cache_file_path(vkring_device *device, const char *cache_folder, const char *kind, char **out_path);

/** Puts data after header in the place of what the file was, all at once, and makes folders that are missing. errno tells why it failed. */
bool cache_file_write(const char *path, const void *header, size_t header_bytes, const void *data, size_t bytes);

#endif
