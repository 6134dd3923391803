/* SPDX-License-Identifier: MIT */
/** What a device can do, read in one place, where tests replace it with the limits of poorer devices. */
#ifndef VKRING_VK_LIMITS_H
#define VKRING_VK_LIMITS_H

#include <vkring/vkring.h>

/** Vulkan's vendorID. */
enum vk_vendor {
    VK_VENDOR_AMD = 0x1002,
    VK_VENDOR_NVIDIA = 0x10de,
};

struct vk_limits {
    uint32_t max_workgroup_count[3];
    uint32_t max_workgroup_invocations;
    uint32_t shared_memory_bytes;
    uint32_t subgroup_size;     /* the default */
    uint32_t min_subgroup_size; /* with subgroup_size_control; else equal to subgroup_size */
    uint32_t max_subgroup_size;
    bool subgroup_size_control; /* a compute pipeline can ask for a size and for full subgroups */
    bool subgroup_shuffle;      /* shuffles in compute */
    bool integers_64bit;        /* in shaders */
    bool storage_16bit;         /* 16-bit storage, and the 16-bit integers that kernels take it apart with */
    bool unified_memory;        /* every device-local type is also visible to the host and cached */
    bool transfer_queue;
    bool host_coherent; /* packet memory needs no flush or invalidate */
    uint64_t non_coherent_atom_bytes;
    uint64_t max_buffer_bytes;
    double timestamp_seconds; /* a tick; 0 where the compute queue has no timestamps */
    uint32_t split_keys;      /* the least of a split of a tile's keys; 0: as kernels are chosen */
    uint32_t lane_registers; /* of 32 bits, that a lane of a subgroup of the smallest size can have without keeping others off; by vendor */
    uint32_t matrix_columns; /* of own rows and sums that kernels on matrix units have in registers; 0: as kernels are chosen */
    /* products of matrices of f16, summed in f32 by a subgroup; none where a subgroup's size is not known */
    uint32_t matrix_shape_count;
    struct vkring_matrix_shape matrix_shapes[VKRING_MOST_MATRIX_SHAPES];
    bool matrix_operations;                    /* on them: reductions, conversions and per-element operations */
    struct vkring_matrix_shape bfloat16_shape; /* the largest of matrices of bfloat16, beside operations; m is 0 without */
};

/** What tests take away from a device. Zero leaves a limit alone. */
struct vk_limit_overrides {
    enum vkring_device_kind kind; /* kernels are chosen as for a device of this kind */
    uint32_t max_workgroup_count;
    uint32_t shared_memory_bytes;
    uint64_t max_buffer_bytes;
    uint32_t lane_registers;
    uint32_t split_keys;
    uint32_t matrix_columns;
    bool no_unified_memory;
    bool no_transfer_queue;
    bool no_timestamps;
    bool no_subgroup_shuffle;
    bool no_matrices;
    bool no_matrix_operations;
    bool no_storage_16bit;
    bool not_coherent; /* flush and invalidate although the memory is coherent */
};

void vk_limits_override(struct vk_limits *limits, const struct vk_limit_overrides *overrides);

#endif
