/* SPDX-License-Identifier: MIT */
#include "matrix_shapes.h"

#include <stdlib.h>
#include <string.h>

#ifdef VK_KHR_cooperative_matrix

static bool lists_extension(const VkExtensionProperties *extensions, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(extensions[i].extensionName, name) == 0)
            return true;
    return false;
}

struct vk_matrix_extensions vk_matrix_extensions_find(const struct vk_instance *instance, VkPhysicalDevice physical)
{
    struct vk_matrix_extensions found = {0};
    uint32_t count = 0;
    if (!instance->get_matrix_properties || instance->enumerate_extensions(physical, NULL, &count, NULL) != VK_SUCCESS)
        return found;
    VkExtensionProperties *extensions = calloc(count ? count : 1, sizeof(*extensions));
    if (extensions && instance->enumerate_extensions(physical, NULL, &count, extensions) >= VK_SUCCESS) {
        found.matrices = lists_extension(extensions, count, VK_MATRIX_EXTENSION);
        found.operations = found.matrices && lists_extension(extensions, count, VK_MATRIX_OPERATIONS_EXTENSION);
        found.bfloat16 = found.operations && lists_extension(extensions, count, VK_BFLOAT16_EXTENSION);
    }
    free(extensions);
    return found;
}

/* As the registry numbers them. */
#define STRUCTURE_TYPE_BFLOAT16_FEATURES ((VkStructureType)1000141000)
#define COMPONENT_TYPE_BFLOAT16 ((VkComponentTypeKHR)1000141000)

/* Without the structures that follow where they are wanted. */
static void *start_chain(struct vk_matrix_features *features)
{
    *features = (struct vk_matrix_features){.khr.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
    return &features->khr;
}

static void link_operations(struct vk_matrix_features *features)
{
#ifdef VK_NV_cooperative_matrix2
    features->nv.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV;
    features->khr.pNext = &features->nv;
#else
    (void)features;
#endif
}

/* After those of operations. */
static void link_bfloat16(struct vk_matrix_features *features)
{
#ifdef VK_NV_cooperative_matrix2
    features->bfloat16.type = STRUCTURE_TYPE_BFLOAT16_FEATURES;
    features->nv.pNext = &features->bfloat16;
#else
    (void)features;
#endif
}

void *vk_matrix_features_link(struct vk_matrix_extensions extensions, struct vk_matrix_features *features)
{
    void *first = start_chain(features);
    if (extensions.operations)
        link_operations(features);
    if (extensions.bfloat16)
        link_bfloat16(features);
    return first;
}

void *vk_matrix_features_want(const struct vk_matrix_features *has, struct vk_matrix_features *features)
{
    void *first = start_chain(features);
    features->khr.cooperativeMatrix = VK_TRUE;
#ifdef VK_NV_cooperative_matrix2
    if (vk_matrix_operations_enabled(has)) {
        link_operations(features);
        features->nv.cooperativeMatrixReductions = VK_TRUE;
        features->nv.cooperativeMatrixConversions = VK_TRUE;
        features->nv.cooperativeMatrixPerElementOperations = VK_TRUE;
    }
    if (vk_matrix_bfloat16_enabled(has)) {
        link_bfloat16(features);
        features->bfloat16.has_type = features->bfloat16.has_matrices = VK_TRUE;
    }
#else
    (void)has;
#endif
    return first;
}

bool vk_matrix_features_enabled(const struct vk_matrix_features *features)
{
    return features->khr.cooperativeMatrix;
}

bool vk_matrix_operations_enabled(const struct vk_matrix_features *features)
{
#ifdef VK_NV_cooperative_matrix2
    return features->nv.cooperativeMatrixReductions && features->nv.cooperativeMatrixConversions &&
           features->nv.cooperativeMatrixPerElementOperations;
#else
    (void)features;
    return false;
#endif
}

bool vk_matrix_bfloat16_enabled(const struct vk_matrix_features *features)
{
#ifdef VK_NV_cooperative_matrix2
    return vk_matrix_operations_enabled(features) && features->bfloat16.has_type && features->bfloat16.has_matrices;
#else
    (void)features;
    return false;
#endif
}

static bool is_usable(const VkCooperativeMatrixPropertiesKHR *shape, VkComponentTypeKHR element)
{
    return shape->AType == element && shape->BType == element && shape->CType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
           shape->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR && shape->scope == VK_SCOPE_SUBGROUP_KHR && !shape->saturatingAccumulation;
}

static void keep_largest(struct vkring_matrix_shape *largest, struct vkring_matrix_shape shape)
{
    if (shape.m * shape.n * shape.k > largest->m * largest->n * largest->k)
        *largest = shape;
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
        for (uint32_t i = 0; i < count; i++) {
            const struct vkring_matrix_shape shape = {shapes[i].MSize, shapes[i].NSize, shapes[i].KSize};
            if (is_usable(&shapes[i], VK_COMPONENT_TYPE_FLOAT16_KHR))
                add_shape(limits, shape);
            else if (is_usable(&shapes[i], COMPONENT_TYPE_BFLOAT16))
                keep_largest(&limits->bfloat16_shape, shape);
        }
    free(shapes);
}

#else

struct vk_matrix_extensions vk_matrix_extensions_find(const struct vk_instance *instance, VkPhysicalDevice physical)
{
    (void)instance;
    (void)physical;
    return (struct vk_matrix_extensions){0};
}

void *vk_matrix_features_link(struct vk_matrix_extensions extensions, struct vk_matrix_features *features)
{
    (void)extensions;
    (void)features;
    return NULL;
}

void *vk_matrix_features_want(const struct vk_matrix_features *has, struct vk_matrix_features *features)
{
    (void)has;
    (void)features;
    return NULL;
}

bool vk_matrix_operations_enabled(const struct vk_matrix_features *features)
{
    (void)features;
    return false;
}

bool vk_matrix_bfloat16_enabled(const struct vk_matrix_features *features)
{
    (void)features;
    return false;
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
