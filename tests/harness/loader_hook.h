/* SPDX-License-Identifier: MIT */
/** Stands between the library and the Vulkan loader. For programs that are linked with -Wl,--wrap=dlsym. */
#ifndef VKRING_TESTS_LOADER_HOOK_H
#define VKRING_TESTS_LOADER_HOOK_H

#include <volk.h>

/** The program's: what the library gets as the loader's vkGetInstanceProcAddr. */
PFN_vkVoidFunction VKAPI_CALL hooked_get_instance_proc(VkInstance instance, const char *name);
/** The loader's own; null until the library has asked for it. */
extern PFN_vkGetInstanceProcAddr real_get_instance_proc;

#endif
