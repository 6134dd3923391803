/* SPDX-License-Identifier: MIT */
/** Products of matrices by shaders/gemm.comp, or on matrix units by gemm_matrix.comp: a kernel for each kind, recorded piece by piece. */
#ifndef VKRING_FEEDFORWARD_GEMM_H
#define VKRING_FEEDFORWARD_GEMM_H

#include "../vk/commands.h"
#include "../vk/pipeline_pool.h"
#include "gemm_tile.h"

struct gemm {
    struct gemm_kind kind;
    struct gemm_tile tile;
    const struct vk_pipeline *aligned, *general;
};

/** How a product would be cut: by a kernel on matrix units where that is wished for and there is one that fits. */
struct gemm_tile gemm_tile_choose(const vkring_device *device, const struct gemm_kind *kind, const struct gemm_wish *wish);

/** Compiles what matrices of whole quads at such addresses need, or if they cannot be that, what others do. */
enum vkring_status gemm_create(vkring_device *device, const struct gemm_kind *kind, const struct gemm_wish *wish, bool aligned,
                               struct gemm *out_gemm);
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
