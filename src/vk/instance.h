/* SPDX-License-Identifier: MIT */
/** The Vulkan instance and the few instance functions that vkring calls, kept per instance and not in globals. */
#ifndef VKRING_VK_INSTANCE_H
#define VKRING_VK_INSTANCE_H

#include <volk.h>

#include <vkring/vkring.h>

#include "../base/log.h"

struct vk_instance {
    VkInstance handle;
    bool owned;
    PFN_vkGetInstanceProcAddr get_proc;
    PFN_vkDestroyInstance destroy;
    PFN_vkEnumeratePhysicalDevices enumerate_devices;
    PFN_vkGetPhysicalDeviceProperties2 get_properties;
    PFN_vkGetPhysicalDeviceFeatures2 get_features;
    PFN_vkGetPhysicalDeviceMemoryProperties get_memory_properties;
    PFN_vkGetPhysicalDeviceQueueFamilyProperties get_queue_families;
    PFN_vkEnumerateDeviceExtensionProperties enumerate_extensions;
    PFN_vkCreateDevice create_device;
    PFN_vkGetDeviceProcAddr get_device_proc;
    PFN_vkVoidFunction get_matrix_properties; /* vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR; null where nothing has it */
    PFN_vkCreateDebugUtilsMessengerEXT create_messenger;   /* null without validation */
    PFN_vkDestroyDebugUtilsMessengerEXT destroy_messenger;
    VkDebugUtilsMessengerEXT messenger;
};

/** With validation, log gets every message of the layer at VKRING_LOG_VALIDATION; log must stay where it is until vk_instance_destroy. */
enum vkring_status vk_instance_create(bool validation, struct log *log, struct vk_instance *out_instance);
/** get_proc null: the loader's. */
enum vkring_status vk_instance_borrow(VkInstance handle, PFN_vkGetInstanceProcAddr get_proc, struct vk_instance *out_instance);
void vk_instance_destroy(struct vk_instance *instance);

#endif
