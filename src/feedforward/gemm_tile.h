/* SPDX-License-Identifier: MIT */
/** How a workgroup cuts a product's result. Pure arithmetic. */
#ifndef VKRING_FEEDFORWARD_GEMM_TILE_H
#define VKRING_FEEDFORWARD_GEMM_TILE_H

#include <vkring/feedforward.h>

#include "../vk/limits.h"

/** What follows a product; as in the shader, where it is told. */
enum gemm_epilogue {
    GEMM_STORE = 0,
    GEMM_MULTIPLY = 1,
    GEMM_ACCUMULATE = 2,
    GEMM_GRADIENT = 3,
    GEMM_GATED_GRADIENT = 4,
};

struct gemm_kind {
    enum vkring_type type;
    bool left_transposed, right_transposed;
    bool left_f32, right_f32, result_f32; /* whatever the type */
    enum gemm_epilogue epilogue;
    enum vkring_activation activation;
    bool bias;
    bool ones; /* a row of ones may follow those of left, which is transposed */
    bool two_products;
    uint64_t columns;
};

/** Of gemm_matrix.comp, as there. */
struct gemm_matrices {
    struct vkring_matrix_shape shape; /* m is 0: the kernel is a scalar one */
    uint32_t subgroup_size, subgroups, across;
    uint32_t row_tiles, column_tiles; /* of a subgroup */
    uint32_t step_terms;
    bool few_registers; /* no more is held at a time than has to be, where compilers would spill it */
    bool operations;    /* of VK_NV_cooperative_matrix2 finish sums, which else go through shared memory */
};

struct gemm_tile {
    uint32_t workgroup_size, rows, columns;
    struct gemm_matrices matrices;
};

/** Which kernels are wished for. */
struct gemm_wish {
    bool matrix;        /* on matrix units, those that can be */
    uint32_t subgroups; /* of these: at most so many, a power of two; 0: what suits the device */
    bool operations;    /* where device and build have them */
};

/** A scalar kernel's. */
struct gemm_tile gemm_tile_scalar(const struct vk_limits *limits, bool is_cpu, const struct gemm_kind *kind);
/** A kernel's on matrix units, as large as the device's shared memory has room for; rows are 0 where the build, the device or the type has
 * nothing for it, or few registers do not hold it. is_cpu: short code, whatever the speed. */
struct gemm_tile gemm_tile_on_matrices(const struct vk_limits *limits, bool is_cpu, const struct gemm_wish *wish,
                                       const struct gemm_kind *kind);

/** In shared memory; 0 of a scalar kernel. */
uint64_t gemm_tile_shared_bytes(const struct gemm_tile *tile, const struct gemm_kind *kind);

#endif
