/* SPDX-License-Identifier: MIT */
#include "spirv.h"

#include "forward_bf16.spv.h"
#include "forward_bf16_no_shuffle.spv.h"
#include "forward_f16.spv.h"
#include "forward_f16_no_shuffle.spv.h"
#include "forward_f32.spv.h"
#include "forward_f32_no_shuffle.spv.h"
#include "pack_bf16.spv.h"
#include "pack_f16.spv.h"
#include "pack_f32.spv.h"

#define MODULE(name)                                                                                                                       \
    {                                                                                                                                      \
        name##_code, sizeof(name##_code)                                                                                                   \
    }

struct spirv_module spirv_forward(enum vkring_type type, bool shuffle)
{
    static const struct spirv_module modules[][2] = {
        [VKRING_TYPE_F32] = {MODULE(forward_f32_no_shuffle), MODULE(forward_f32)},
        [VKRING_TYPE_F16] = {MODULE(forward_f16_no_shuffle), MODULE(forward_f16)},
        [VKRING_TYPE_BF16] = {MODULE(forward_bf16_no_shuffle), MODULE(forward_bf16)},
    };
    return modules[type][shuffle];
}

struct spirv_module spirv_pack(enum vkring_type type)
{
    static const struct spirv_module modules[] = {
        [VKRING_TYPE_F32] = MODULE(pack_f32),
        [VKRING_TYPE_F16] = MODULE(pack_f16),
        [VKRING_TYPE_BF16] = MODULE(pack_bf16),
    };
    return modules[type];
}
