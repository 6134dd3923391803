/* SPDX-License-Identifier: MIT */
/* The element types of the public API. */
#include <string.h>

#include "half.h"
#include "status.h"

uint64_t vkring_type_bytes(enum vkring_type type)
{
    switch (type) {
    case VKRING_TYPE_F32:
        return 4;
    case VKRING_TYPE_F16:
    case VKRING_TYPE_BF16:
        return 2;
    }
    return 0;
}

enum vkring_status vkring_convert_from_f32(enum vkring_type type, const float *from, uint64_t count, void *to)
{
    uint16_t *halves = to;
    switch (type) {
    case VKRING_TYPE_F32:
        if (count)
            memcpy(to, from, count * sizeof(float));
        return VKRING_OK;
    case VKRING_TYPE_F16:
        for (uint64_t i = 0; i < count; i++)
            halves[i] = f16_from_f32(from[i]);
        return VKRING_OK;
    case VKRING_TYPE_BF16:
        for (uint64_t i = 0; i < count; i++)
            halves[i] = bf16_from_f32(from[i]);
        return VKRING_OK;
    }
    return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "unknown type %d", (int)type);
}

enum vkring_status vkring_convert_to_f32(enum vkring_type type, const void *from, uint64_t count, float *to)
{
    const uint16_t *halves = from;
    switch (type) {
    case VKRING_TYPE_F32:
        if (count)
            memcpy(to, from, count * sizeof(float));
        return VKRING_OK;
    case VKRING_TYPE_F16:
        for (uint64_t i = 0; i < count; i++)
            to[i] = f32_from_f16(halves[i]);
        return VKRING_OK;
    case VKRING_TYPE_BF16:
        for (uint64_t i = 0; i < count; i++)
            to[i] = f32_from_bf16(halves[i]);
        return VKRING_OK;
    }
    return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "unknown type %d", (int)type);
}
