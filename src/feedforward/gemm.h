/* SPDX-License-Identifier: MIT */
/** Products of matrices by shaders/gemm.comp: a kernel for each kind, recorded piece by piece. */
#ifndef VKRING_FEEDFORWARD_GEMM_H
#define VKRING_FEEDFORWARD_GEMM_H

#include <vkring/feedforward.h>

#include "../vk/commands.h"
#include "../vk/pipeline_pool.h"

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
    bool ones; /* a row of ones may follow those of left */
    bool two_products;
    uint64_t columns;
};

/** How a workgroup cuts a result. */
struct gemm_tile {
    uint32_t workgroup_size, rows_per_lane, columns;
};

struct gemm {
    struct gemm_kind kind;
    struct gemm_tile tile;
    const struct vk_pipeline *aligned, *general;
};

/** Compiles what matrices of whole quads at such addresses need, or if they cannot be that, what others do. */
enum vkring_status gemm_create(vkring_device *device, const struct gemm_kind *kind, bool aligned, struct gemm *out_gemm);
/** Accepts one that was not created. */
void gemm_destroy(vkring_device *device, struct gemm *gemm);

/** Addresses and strides in bytes, as in the shader. */
struct gemm_operands {
    uint64_t left, right, result, bias, others[2];
    uint32_t left_stride, right_stride, result_stride, other_right_stride;
    uint32_t rows, terms;
    bool first, ones;
};

/** Whether all lies at addresses of whole quads; compiles what it needs if that was not done yet. */
enum vkring_status gemm_prepare(vkring_device *device, struct gemm *gemm, const struct gemm_operands *operands);

/** A rectangle of tiles. */
struct gemm_box {
    uint32_t row_tile, column_tile, row_tiles, column_tiles;
};

/** Tiles of the whole result. */
struct gemm_box gemm_tiles(const struct gemm *gemm, const struct gemm_operands *operands);
/** What a tile does. */
double gemm_tile_flop(const struct gemm *gemm, const struct gemm_operands *operands);
/** Prepared for these operands. */
void gemm_record(vkring_device *device, const struct vk_commands *commands, const struct gemm *gemm, const struct gemm_operands *operands,
                 const struct gemm_box *box);

#endif
