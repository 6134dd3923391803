/* SPDX-License-Identifier: MIT */
#include "gemm.h"

#include <stddef.h>

#include "../base/checked.h"
#include "gemm_bf16.spv.h"
#include "gemm_f16.spv.h"
#include "gemm_f32.spv.h"
#ifdef VKRING_HAS_MATRICES
#include "gemm_matrix_bf16.spv.h"
#include "gemm_matrix_f16.spv.h"
#endif
#ifdef VKRING_HAS_MATRIX_OPERATIONS
#include "gemm_matrix_bf16_operations.spv.h"
#include "gemm_matrix_f16_operations.spv.h"
#endif

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

#define MATRIX_CONSTANTS 7u

struct module {
    const uint32_t *code;
    uint64_t bytes;
};

#define MODULE(name)                                                                                                                       \
    {                                                                                                                                      \
        name##_code, sizeof(name##_code)                                                                                                   \
    }

static const struct module modules[] = {
    [VKRING_TYPE_F32] = MODULE(gemm_f32), [VKRING_TYPE_F16] = MODULE(gemm_f16), [VKRING_TYPE_BF16] = MODULE(gemm_bf16)};

/* None of f32. */
static const struct module matrix_modules[VKRING_TYPE_BF16 + 1] = {
#ifdef VKRING_HAS_MATRICES
    [VKRING_TYPE_F16] = MODULE(gemm_matrix_f16),
    [VKRING_TYPE_BF16] = MODULE(gemm_matrix_bf16),
#else
    {NULL, 0},
#endif
};

static const struct module operation_modules[VKRING_TYPE_BF16 + 1] = {
#ifdef VKRING_HAS_MATRIX_OPERATIONS
    [VKRING_TYPE_F16] = MODULE(gemm_matrix_f16_operations),
    [VKRING_TYPE_BF16] = MODULE(gemm_matrix_bf16_operations),
#else
    {NULL, 0},
#endif
};

static bool is_on_matrices(const struct gemm *gemm)
{
    return gemm->tile.matrices.shape.m > 0;
}

static const struct module *module_of(const struct gemm *gemm)
{
    if (!is_on_matrices(gemm))
        return &modules[gemm->kind.type];
    return gemm->tile.matrices.operations ? &operation_modules[gemm->kind.type] : &matrix_modules[gemm->kind.type];
}

/* As in gemm.glsl and the kernels; the last seven only of that on matrix units. */
static enum vkring_status acquire(vkring_device *device, const struct gemm *gemm, bool aligned, const struct vk_pipeline **out_pipeline)
{
    const struct gemm_kind *kind = &gemm->kind;
    const bool is_f32 = kind->type == VKRING_TYPE_F32;
    const struct gemm_matrices *matrices = &gemm->tile.matrices;
    const bool on_matrices = is_on_matrices(gemm);
    const uint32_t constants[] = {
        gemm->tile.workgroup_size,
        on_matrices ? matrices->step_terms : gemm->tile.rows / gemm->tile.workgroup_size,
        gemm->tile.columns,
        aligned,
        on_matrices || kind->columns < gemm->tile.columns,
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
        matrices->shape.m,
        matrices->shape.n,
        matrices->shape.k,
        matrices->row_tiles,
        matrices->column_tiles,
        matrices->subgroups,
        matrices->few_registers,
    };
    const uint32_t constant_count = sizeof(constants) / sizeof(constants[0]);
    const struct module *module = module_of(gemm);
    const struct vk_pipeline_params params = {
        .code = module->code,
        .code_bytes = module->bytes,
        .push_bytes = PUSH_BYTES,
        .constants = constants,
        .constant_count = on_matrices ? constant_count : constant_count - MATRIX_CONSTANTS,
        .subgroup_size = on_matrices && device->limits.subgroup_size_control ? matrices->subgroup_size : 0,
    };
    return pipeline_pool_acquire(device, &params, out_pipeline);
}

static enum vkring_status prepare(vkring_device *device, struct gemm *gemm, bool aligned)
{
    const struct vk_pipeline **pipeline = aligned ? &gemm->aligned : &gemm->general;
    return *pipeline ? VKRING_OK : acquire(device, gemm, aligned, pipeline);
}

struct gemm_tile gemm_tile_choose(const vkring_device *device, const struct gemm_kind *kind, const struct gemm_wish *wish)
{
    const bool is_cpu = device->info.kind == VKRING_DEVICE_CPU;
    struct gemm_wish possible = *wish;
    struct gemm_tile tile = {0};
    possible.operations = wish->operations && operation_modules[kind->type].code;
    if (wish->matrix && matrix_modules[kind->type].code)
        tile = gemm_tile_on_matrices(&device->limits, is_cpu, &possible, kind);
    return tile.rows ? tile : gemm_tile_scalar(&device->limits, is_cpu, kind);
}

enum vkring_status gemm_create(vkring_device *device, const struct gemm_kind *kind, const struct gemm_wish *wish, bool aligned,
                               struct gemm *out_gemm)
{
    enum vkring_status status;
    struct gemm gemm = {.kind = *kind, .tile = gemm_tile_choose(device, kind, wish)};
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

/* Kernels on matrix units read left and right by whole quads only, as they lie. */
static bool has_whole_quads(const struct gemm_kind *kind, const struct gemm_operands *operands)
{
    return (kind->left_transposed ? operands->rows : operands->terms) % 4 == 0 && (!kind->right_transposed || operands->terms % 4 == 0);
}

static bool is_aligned(const struct gemm *gemm, const struct gemm_operands *operands)
{
    const struct gemm_kind *kind = &gemm->kind;
    const bool gradient = kind->epilogue == GEMM_GRADIENT || kind->epilogue == GEMM_GATED_GRADIENT;
    bool aligned = kind->columns % 4 == 0 && lies_in_quads(kind, kind->left_f32, operands->left, operands->left_stride) &&
                   lies_in_quads(kind, kind->right_f32, operands->right, operands->right_stride) &&
                   lies_in_quads(kind, kind->result_f32 || gradient, operands->result, operands->result_stride);
    if (is_on_matrices(gemm))
        aligned = aligned && has_whole_quads(kind, operands);
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
    return prepare(device, gemm, is_aligned(gemm, operands));
}

struct gemm_box gemm_tiles(const struct gemm *gemm, const struct gemm_operands *operands)
{
    return (struct gemm_box){
        .row_tiles = (uint32_t)divide_up((uint64_t)operands->rows + operands->ones, gemm->tile.rows),
        .column_tiles = (uint32_t)divide_up(gemm->kind.columns, gemm->tile.columns),
    };
}

double gemm_tile_flop(const struct gemm *gemm, const struct gemm_operands *operands)
{
    return 2.0 * gemm->tile.rows * gemm->tile.columns * operands->terms * (gemm->kind.two_products ? 2 : 1);
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
    vk_commands_dispatch(device, commands, is_aligned(gemm, operands) ? gemm->aligned : gemm->general, &push, workgroups);
}
