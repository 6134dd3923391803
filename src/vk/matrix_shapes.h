/* SPDX-License-Identifier: MIT */
/** VK_KHR_cooperative_matrix, where the headers know it: whether a device has it, and what its matrix units multiply; and the operations on
 * matrices of VK_NV_cooperative_matrix2. */
#ifndef VKRING_VK_MATRIX_SHAPES_H
#define VKRING_VK_MATRIX_SHAPES_H

#include "instance.h"
#include "limits.h"

#define VK_MATRIX_EXTENSION "VK_KHR_cooperative_matrix"
#define VK_MATRIX_OPERATIONS_EXTENSION "VK_NV_cooperative_matrix2"
#define VK_BFLOAT16_EXTENSION "VK_KHR_shader_bfloat16"

/** VkPhysicalDeviceShaderBfloat16FeaturesKHR, which is newer than Debian's headers. */
struct vk_bfloat16_features {
    VkStructureType type;
    void *next;
    VkBool32 has_type, has_dot_product, has_matrices;
};

/** Structures in the chain of features; empty where the headers are older than the extension. */
struct vk_matrix_features {
#ifdef VK_KHR_cooperative_matrix
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR khr;
#ifdef VK_NV_cooperative_matrix2
    VkPhysicalDeviceCooperativeMatrix2FeaturesNV nv;
    struct vk_bfloat16_features bfloat16;
#endif
#else
    int none;
#endif
};

/** Which extensions the device has, so that their structures may be linked. */
struct vk_matrix_extensions {
    bool matrices;
    bool operations; /* some of VK_NV_cooperative_matrix2 */
    bool bfloat16;   /* beside those */
};
struct vk_matrix_extensions vk_matrix_extensions_find(const struct vk_instance *instance, VkPhysicalDevice physical);

/** Prepares the structures to be filled in; what to link. */
void *vk_matrix_features_link(struct vk_matrix_extensions extensions, struct vk_matrix_features *features);
/** Prepares others to ask for what kernels use of the features that there are; what to link. */
void *vk_matrix_features_want(const struct vk_matrix_features *has, struct vk_matrix_features *features);
bool vk_matrix_features_enabled(const struct vk_matrix_features *features);
/** Reductions, conversions and per-element operations: all or none are asked for. */
bool vk_matrix_operations_enabled(const struct vk_matrix_features *features);
/** Elements of bfloat16, beside operations. */
bool vk_matrix_bfloat16_enabled(const struct vk_matrix_features *features);

/** Fills in the shapes of f16 with sums in f32, the first ones where there are more than there is room for, and the largest of bfloat16. */
void vk_matrix_shapes_read(const struct vk_instance *instance, VkPhysicalDevice physical, struct vk_limits *limits);

#endif
