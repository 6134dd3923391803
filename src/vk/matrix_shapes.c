/* SPDX-License-Identifier: MIT */
#include "matrix_shapes.h"

#include <stdlib.h>
#include <string.h>

#ifdef VK_KHR_cooperative_matrix

static bool lists_extension(const VkExtensionProperties *extensions, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(extensions[i].extensionName, VK_MATRIX_EXTENSION) == 0)
            return true;
    return false;
}

bool vk_matrix_features_exist(const struct vk_instance *instance, VkPhysicalDevice physical)
{
    uint32_t count = 0;
    if (!instance->get_matrix_properties || instance->enumerate_extensions(physical, NULL, &count, NULL) != VK_SUCCESS)
        return false;
    VkExtensionProperties *extensions = calloc(count ? count : 1, sizeof(*extensions));
    const bool exists = extensions && instance->enumerate_extensions(physical, NULL, &count, extensions) >= VK_SUCCESS &&
                        lists_extension(extensions, count);
    free(extensions);
    return exists;
}

void *vk_matrix_features_link(struct vk_matrix_features *features)
{
    features->khr = (VkPhysicalDeviceCooperativeMatrixFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
    };
    return &features->khr;
}

void *vk_matrix_features_want(struct vk_matrix_features *features)
{
    vk_matrix_features_link(features);
    features->khr.cooperativeMatrix = VK_TRUE;
    return &features->khr;
}

bool vk_matrix_features_enabled(const struct vk_matrix_features *features)
{
    return features->khr.cooperativeMatrix;
}

static bool is_usable(const VkCooperativeMatrixPropertiesKHR *shape)
{
    return shape->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && shape->BType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
           shape->CType == VK_COMPONENT_TYPE_FLOAT32_KHR && shape->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
           shape->scope == VK_SCOPE_SUBGROUP_KHR && !shape->saturatingAccumulation;
}

static void add_shape(struct vk_limits *limits, struct vkring_matrix_shape shape)
{
    if (limits->matrix_shape_count < VKRING_MOST_MATRIX_SHAPES)
        limits->matrix_shapes[limits->matrix_shape_count++] = shape;
}

void vk_matrix_shapes_read(const struct vk_instance *instance, VkPhysicalDevice physical, struct vk_limits *limits)
{
    const PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR get =
        (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)instance->get_matrix_properties;
    uint32_t count = 0;
    if (get(physical, &count, NULL) != VK_SUCCESS)
        return;
    VkCooperativeMatrixPropertiesKHR *shapes = calloc(count ? count : 1, sizeof(*shapes));
    if (!shapes)
        return;
    for (uint32_t i = 0; i < count; i++)
        shapes[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (get(physical, &count, shapes) >= VK_SUCCESS)
        for (uint32_t i = 0; i < count; i++)
            if (is_usable(&shapes[i]))
                add_shape(limits, (struct vkring_matrix_shape){shapes[i].MSize, shapes[i].NSize, shapes[i].KSize});
    free(shapes);
}

#else

bool vk_matrix_features_exist(const struct vk_instance *instance, VkPhysicalDevice physical)
{
    (void)instance;
    (void)physical;
    return false;
}

void *vk_matrix_features_link(struct vk_matrix_features *features)
{
    (void)features;
    return NULL;
}

void *vk_matrix_features_want(struct vk_matrix_features *features)
{
    (void)features;
    return NULL;
}

bool vk_matrix_features_enabled(const struct vk_matrix_features *features)
{
    (void)features;
    return false;
}

void vk_matrix_shapes_read(const struct vk_instance *instance, VkPhysicalDevice physical, struct vk_limits *limits)
{
    (void)instance;
    (void)physical;
    (void)limits;
}

#endif
