/* SPDX-License-Identifier: MIT */
/** VK_KHR_cooperative_matrix, where the headers know it: whether a device has it, and what its matrix units multiply. */
#ifndef VKRING_VK_MATRIX_SHAPES_H
#define VKRING_VK_MATRIX_SHAPES_H

#include "instance.h"
#include "limits.h"

#define VK_MATRIX_EXTENSION "VK_KHR_cooperative_matrix"

/** A structure in the chain of features; empty where the headers are older than the extension. */
struct vk_matrix_features {
#ifdef VK_KHR_cooperative_matrix
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR khr;
#else
    int none;
#endif
};

/** Whether the device has the extension, so that its structure may be linked. */
bool vk_matrix_features_exist(const struct vk_instance *instance, VkPhysicalDevice physical);
/** Prepares the structure to be filled in, or, the second, to ask for the feature; what to link. */
void *vk_matrix_features_link(struct vk_matrix_features *features);
void *vk_matrix_features_want(struct vk_matrix_features *features);
bool vk_matrix_features_enabled(const struct vk_matrix_features *features);

/** Fills in the shapes of f16 with sums in f32, the first ones where there are more than there is room for. */
void vk_matrix_shapes_read(const struct vk_instance *instance, VkPhysicalDevice physical, struct vk_limits *limits);

#endif
