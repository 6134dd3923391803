/* SPDX-License-Identifier: MIT */
#include "device_kernels.h"

#include <vkring/tune.h>

static const struct {
    const char *type;
    enum vkring_type of;
} types[] = {{"f32", VKRING_TYPE_F32}, {"f16", VKRING_TYPE_F16}, {"bf16", VKRING_TYPE_BF16}};

static const unsigned head_dims[] = {64, 128};

static const char *source_text(enum vkring_kernel_source source)
{
    switch (source) {
    case VKRING_KERNELS_PORTABLE:
        return "portable";
    case VKRING_KERNELS_TUNED:
        return "tuned";
    case VKRING_KERNELS_BY_PARAMETER:
        return "by parameter";
    case VKRING_KERNELS_BY_ENVIRONMENT:
        return "by environment";
    case VKRING_KERNELS_BY_KIND:
        break;
    }
    return "by kind";
}

static json_t *choice_of(vkring_device *device, size_t type, unsigned head_dim, bool backward, struct failure *failure)
{
    const struct vkring_plan_params problem = {
        .type = types[type].of, .batch = 1, .q_len = 4096, .kv_len = 4096, .heads = 8, .head_dim = head_dim, .backward = backward};
    struct vkring_kernel_choice choice;
    if (vkring_kernels_choose(device, &problem, &choice) != VKRING_OK) {
        fail_library(failure, 0);
        return NULL;
    }
    return json_pack("{s:s, s:i, s:b, s:s, s:s}", "type", types[type].type, "head_dim", (int)head_dim, "backward", backward, "source",
                     source_text(choice.source), "kernels", choice.words);
}

static bool list(vkring_device *device, bool has_f16, json_t *kernels, struct failure *failure)
{
    for (size_t type = 0; type < (has_f16 ? 3 : 1); type++)
        for (size_t dim = 0; dim < sizeof(head_dims) / sizeof(head_dims[0]); dim++)
            for (int backward = 0; backward < 2; backward++) {
                json_t *choice = choice_of(device, type, head_dims[dim], backward != 0, failure);
                if (!choice)
                    return false;
                json_array_append_new(kernels, choice);
            }
    return true;
}

json_t *device_kernels(uint32_t index, struct failure *failure)
{
    const struct vkring_device_params params = {.index = index};
    struct vkring_device_info info;
    vkring_device *device = NULL;
    json_t *kernels = json_array();
    bool good = vkring_device_create(&params, &device) == VKRING_OK || fail_library(failure, 0);
    if (good) {
        vkring_device_get_info(device, &info);
        good = list(device, info.f16, kernels, failure);
    }
    vkring_device_destroy(&device);
    if (!good) {
        json_decref(kernels);
        return NULL;
    }
    return kernels;
}

void device_kernels_print(FILE *out, const json_t *kernels)
{
    size_t i;
    const json_t *choice;
    json_array_foreach(kernels, i, choice)
    {
        fprintf(out, "   %-4s %3d %-9s %s: %s\n", json_string_value(json_object_get(choice, "type")),
                (int)json_integer_value(json_object_get(choice, "head_dim")),
                json_is_true(json_object_get(choice, "backward")) ? "backward" : "forward",
                json_string_value(json_object_get(choice, "source")), json_string_value(json_object_get(choice, "kernels")));
    }
}
