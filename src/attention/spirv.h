/* SPDX-License-Identifier: MIT */
/** The compiled shaders, by what varies. */
#ifndef VKRING_ATTENTION_SPIRV_H
#define VKRING_ATTENTION_SPIRV_H

#include "../base/status.h"

struct spirv_module {
    const uint32_t *code;
    uint64_t bytes;
};

struct spirv_module spirv_forward(enum vkring_type type, bool shuffle);
struct spirv_module spirv_pack(enum vkring_type type);

#endif
