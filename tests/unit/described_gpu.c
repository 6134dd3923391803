/* SPDX-License-Identifier: MIT */
#include "described_gpu.h"

const struct problem described_problem = {
    .batch = 1, .q_len = 64, .kv_len = 64, .heads = 4, .kv_heads = 2, .head_dim = 64, .value_dim = 64};

vkring_device described_gpu(void)
{
    vkring_device device = {.info = {.name = "a device", .kind = VKRING_DEVICE_DISCRETE}};
    device.limits = (struct vk_limits){
        .max_workgroup_count = {65535, 65535, 65535},
        .max_workgroup_invocations = 256,
        .subgroup_size = 32,
        .min_subgroup_size = 32,
        .max_subgroup_size = 64,
        .subgroup_size_control = true,
        .subgroup_shuffle = true,
        .lane_registers = 128,
    };
    return device;
}
