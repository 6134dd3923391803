/* SPDX-License-Identifier: MIT */
#include "kernel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../base/checked.h"
#include "../vk/device_speed.h"
#include "mask.h"

/* What stays in the caches of a CPU; a dispatch of a few tiles may keep more. */
#define MOST_SCORE_GRADS ((uint64_t)1 << 20)

#define MATRIX_CONSTANTS 11u

static uint64_t lane_quads(uint64_t dim, uint32_t lanes)
{
    return divide_up(divide_up(dim, 4), lanes);
}

/* Quads of sums that a lane keeps for a row. */
static uint64_t sum_quads(enum spirv_kernel which, const struct kernel_choice *choice, const struct problem *problem)
{
    const uint64_t head = lane_quads(problem->head_dim, choice->lanes_per_row);
    const uint64_t value = lane_quads(problem->value_dim, choice->lanes_per_row);
    switch (which) {
    case SPIRV_FORWARD:
    case SPIRV_MERGE:
        return value;
    case SPIRV_QUERY_GRADIENT:
        return head;
    case SPIRV_KEY_GRADIENT:
        return choice->separate_sums ? 2 * max_u64(head, value) : head + value;
    case SPIRV_QUERY_SUM:
    case SPIRV_BIAS_GRADIENT:
    case SPIRV_ROW_STATS:
    case SPIRV_SINK_GRADIENT:
    case SPIRV_KERNELS:
        break;
    }
    return 0;
}

uint64_t attention_kernel_state_bytes(enum spirv_kernel which, const struct kernel_choice *choice, const struct problem *problem)
{
    const uint64_t maximum_and_sum = which == SPIRV_FORWARD || which == SPIRV_MERGE ? 8 : 0;
    const struct matrix_tiles *matrices = kernel_choice_matrices(choice, which);
    if (matrices)
        return matrix_tiles_state_bytes(which, matrices, problem);
    return (16 * sum_quads(which, choice, problem) + maximum_and_sum) * choice->rows_per_lane * choice->workgroup_size;
}

/* A device of one size has nothing to ask for. */
static uint32_t matrix_subgroup_size(const vkring_device *device, const struct matrix_tiles *matrices)
{
    return device->limits.subgroup_size_control ? matrices->subgroup_size : 0;
}

static bool loads_uniformly(const struct attention_kernel *kernel)
{
    return kernel->which == SPIRV_FORWARD && kernel->choice.uniform_loads;
}

static struct spirv_module module_of(const struct attention_kernel *kernel, enum vkring_type type)
{
    const struct matrix_tiles *matrices = kernel_choice_matrices(&kernel->choice, kernel->which);
    if (matrices)
        return matrices->operations ? spirv_matrix_kernel_by_operations(kernel->which, type) : spirv_matrix_kernel(kernel->which, type);
    if (loads_uniformly(kernel))
        return spirv_forward_uniform(type, kernel->use.int8_keys);
    if (kernel->which == SPIRV_FORWARD && kernel->use.int8_keys)
        return spirv_forward_int8(type, kernel->choice.shuffle);
    return spirv_kernel(kernel->which, type, kernel->choice.shuffle);
}

/* As in constants.glsl; the last eleven only of kernels on matrix units. */
static enum vkring_status create_pipeline(vkring_device *device, const struct attention_kernel *kernel, const struct problem *problem,
                                          enum alignment alignment, const struct vk_pipeline **out_pipeline)
{
    const struct kernel_choice *choice = &kernel->choice;
    const bool on_matrices = kernel_choice_matrices(choice, kernel->which);
    const bool aligned = alignment != ALIGNED_ELEMENTS, octets = alignment == ALIGNED_OCTETS;
    const struct matrix_tiles *matrices = &choice->matrices[kernel->which];
    const uint32_t constants[] = {
        on_matrices ? matrix_tiles_workgroup_size(matrices) : choice->workgroup_size,
        (uint32_t)problem->head_dim,
        (uint32_t)problem->value_dim,
        on_matrices ? matrices->lanes_per_row : choice->lanes_per_row,
        on_matrices ? matrices->rows_per_lane : choice->rows_per_lane,
        on_matrices ? matrices->rows_per_step
        : aligned   ? choice->keys_per_step
                    : choice->keys_per_step_general,
        aligned,
        mask_is_band(problem),
        mask_has_stairs(problem),
        problem->segment_ids,
        problem->softcap > 0,
        problem->alibi,
        problem->bias.present,
        problem->bias.type == VKRING_TYPE_F32,
        problem->bias.per_query,
        problem->sinks,
        problem->dropout > 0,
        problem->bias.per_batch,
        problem->bias.per_head,
        kernel->use.partial,
        kernel->use.strided,
        choice->keeps_score_grads,
        on_matrices ? matrices->few_registers : choice->few_registers,
        on_matrices ? 1 : kernel_choice_packed_heads(choice),
        !on_matrices && kernel->use.splits,
        !on_matrices && choice->broadcast,
        on_matrices ? matrices->separate_sums : choice->separate_sums,
        on_matrices ? 1 : kernel_choice_key_heads(choice),
        matrices->shape.m,
        matrices->shape.n,
        matrices->shape.k,
        matrices->subgroups,
        problem->backward,
        matrices->parts_apart,
        matrices->column_parts,
        octets,
        octets && matrices->loads_ahead,
        matrices->row_parts,
        matrices->turns_values,
    };
    const uint32_t constant_count = sizeof(constants) / sizeof(constants[0]);
    const struct spirv_module module = module_of(kernel, problem->type);
    const struct vk_pipeline_params params = {
        .code = module.code,
        .code_bytes = module.bytes,
        .push_bytes = sizeof(uint64_t),
        .constants = constants,
        .constant_count = on_matrices ? constant_count : constant_count - MATRIX_CONSTANTS,
        .subgroup_size = on_matrices ? matrix_subgroup_size(device, matrices) : choice->subgroup_size,
    };
    return pipeline_pool_acquire(device, &params, out_pipeline);
}

static void name_matrix_kernel(struct attention_kernel *kernel)
{
    const struct matrix_tiles *matrices = &kernel->choice.matrices[kernel->which];
    char parts[64] = "", rows[32] = "";
    if (matrices->row_parts < matrices->column_parts)
        snprintf(rows, sizeof(rows), " row_parts=%u", matrices->row_parts);
    if (matrices->column_parts > 1)
        snprintf(parts, sizeof(parts), " column_parts=%u%s", matrices->column_parts, rows);
    snprintf(kernel->name, sizeof(kernel->name),
             "%s_matrix shape=%ux%ux%u workgroup=%u tile_rows=%u rows_per_step=%u subgroup=%u%s%s%s%s%s", spirv_kernel_name(kernel->which),
             matrices->shape.m, matrices->shape.n, matrices->shape.k, matrix_tiles_workgroup_size(matrices), matrix_tiles_rows(matrices),
             matrices->rows_per_step, matrices->subgroup_size, parts, matrices->few_registers ? " few_registers" : "",
             matrices->operations ? " operations" : "", matrices->loads_ahead ? " loads_ahead" : "",
             matrices->turns_values ? " turns_values" : "");
}

static void name_kernel(const vkring_device *device, const struct problem *problem, struct attention_kernel *kernel)
{
    const struct kernel_choice *choice = &kernel->choice;
    if (kernel_choice_matrices(choice, kernel->which))
        name_matrix_kernel(kernel);
    else
        snprintf(kernel->name, sizeof(kernel->name),
                 "%s%s workgroup=%u lanes_per_row=%u rows_per_lane=%u keys_per_step=%u subgroup=%u%s%s%s%s",
                 spirv_kernel_name(kernel->which),
                 loads_uniformly(kernel) ? "_uniform"
                 : choice->shuffle       ? ""
                                         : "_no_shuffle",
                 choice->workgroup_size, choice->lanes_per_row, choice->rows_per_lane,
                 problem_alignment(problem) == ALIGNED_ELEMENTS ? choice->keys_per_step_general : choice->keys_per_step,
                 choice->subgroup_size ? choice->subgroup_size : device->limits.subgroup_size,
                 choice->few_registers ? " few_registers" : "", kernel_choice_packed_heads(choice) > 1 ? " packed" : "",
                 kernel_choice_key_heads(choice) > 1 ? " key_heads" : "", kernel->use.splits ? " split" : "");
}

enum vkring_status attention_kernel_create(vkring_device *device, enum spirv_kernel which, const struct problem *problem,
                                           const struct kernel_choice *choice, struct kernel_use use, struct attention_kernel *out_kernel)
{
    enum vkring_status status;
    struct attention_kernel kernel = {
        .which = which,
        .choice = *choice,
        .use = use,
        .state_bytes_per_workgroup = attention_kernel_state_bytes(which, choice, problem),
    };
    name_kernel(device, problem, &kernel);
    TRY(attention_kernel_prepare(device, problem, problem_alignment(problem), &kernel), fail);
    *out_kernel = kernel;
fail:
    return status;
}

/* Only kernels on matrix units read octets. */
static enum alignment alignment_of_kernel(const struct attention_kernel *kernel, enum alignment alignment)
{
    return alignment == ALIGNED_OCTETS && !kernel_choice_matrices(&kernel->choice, kernel->which) ? ALIGNED_QUADS : alignment;
}

enum vkring_status attention_kernel_prepare(vkring_device *device, const struct problem *problem, enum alignment alignment,
                                            struct attention_kernel *kernel)
{
    const enum alignment its = alignment_of_kernel(kernel, alignment);
    if (kernel->pipelines[its])
        return VKRING_OK;
    return create_pipeline(device, kernel, problem, its, &kernel->pipelines[its]);
}

void attention_kernel_destroy(vkring_device *device, struct attention_kernel *kernel)
{
    for (enum alignment alignment = 0; alignment < ALIGNMENTS; alignment++)
        pipeline_pool_release(device, &kernel->pipelines[alignment]);
}

double attention_kernel_products(enum spirv_kernel which)
{
    switch (which) {
    case SPIRV_QUERY_GRADIENT:
        return 1.5;
    case SPIRV_KEY_GRADIENT:
        return 2;
    case SPIRV_QUERY_SUM:
        return 0.5;
    case SPIRV_FORWARD:
    case SPIRV_MERGE:
    case SPIRV_BIAS_GRADIENT:
    case SPIRV_ROW_STATS:
    case SPIRV_SINK_GRADIENT:
    case SPIRV_KERNELS:
        break;
    }
    return 1;
}

/* The gradients of the scores of a dispatch are kept, and a dispatch of query_sum goes through its rows and all query heads of its groups.
 */
static void limit_score_grads(const struct problem *problem, const struct kernel_choice *choice, double flop_per_row_key,
                              struct tiling_limits *limits, uint64_t *most_rows)
{
    const uint64_t group = problem->heads / problem->kv_heads;
    limits->flop = fmin(limits->flop, flop_per_row_key * (double)MOST_SCORE_GRADS / (double)group);
    *most_rows = min_u64(*most_rows, limits->max_workgroup_count[0] * (uint64_t)kernel_choice_tile_rows(choice));
    limits->max_workgroup_count[1] = (uint32_t)max_u64(limits->max_workgroup_count[1] / group, 1);
}

void attention_kernel_tile(const vkring_device *device, enum spirv_kernel which, const struct problem *problem,
                           const struct kernel_choice *choice, const struct own_side *own, uint64_t most_others, double dispatch_seconds,
                           struct tiling *out_tiling)
{
    /* an own row meets an other one once for each problem head and batch entry that its own stands for */
    const double times = (double)problem->heads / (double)own->heads * (double)problem->batch / (double)max_u64(own->batch, 1);
    const double flop = attention_kernel_products(which) * 2.0 * (double)(problem->head_dim + problem->value_dim) * times;
    const uint64_t state_quads = divide_up(max_u64(attention_kernel_state_bytes(which, choice, problem), 1), 16);
    const uint64_t tile_rows = kernel_choice_rows_of(choice, which);
    struct tiling_limits limits = {
        /* kernels index the quads of a dispatch's state with 32 bits */
        .max_workgroups = ((uint64_t)1 << 31) / state_quads,
        .max_rows = own->most_stride > 1 ? MASK_MAX_EXTENT / 2 / own->most_stride : MASK_MAX_EXTENT,
        .enough_workgroups = kernel_enough_workgroups(device),
        .flop = dispatch_seconds * vk_device_flops(device),
        .split = choice->split,
    };
    memcpy(limits.max_workgroup_count, device->limits.max_workgroup_count, sizeof(limits.max_workgroup_count));
    if (which == SPIRV_KEY_GRADIENT && choice->keeps_score_grads)
        limit_score_grads(problem, choice, flop, &limits, &most_others);
    tiling_make(&limits, own->batch, own->heads, own->rows, tile_rows, flop, most_others, out_tiling);
}

double attention_kernel_flop(const struct attention_kernel *kernel, const struct attention_dispatch *dispatch)
{
    const struct problem *problem = dispatch->problem;
    const struct mask_block block = dispatch_block(dispatch);
    const double times = dispatch->side == OWN_KEYS ? (double)problem->heads / (double)problem->kv_heads : 1;
    const double flop = attention_kernel_products(kernel->which) * 2.0 * (double)(problem->head_dim + problem->value_dim);
    const double pairs = dispatch->side == OWN_QUERIES ? kernel_choice_pairs(&kernel->choice, kernel->which, problem, &block)
                                                       : kernel_choice_pairs_of_keys(&kernel->choice, kernel->which, problem, &block);
    return flop * times * (double)dispatch->box.batch * (double)dispatch->box.heads * pairs;
}

void attention_kernel_record(vkring_device *device, const struct vk_commands *commands, const struct attention_kernel *kernel,
                             enum alignment alignment, const struct attention_dispatch *dispatch, const vkring_buffer *arguments,
                             uint64_t slot)
{
    const uint64_t offset = slot * ARGUMENT_BYTES;
    const uint64_t address = arguments->address + offset;
    const struct tiling_box *box = &dispatch->box;
    const uint64_t splits = kernel->which == SPIRV_FORWARD ? box->splits : 1;
    const uint64_t workgroups[3] = {box->tiles, box->heads / kernel_choice_packed_heads(&kernel->choice), box->batch * splits};
    arguments_write(dispatch, (char *)arguments->mapped + offset);
    vk_commands_dispatch(device, commands, kernel->pipelines[alignment_of_kernel(kernel, alignment)], &address,
                         (const uint32_t[3]){(uint32_t)workgroups[0], (uint32_t)workgroups[1], (uint32_t)workgroups[2]});
}
