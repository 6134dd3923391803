/* SPDX-License-Identifier: MIT */
/** How a kernel on matrix units is cut: which product of matrices, and how many rows a workgroup holds and walks over at a time. Pure
 * arithmetic. */
#ifndef VKRING_ATTENTION_MATRIX_TILES_H
#define VKRING_ATTENTION_MATRIX_TILES_H

#include "../vk/limits.h"
#include "problem.h"
#include "spirv.h"

/** As in matrix.glsl. */
struct matrix_tiles {
    struct vkring_matrix_shape shape; /* m is 0: the kernel is a scalar one */
    uint32_t subgroup_size, subgroups;
    uint32_t lanes_per_row, rows_per_lane;
    uint32_t rows_per_step;
    uint32_t column_parts; /* subgroups that own rows together, each a part of the columns of their sums */
    uint32_t row_parts;    /* of these, subgroups that look at pairs, each at those of a part of the rows; all, or fewer */
    bool separate_sums;    /* gradients of keys and of values take turns, where registers do not hold the sums of both */
    bool few_registers;    /* own rows are in shared memory, where compilers would spill them */
    bool parts_apart;      /* matrices of sums are in branches of their own, where compilers have few registers */
    bool operations;       /* of VK_NV_cooperative_matrix2 make weights of scores, which else go through shared memory */
    bool loads_ahead;      /* a step's rows are on their way while the one before it is computed */
    bool turns_values;     /* forward stages values with the rows of a column one after the other */
};

/** What is asked for, in powers of two up to the greatest; 0: what suits the device. */
struct matrix_wish {
    uint32_t row_tiles; /* of a subgroup, or those that own rows together: matrices one below the other */
    uint32_t subgroups;
    uint32_t rows_per_step;
    uint32_t column_parts;
    bool operations; /* where device, build and problem have them */
    bool loads_ahead;
    bool turns_values;
};
#define MATRIX_MOST_ROW_TILES 8u
#define MATRIX_MOST_SUBGROUPS 16u
#define MATRIX_MOST_ROWS_PER_STEP 128u
#define MATRIX_MOST_COLUMN_PARTS 32u

/** Of the shapes that kernels can take the one with most products; m is 0 where there is none. */
struct vkring_matrix_shape matrix_tiles_shape(const struct vk_limits *limits);

/** What suits a device's limits, as near to what is asked for as its shared memory has room; none where the build, the device or the
 * problem has nothing for it. is_cpu: short code, whatever the speed. */
struct matrix_tiles matrix_tiles_choose(enum spirv_kernel which, const struct vk_limits *limits, bool is_cpu,
                                        const struct matrix_wish *wish, const struct problem *problem);

/** Whether what a GPU's lanes keep of sums is as little as they should where their registers are few. */
bool matrix_tiles_fit_registers(enum spirv_kernel which, const struct vk_limits *limits, const struct matrix_tiles *tiles,
                                const struct problem *problem);

bool matrix_tiles_equal(const struct matrix_tiles *a, const struct matrix_tiles *b);
/** As matrix_wish has them. */
uint32_t matrix_tiles_row_tiles(const struct matrix_tiles *tiles);

/** Own rows of a workgroup. */
uint32_t matrix_tiles_rows(const struct matrix_tiles *tiles);
uint32_t matrix_tiles_workgroup_size(const struct matrix_tiles *tiles);
uint64_t matrix_tiles_shared_bytes(enum spirv_kernel which, const struct matrix_tiles *tiles, const struct problem *problem);
/** What a workgroup keeps between blocks and dispatches. */
uint64_t matrix_tiles_state_bytes(enum spirv_kernel which, const struct matrix_tiles *tiles, const struct problem *problem);

#endif
