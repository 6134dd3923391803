/* SPDX-License-Identifier: MIT */
#include "limits.h"

#include "../base/checked.h"

void vk_limits_override(struct vk_limits *limits, const struct vk_limit_overrides *overrides)
{
    if (overrides->max_workgroup_count)
        for (int axis = 0; axis < 3; axis++)
            limits->max_workgroup_count[axis] = (uint32_t)min_u64(limits->max_workgroup_count[axis], overrides->max_workgroup_count);
    if (overrides->shared_memory_bytes)
        limits->shared_memory_bytes = (uint32_t)min_u64(limits->shared_memory_bytes, overrides->shared_memory_bytes);
    if (overrides->max_buffer_bytes)
        limits->max_buffer_bytes = min_u64(limits->max_buffer_bytes, overrides->max_buffer_bytes);
    if (overrides->lane_registers)
        limits->lane_registers = overrides->lane_registers;
    if (overrides->split_keys)
        limits->split_keys = overrides->split_keys;
    if (overrides->matrix_columns)
        limits->matrix_columns = overrides->matrix_columns;
    limits->unified_memory = limits->unified_memory && !overrides->no_unified_memory;
    limits->transfer_queue = limits->transfer_queue && !overrides->no_transfer_queue;
    limits->subgroup_shuffle = limits->subgroup_shuffle && !overrides->no_subgroup_shuffle;
    limits->storage_16bit = limits->storage_16bit && !overrides->no_storage_16bit;
    limits->host_coherent = limits->host_coherent && !overrides->not_coherent;
    if (overrides->no_matrices)
        limits->matrix_shape_count = 0;
    limits->matrix_operations = limits->matrix_operations && !overrides->no_matrix_operations;
    if (overrides->no_timestamps)
        limits->timestamp_seconds = 0;
}
