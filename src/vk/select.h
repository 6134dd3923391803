/* SPDX-License-Identifier: MIT */
/** What physical devices are, which of them vkring can use and in what order, and the features it turns on. */
#ifndef VKRING_VK_SELECT_H
#define VKRING_VK_SELECT_H

#include "instance.h"
#include "limits.h"
#include "matrix_shapes.h"

#define NO_FAMILY UINT32_MAX

enum { VK_MOST_FAMILIES = 32 };

struct vk_candidate {
    VkPhysicalDevice physical;
    struct vkring_device_info info;
    uint8_t uuid[VK_UUID_SIZE];
    struct vk_limits limits;
    VkQueueFamilyProperties families[VK_MOST_FAMILIES];
    uint32_t family_count;
    uint32_t compute_family;
    uint32_t transfer_family; /* NO_FAMILY: none of its own */
    uint32_t timestamp_bits;  /* of the compute family */
    double tick_seconds;      /* of a timestamp, where a family writes any */
};

/** Features to enable at device creation, with the extensions: link `head` into VkDeviceCreateInfo. The structures point at each other: do
 * not copy.
 */
struct vk_features {
    VkPhysicalDeviceFeatures2 head;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceVulkan13Features v13;
    struct vk_matrix_features matrix;
    const char *extensions[3];
    uint32_t extension_count;
};

void vk_candidate_read(const struct vk_instance *instance, VkPhysicalDevice physical, struct vk_candidate *out_candidate);
/** Writes what the public description repeats of the limits. */
void vk_candidate_describe_limits(const struct vk_limits *limits, struct vkring_device_info *info);
/** All devices, best first. Free the result. */
enum vkring_status vk_candidates_list(const struct vk_instance *instance, struct vk_candidate **out_candidates, uint32_t *out_count);
/** What the device has of that which vkring uses. */
void vk_features_wanted(const struct vk_instance *instance, VkPhysicalDevice physical, struct vk_features *out_features);

#endif
