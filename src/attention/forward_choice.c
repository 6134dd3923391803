/* SPDX-License-Identifier: MIT */
#include "forward_choice.h"

#include "../base/checked.h"

/* What splits leave for the merge is then little beside what they read. */
#define GPU_SPLIT_KEYS 256u
#define GPU_SPLIT_KEYS_PER_ROW 8u
#define GPU_SPLIT_LANES (1u << 17)
/* Measured: 64 to 256 rows of 65536 keys in half the time; with more rows nothing changes. */
#define CPU_SPLIT_BYTES (1u << 18) /* of keys and values of a tile's heads */
#define CPU_SPLIT_KEYS_PER_ROW 2u
#define CPU_SPLIT_BELOW 512u
#define CPU_SPLIT_WORKGROUPS 4096u

/* Of a group, as many as divide it and find room in a tile. */
static uint32_t packed_heads(uint64_t group, uint64_t tile_rows)
{
    uint64_t heads = min_u64(group, tile_rows);
    while (group % heads != 0)
        heads--;
    return (uint32_t)heads;
}

/* Lanes that would own rows which are not there own those of other key heads. */
static uint32_t key_heads(const struct problem *problem, const struct kernel_choice *choice)
{
    const uint32_t row_lanes = choice->workgroup_size / choice->lanes_per_row;
    const bool can_share = choice->uniform_loads && !problem_has_bias_of_heads(problem);
    const bool has_few =
        problem->heads / problem->kv_heads * max_u64(problem->q_len, 1) <= choice->rows_per_lane; /* a tile has a row of each */
    return can_share && has_few && problem->kv_heads % row_lanes == 0 ? row_lanes : 1;
}

static uint64_t tiles_of(const struct problem *problem, uint64_t tile_rows, uint64_t heads)
{
    return problem->heads / heads * divide_up(problem->q_len, tile_rows / heads);
}

/*
 * A GPU should have lanes enough. On a CPU tiles and heads take turns at each split: it stays in the caches for the tiles, and heads' keys
 * lie side by side.
 */
static struct tiling_split split_for(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice)
{
    const bool is_cpu = device->info.kind == VKRING_DEVICE_CPU;
    const uint64_t key_bytes =
        kernel_choice_key_heads(choice) * (problem->head_dim + problem->value_dim) * vkring_type_bytes(problem->type);
    const uint64_t gpu_workgroups = GPU_SPLIT_LANES / choice->workgroup_size;
    const struct tiling_split split = {
        .keys = is_cpu ? divide_up(CPU_SPLIT_BYTES, key_bytes) : GPU_SPLIT_KEYS,
        .keys_per_row = is_cpu ? CPU_SPLIT_KEYS_PER_ROW : GPU_SPLIT_KEYS_PER_ROW,
        .below = is_cpu ? CPU_SPLIT_BELOW : gpu_workgroups,
        .workgroups = is_cpu ? CPU_SPLIT_WORKGROUPS : gpu_workgroups,
    };
    return split;
}

struct kernel_choice forward_choice(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice)
{
    struct kernel_choice forward = *choice;
    if (kernel_choice_matrices(choice, SPIRV_FORWARD))
        return forward;
    const uint64_t tile_rows = kernel_choice_tile_rows(choice);
    const uint32_t packed = packed_heads(kernel_choice_group(problem), tile_rows);
    if (4 * tiles_of(problem, tile_rows, packed) <= 3 * tiles_of(problem, tile_rows, 1))
        forward.packed_heads = packed;
    if (key_heads(problem, choice) > 1) {
        forward.key_heads = key_heads(problem, choice);
        forward.packed_heads = forward.key_heads * (uint32_t)(problem->heads / problem->kv_heads);
    }
    forward.split = split_for(device, problem, &forward);
    if (device->limits.split_keys) {
        forward.split.keys = device->limits.split_keys;
        forward.split.keys_per_row = 0;
    }
    return forward;
}
