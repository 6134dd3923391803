/* SPDX-License-Identifier: MIT */
#include "instance.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "device.h"

#define VALIDATION_LAYER "VK_LAYER_KHRONOS_validation"

/* The loader stays open for the life of the process: not every driver survives being unloaded. */
static pthread_once_t loader_once = PTHREAD_ONCE_INIT;
static PFN_vkGetInstanceProcAddr loader_get_proc;

static void open_loader(void)
{
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        library = dlopen("libvulkan.so", RTLD_NOW | RTLD_LOCAL);
    void *symbol = library ? dlsym(library, "vkGetInstanceProcAddr") : NULL;
    memcpy(&loader_get_proc, &symbol, sizeof(symbol));
}

static enum vkring_status loader(PFN_vkGetInstanceProcAddr *out_get_proc)
{
    pthread_once(&loader_once, open_loader);
    if (!loader_get_proc)
        return status_fail(VKRING_ERROR_NO_DEVICE, "no Vulkan loader (libvulkan.so.1) on this machine");
    *out_get_proc = loader_get_proc;
    return VKRING_OK;
}

#define LOAD(member, name) instance->member = (PFN_##name)instance->get_proc(instance->handle, #name)

static enum vkring_status load_functions(struct vk_instance *instance)
{
    LOAD(destroy, vkDestroyInstance);
    LOAD(enumerate_devices, vkEnumeratePhysicalDevices);
    LOAD(get_properties, vkGetPhysicalDeviceProperties2);
    LOAD(get_features, vkGetPhysicalDeviceFeatures2);
    LOAD(get_memory_properties, vkGetPhysicalDeviceMemoryProperties);
    LOAD(get_queue_families, vkGetPhysicalDeviceQueueFamilyProperties);
    LOAD(enumerate_extensions, vkEnumerateDeviceExtensionProperties);
    LOAD(create_device, vkCreateDevice);
    LOAD(get_device_proc, vkGetDeviceProcAddr);
    instance->get_matrix_properties = instance->get_proc(instance->handle, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    LOAD(create_messenger, vkCreateDebugUtilsMessengerEXT);
    LOAD(destroy_messenger, vkDestroyDebugUtilsMessengerEXT);
    if (!instance->enumerate_devices || !instance->get_properties || !instance->get_features || !instance->create_device ||
        !instance->get_device_proc)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "the Vulkan instance is older than 1.1");
    return VKRING_OK;
}

static VkBool32 VKAPI_PTR on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity, VkDebugUtilsMessageTypeFlagsEXT types,
                                     const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    (void)severity;
    (void)types;
    log_line(user, VKRING_LOG_VALIDATION, "%s: %s", data->pMessageIdName ? data->pMessageIdName : "validation", data->pMessage);
    return VK_FALSE;
}

static VkDebugUtilsMessengerCreateInfoEXT messenger_info(struct log *log)
{
    return (VkDebugUtilsMessengerCreateInfoEXT){
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = log,
    };
}

static VkResult create_handle(bool validation, struct log *log, struct vk_instance *instance)
{
    static const char *layers[] = {VALIDATION_LAYER};
    static const char *extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    static const VkValidationFeatureEnableEXT enabled[] = {VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    VkDebugUtilsMessengerCreateInfoEXT messenger = messenger_info(log);
    const VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .pNext = &messenger,
        .enabledValidationFeatureCount = 1,
        .pEnabledValidationFeatures = enabled,
    };
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pEngineName = "vkring",
        .engineVersion = VK_MAKE_API_VERSION(0, VKRING_VERSION_MAJOR, VKRING_VERSION_MINOR, VKRING_VERSION_PATCH),
        .apiVersion = VK_API_VERSION_1_3,
    };
    const VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pNext = validation ? &features : NULL,
        .pApplicationInfo = &application,
        .enabledLayerCount = validation,
        .ppEnabledLayerNames = layers,
        .enabledExtensionCount = validation,
        .ppEnabledExtensionNames = extensions,
    };
    PFN_vkCreateInstance create = (PFN_vkCreateInstance)instance->get_proc(NULL, "vkCreateInstance");
    return create(&info, NULL, &instance->handle);
}

enum vkring_status vk_instance_create(bool validation, struct log *log, struct vk_instance *out_instance)
{
    enum vkring_status status;
    struct vk_instance instance = {.owned = true};
    TRY(loader(&instance.get_proc), fail);
    VkResult result = create_handle(validation, log, &instance);
    if (result == VK_ERROR_LAYER_NOT_PRESENT || result == VK_ERROR_EXTENSION_NOT_PRESENT)
        return status_fail(VKRING_ERROR_UNSUPPORTED, "validation needs the layer " VALIDATION_LAYER ", which is not installed");
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
        return status_fail(VKRING_ERROR_NO_DEVICE, "no Vulkan driver on this machine: install one, or check VK_DRIVER_FILES");
    TRY(vk_status(result, "vkCreateInstance"), fail);
    TRY(load_functions(&instance), fail);
    if (validation) {
        VkDebugUtilsMessengerCreateInfoEXT info = messenger_info(log);
        TRY(vk_status(instance.create_messenger(instance.handle, &info, NULL, &instance.messenger), "vkCreateDebugUtilsMessengerEXT"),
            fail);
    }
    *out_instance = instance;
    return VKRING_OK;
fail:
    vk_instance_destroy(&instance);
    return status;
}

enum vkring_status vk_instance_borrow(VkInstance handle, PFN_vkGetInstanceProcAddr get_proc, struct vk_instance *out_instance)
{
    enum vkring_status status;
    struct vk_instance instance = {.handle = handle, .get_proc = get_proc};
    if (!get_proc)
        TRY(loader(&instance.get_proc), fail);
    TRY(load_functions(&instance), fail);
    *out_instance = instance;
    return VKRING_OK;
fail:
    return status;
}

void vk_instance_destroy(struct vk_instance *instance)
{
    if (instance->messenger)
        instance->destroy_messenger(instance->handle, instance->messenger, NULL);
    if (instance->owned && instance->handle && instance->destroy)
        instance->destroy(instance->handle, NULL);
    memset(instance, 0, sizeof(*instance));
}
