/* SPDX-License-Identifier: MIT */
#include "gemm.h"

#include <stddef.h>

#include "../base/checked.h"
#include "gemm_bf16.spv.h"
#include "gemm_f16.spv.h"
#include "gemm_f32.spv.h"

/* As in the shader. */
struct push {
    uint64_t left, right, result, bias, others[2];
    uint32_t left_stride, right_stride, result_stride, other_right_stride;
    uint32_t rows, columns, terms;
    uint32_t first_row_tile, first_column_tile;
    uint32_t first, ones;
    uint32_t padding;
};
#define PUSH_BYTES (offsetof(struct push, padding))

static const struct {
    const uint32_t *code;
    uint64_t bytes;
} modules[] = {
    [VKRING_TYPE_F32] = {gemm_f32_code, sizeof(gemm_f32_code)},
    [VKRING_TYPE_F16] = {gemm_f16_code, sizeof(gemm_f16_code)},
    [VKRING_TYPE_BF16] = {gemm_bf16_code, sizeof(gemm_bf16_code)},
};

/* What reading a term of a row costs beside a product, in columns: on llvmpipe lanes gather it one by one. */
#define CPU_TERM_COLUMNS 40u
#define GPU_TERM_COLUMNS 16u /* a guess */

/* Of the widths up to the widest, and not above the columns if any is not, that which takes the least. */
static uint32_t choose_columns(uint32_t widest, uint32_t term_columns, uint64_t columns)
{
    static const uint32_t widths[] = {256, 128, 64, 32, 16, 4};
    uint64_t least = UINT64_MAX;
    uint32_t best = 4;
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        const uint64_t cost = divide_up(columns, widths[i]) * (widths[i] + term_columns);
        if (widths[i] <= widest && widths[i] <= columns && cost < least) {
            least = cost;
            best = widths[i];
        }
    }
    return best;
}

/*
 * On a CPU a tile's sums are spilled to its first cache and read from there as operands. There two rows a lane are better where what
 * columns are read from has to be converted, or lies across. On a GPU sums have to stay in registers.
 */
static struct gemm_tile choose_tile(const vkring_device *device, const struct gemm_kind *kind)
{
    const bool converts = kind->type != VKRING_TYPE_F32 && !kind->right_f32;
    const bool two_rows = converts || kind->right_transposed;
    if (device->info.kind != VKRING_DEVICE_CPU)
        return (struct gemm_tile){.workgroup_size = 64, .rows_per_lane = 1, .columns = choose_columns(32, GPU_TERM_COLUMNS, kind->columns)};
    return (struct gemm_tile){
        .workgroup_size = device->limits.subgroup_size,
        .rows_per_lane = two_rows ? 2 : 1,
        .columns = choose_columns(two_rows ? 128 : 256, CPU_TERM_COLUMNS, kind->columns),
    };
}

static enum vkring_status acquire(vkring_device *device, const struct gemm *gemm, bool aligned, const struct vk_pipeline **out_pipeline)
{
    const struct gemm_kind *kind = &gemm->kind;
    const bool is_f32 = kind->type == VKRING_TYPE_F32;
    const uint32_t constants[] = {
        gemm->tile.workgroup_size,
        gemm->tile.rows_per_lane,
        gemm->tile.columns,
        aligned,
        kind->columns < gemm->tile.columns,
        kind->left_transposed,
        kind->right_transposed,
        kind->left_f32 || is_f32,
        kind->right_f32 || is_f32,
        kind->result_f32 || is_f32,
        kind->epilogue,
        kind->activation,
        kind->bias,
        kind->ones,
        kind->two_products,
    };
    const struct vk_pipeline_params params = {
        .code = modules[kind->type].code,
        .code_bytes = modules[kind->type].bytes,
        .push_bytes = PUSH_BYTES,
        .constants = constants,
        .constant_count = sizeof(constants) / sizeof(constants[0]),
    };
    return pipeline_pool_acquire(device, &params, out_pipeline);
}

static enum vkring_status prepare(vkring_device *device, struct gemm *gemm, bool aligned)
{
    const struct vk_pipeline **pipeline = aligned ? &gemm->aligned : &gemm->general;
    return *pipeline ? VKRING_OK : acquire(device, gemm, aligned, pipeline);
}

enum vkring_status gemm_create(vkring_device *device, const struct gemm_kind *kind, bool aligned, struct gemm *out_gemm)
{
    enum vkring_status status;
    struct gemm gemm = {.kind = *kind, .tile = choose_tile(device, kind)};
    TRY(prepare(device, &gemm, aligned), fail);
    *out_gemm = gemm;
    return VKRING_OK;
fail:
    return status;
}

void gemm_destroy(vkring_device *device, struct gemm *gemm)
{
    pipeline_pool_release(device, &gemm->aligned);
    pipeline_pool_release(device, &gemm->general);
}

static bool lies_in_quads(const struct gemm_kind *kind, bool f32, uint64_t address, uint32_t stride)
{
    return (address | stride) % (4 * (f32 ? sizeof(float) : vkring_type_bytes(kind->type))) == 0;
}

static bool is_aligned(const struct gemm_kind *kind, const struct gemm_operands *operands)
{
    const bool gradient = kind->epilogue == GEMM_GRADIENT || kind->epilogue == GEMM_GATED_GRADIENT;
    bool aligned = kind->columns % 4 == 0 && lies_in_quads(kind, kind->left_f32, operands->left, operands->left_stride) &&
                   lies_in_quads(kind, kind->right_f32, operands->right, operands->right_stride) &&
                   lies_in_quads(kind, kind->result_f32 || gradient, operands->result, operands->result_stride);
    if (kind->bias)
        aligned = aligned && lies_in_quads(kind, false, operands->bias, 0);
    if (kind->ones && operands->ones)
        aligned = aligned && lies_in_quads(kind, true, operands->bias, 0);
    if (kind->two_products)
        aligned = aligned && lies_in_quads(kind, kind->left_f32, operands->others[0], 0) &&
                  lies_in_quads(kind, kind->right_f32, operands->others[1], operands->other_right_stride);
    return aligned;
}

enum vkring_status gemm_prepare(vkring_device *device, struct gemm *gemm, const struct gemm_operands *operands)
{
    return prepare(device, gemm, is_aligned(&gemm->kind, operands));
}

static uint32_t tile_rows(const struct gemm_tile *tile)
{
    return tile->workgroup_size * tile->rows_per_lane;
}

struct gemm_box gemm_tiles(const struct gemm *gemm, const struct gemm_operands *operands)
{
    return (struct gemm_box){
        .row_tiles = (uint32_t)divide_up((uint64_t)operands->rows + operands->ones, tile_rows(&gemm->tile)),
        .column_tiles = (uint32_t)divide_up(gemm->kind.columns, gemm->tile.columns),
    };
}

double gemm_tile_flop(const struct gemm *gemm, const struct gemm_operands *operands)
{
    return 2.0 * tile_rows(&gemm->tile) * gemm->tile.columns * operands->terms * (gemm->kind.two_products ? 2 : 1);
}

void gemm_record(vkring_device *device, const struct vk_commands *commands, const struct gemm *gemm, const struct gemm_operands *operands,
                 const struct gemm_box *box)
{
    const struct push push = {
        .left = operands->left,
        .right = operands->right,
        .result = operands->result,
        .bias = operands->bias,
        .others = {operands->others[0], operands->others[1]},
        .left_stride = operands->left_stride,
        .right_stride = operands->right_stride,
        .result_stride = operands->result_stride,
        .other_right_stride = operands->other_right_stride,
        .rows = operands->rows,
        .columns = (uint32_t)gemm->kind.columns,
        .terms = operands->terms,
        .first_row_tile = box->row_tile,
        .first_column_tile = box->column_tile,
        .first = operands->first,
        .ones = operands->ones,
    };
    const uint32_t workgroups[3] = {box->row_tiles, box->column_tiles, 1};
    vk_commands_dispatch(device, commands, is_aligned(&gemm->kind, operands) ? gemm->aligned : gemm->general, &push, workgroups);
}
