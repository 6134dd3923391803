/* SPDX-License-Identifier: MIT */
#include "loader_hook.h"

#include <string.h>

PFN_vkGetInstanceProcAddr real_get_instance_proc;

void *__real_dlsym(void *handle, const char *name);
void *__wrap_dlsym(void *handle, const char *name);

void *__wrap_dlsym(void *handle, const char *name)
{
    PFN_vkGetInstanceProcAddr hook = hooked_get_instance_proc;
    void *symbol = __real_dlsym(handle, name);
    if (!symbol || strcmp(name, "vkGetInstanceProcAddr") != 0)
        return symbol;
    memcpy(&real_get_instance_proc, &symbol, sizeof(symbol));
    memcpy(&symbol, &hook, sizeof(symbol));
    return symbol;
}
