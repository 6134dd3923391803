/* SPDX-License-Identifier: MIT */
/*
 * The pipeline cache in a file: a small header of our own, then what the driver gave. Drivers trust what they are handed, so a file that is
 * short, damaged, or of another device is not handed over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/crc32c.h"
#include "cache_file.h"
#include "pipeline.h"

#define MAGIC 0x43524b56u /* "VKRC" */
#define MAX_CACHE_BYTES ((uint64_t)256 << 20)

struct file_header {
    uint32_t magic;
    uint32_t checksum; /* CRC32C of the driver's bytes */
    uint64_t bytes;
};

static bool belongs_to(vkring_device *device, const void *data, size_t bytes)
{
    VkPipelineCacheHeaderVersionOne header;
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    if (bytes < sizeof(header))
        return false;
    memcpy(&header, data, sizeof(header));
    device->instance.get_properties(device->physical, &properties);
    return header.headerSize >= sizeof(header) && header.headerSize <= bytes &&
           header.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE && header.vendorID == properties.properties.vendorID &&
           header.deviceID == properties.properties.deviceID &&
           memcmp(header.pipelineCacheUUID, properties.properties.pipelineCacheUUID, VK_UUID_SIZE) == 0;
}

/* The driver's bytes of a sound file, to be freed; else null. */
static void *read_file(vkring_device *device, size_t *out_bytes, uint32_t *out_checksum)
{
    struct file_header header;
    void *data = NULL;
    FILE *file = fopen(device->pipeline_cache_path, "rb");
    if (!file)
        return NULL;
    if (fread(&header, sizeof(header), 1, file) == 1 && header.magic == MAGIC && header.bytes <= MAX_CACHE_BYTES)
        data = malloc(header.bytes + 1);
    if (data && (fread(data, 1, header.bytes + 1, file) != header.bytes || crc32c(0, data, header.bytes) != header.checksum ||
                 !belongs_to(device, data, header.bytes))) {
        free(data);
        data = NULL;
    }
    fclose(file);
    if (data) {
        *out_bytes = header.bytes;
        *out_checksum = header.checksum;
    } else
        log_line(&device->log, VKRING_LOG_INFO, "pipeline cache %s is damaged or of another driver: starting an empty one",
                 device->pipeline_cache_path);
    return data;
}

static VkResult create_cache(vkring_device *device, const void *data, size_t bytes)
{
    const VkPipelineCacheCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
        .initialDataSize = bytes,
        .pInitialData = data,
    };
    return device->fn.vkCreatePipelineCache(device->handle, &info, NULL, &device->pipeline_cache);
}

/* From the file, or empty where there is none that this driver takes. */
static VkResult load(vkring_device *device)
{
    size_t bytes = 0;
    uint32_t sum = 0;
    void *data = device->pipeline_cache_path ? read_file(device, &bytes, &sum) : NULL;
    if (!data)
        return create_cache(device, NULL, 0);
    VkResult result = create_cache(device, data, bytes);
    free(data);
    if (result != VK_SUCCESS)
        return create_cache(device, NULL, 0);
    device->pipeline_cache_checksum = sum;
    return VK_SUCCESS;
}

enum vkring_status vk_pipeline_cache_open(vkring_device *device, const char *cache_folder)
{
    enum vkring_status status;
    TRY(cache_file_path(device, cache_folder, "pipelines", &device->pipeline_cache_path), fail);
    status = vk_status(load(device), "vkCreatePipelineCache");
fail:
    return status;
}

static bool write_file(const char *path, const void *data, size_t bytes)
{
    const struct file_header header = {.magic = MAGIC, .checksum = crc32c(0, data, bytes), .bytes = bytes};
    return cache_file_write(path, &header, sizeof(header), data, bytes);
}

static void save(vkring_device *device)
{
    size_t bytes = 0;
    void *data = NULL;
    if (device->fn.vkGetPipelineCacheData(device->handle, device->pipeline_cache, &bytes, NULL) != VK_SUCCESS || bytes == 0 ||
        bytes > MAX_CACHE_BYTES)
        return;
    data = malloc(bytes);
    if (data && device->fn.vkGetPipelineCacheData(device->handle, device->pipeline_cache, &bytes, data) == VK_SUCCESS)
        if (crc32c(0, data, bytes) != device->pipeline_cache_checksum && !write_file(device->pipeline_cache_path, data, bytes))
            log_line(&device->log, VKRING_LOG_WARNING, "pipeline cache %s could not be written: %s", device->pipeline_cache_path,
                     strerror(errno));
    free(data);
}

void vk_pipeline_cache_close(vkring_device *device)
{
    if (device->pipeline_cache) {
        if (device->pipeline_cache_path)
            save(device);
        device->fn.vkDestroyPipelineCache(device->handle, device->pipeline_cache, NULL);
    }
    device->pipeline_cache = VK_NULL_HANDLE;
    free(device->pipeline_cache_path);
    device->pipeline_cache_path = NULL;
}
