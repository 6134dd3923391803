/* SPDX-License-Identifier: MIT */
#include "forward.h"

#include <stdio.h>
#include <string.h>

#include "../base/checked.h"
#include "spirv.h"

#define DEFAULT_DISPATCH_SECONDS 0.1
#define LOG2_E 1.44269504088896340736

/* As in forward_arguments.glsl: scalar layout, 64-bit words where it has (low, high) pairs. */
struct forward_arguments {
    uint64_t query, key, value, output, lse, state;
    uint64_t query_batch_stride, query_row_stride, query_head_stride;
    uint64_t key_batch_stride, key_row_stride, key_head_stride;
    uint64_t value_batch_stride, value_row_stride, value_head_stride;
    uint64_t output_batch_stride, output_row_stride, output_head_stride;
    uint64_t lse_batch_stride, lse_head_stride;
    uint32_t first_head;
    uint32_t heads_per_kv_head;
    uint32_t rows;
    uint32_t keys;
    int32_t diagonal;
    float score_scale;
    uint32_t first;
    uint32_t last;
};

_Static_assert(sizeof(struct forward_arguments) <= FORWARD_ARGUMENT_BYTES, "the arguments fit their slot");

static uint32_t lane_quads(uint64_t dim, uint32_t lanes)
{
    return (uint32_t)divide_up(divide_up(dim, 4), lanes);
}

uint64_t forward_state_bytes_per_workgroup(const struct kernel_choice *choice, const struct problem *problem)
{
    uint64_t output = 16 * (uint64_t)lane_quads(problem->value_dim, choice->lanes_per_row);
    uint64_t maximum_and_sum = 8;
    return (output + maximum_and_sum) * choice->rows_per_lane * choice->workgroup_size;
}

static bool dims_aligned(const struct problem *problem)
{
    return problem->head_dim % 4 == 0 && problem->value_dim % 4 == 0;
}

static enum vkring_status create_pipeline(vkring_device *device, const struct problem *problem, const struct kernel_choice *choice,
                                          bool aligned, struct vk_pipeline *out_pipeline)
{
    const uint32_t constants[] = {
        choice->workgroup_size,
        (uint32_t)problem->head_dim,
        (uint32_t)problem->value_dim,
        choice->lanes_per_row,
        choice->rows_per_lane,
        aligned ? choice->keys_per_step : choice->keys_per_step_general,
        problem->causal,
        aligned,
    };
    struct vk_pipeline_params params = {
        .push_bytes = sizeof(uint64_t),
        .constants = constants,
        .constant_count = sizeof(constants) / sizeof(constants[0]),
        .subgroup_size = choice->subgroup_size,
    };
    struct spirv_module module = spirv_forward(problem->type, choice->shuffle);
    params.code = module.code;
    params.code_bytes = module.bytes;
    return vk_pipeline_create(device, &params, out_pipeline);
}

enum vkring_status forward_kernel_create(vkring_device *device, const struct problem *problem, const struct kernel_choice *choice,
                                         struct forward_kernel *out_kernel)
{
    enum vkring_status status;
    struct forward_kernel kernel = {.choice = *choice};

    if (dims_aligned(problem))
        TRY(create_pipeline(device, problem, choice, true, &kernel.aligned), fail);
    TRY(create_pipeline(device, problem, choice, false, &kernel.general), fail);
    kernel.state_bytes_per_workgroup = forward_state_bytes_per_workgroup(choice, problem);
    snprintf(kernel.name, sizeof(kernel.name), "forward%s workgroup=%u lanes_per_row=%u rows_per_lane=%u keys_per_step=%u subgroup=%u",
             choice->shuffle ? "" : "_no_shuffle", choice->workgroup_size, choice->lanes_per_row, choice->rows_per_lane,
             dims_aligned(problem) ? choice->keys_per_step : choice->keys_per_step_general,
             choice->subgroup_size ? choice->subgroup_size : device->limits.subgroup_size);
    *out_kernel = kernel;
    return VKRING_OK;
fail:
    forward_kernel_destroy(device, &kernel);
    return status;
}

void forward_kernel_destroy(vkring_device *device, struct forward_kernel *kernel)
{
    vk_pipeline_destroy(device, &kernel->aligned);
    vk_pipeline_destroy(device, &kernel->general);
}

void forward_tile(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice, uint64_t rows,
                  uint64_t most_keys, double dispatch_seconds, struct tiling *out_tiling)
{
    double seconds = dispatch_seconds > 0 ? dispatch_seconds : DEFAULT_DISPATCH_SECONDS;
    uint64_t state_quads = lane_quads(problem->value_dim, choice->lanes_per_row) * choice->rows_per_lane * choice->workgroup_size;
    struct tiling_limits limits = {
        /* kernels index the quads of a dispatch's state with 32 bits */
        .max_workgroups = ((uint64_t)1 << 31) / state_quads,
        .enough_workgroups = kernel_enough_workgroups(device),
        .flop = seconds * kernel_device_flops(device),
    };
    memcpy(limits.max_workgroup_count, device->limits.max_workgroup_count, sizeof(limits.max_workgroup_count));
    tiling_make(&limits, problem->batch, problem->heads, rows, kernel_choice_tile_rows(choice),
                2.0 * (double)(problem->head_dim + problem->value_dim), most_keys, out_tiling);
}

bool forward_tensors_aligned(const struct problem *problem, const struct forward_tensors *tensors)
{
    uint64_t quad = 4 * vkring_type_bytes(problem->type);
    return dims_aligned(problem) && tensor_aligned(&tensors->query, quad) && tensor_aligned(&tensors->output, quad);
}

bool forward_keys_aligned(const struct problem *problem, const struct forward_keys *keys)
{
    uint64_t quad = 4 * vkring_type_bytes(problem->type);
    return dims_aligned(problem) && tensor_aligned(&keys->key, quad) && tensor_aligned(&keys->value, quad);
}

static void fill_strides(struct forward_arguments *arguments, const struct forward_dispatch *dispatch)
{
    const struct forward_tensors *tensors = dispatch->tensors;
    const struct forward_keys *keys = &dispatch->keys;
    arguments->query_batch_stride = tensors->query.batch_stride;
    arguments->query_row_stride = tensors->query.row_stride;
    arguments->query_head_stride = tensors->query.head_stride;
    arguments->key_batch_stride = keys->key.batch_stride;
    arguments->key_row_stride = keys->key.row_stride;
    arguments->key_head_stride = keys->key.head_stride;
    arguments->value_batch_stride = keys->value.batch_stride;
    arguments->value_row_stride = keys->value.row_stride;
    arguments->value_head_stride = keys->value.head_stride;
    arguments->output_batch_stride = tensors->output.batch_stride;
    arguments->output_row_stride = tensors->output.row_stride;
    arguments->output_head_stride = tensors->output.head_stride;
    arguments->lse_batch_stride = tensors->lse.batch_stride;
    arguments->lse_head_stride = tensors->lse.head_stride;
}

static struct forward_arguments make_arguments(const struct forward_kernel *kernel, const struct forward_dispatch *dispatch)
{
    const struct problem *problem = dispatch->problem;
    const struct tiling_box *box = &dispatch->box;
    const struct forward_tensors *tensors = dispatch->tensors;
    const struct forward_keys *keys = &dispatch->keys;
    struct forward_arguments arguments = {
        .query = tensor_address(&tensors->query, box->first_batch, box->first_row, box->first_head),
        .key = tensor_address(&keys->key, box->first_batch, keys->first, 0),
        .value = tensor_address(&keys->value, box->first_batch, keys->first, 0),
        .output = tensor_address(&tensors->output, box->first_batch, box->first_row, box->first_head),
        .state = dispatch->state_address + box->first_workgroup * kernel->state_bytes_per_workgroup,
        .first_head = (uint32_t)box->first_head,
        .heads_per_kv_head = (uint32_t)(problem->heads / problem->kv_heads),
        .rows = (uint32_t)box->rows,
        .keys = (uint32_t)keys->keys,
        .diagonal = problem_diagonal(problem, dispatch->query_row + box->first_row, box->rows, keys->key_row + keys->first, keys->keys),
        .score_scale = (float)(problem->scale * LOG2_E),
        .first = dispatch->first,
        .last = dispatch->last,
    };
    if (tensors->lse.buffer)
        arguments.lse = tensor_address(&tensors->lse, box->first_batch, 0, box->first_head) + box->first_row * sizeof(float);
    fill_strides(&arguments, dispatch);
    return arguments;
}

void forward_record(vkring_device *device, const struct vk_commands *commands, const struct forward_kernel *kernel,
                    const struct forward_dispatch *dispatch)
{
    const struct forward_arguments arguments = make_arguments(kernel, dispatch);
    const uint64_t offset = dispatch->argument_slot * FORWARD_ARGUMENT_BYTES;
    const uint64_t address = dispatch->arguments->address + offset;
    const uint32_t workgroups[3] = {(uint32_t)dispatch->box.tiles, (uint32_t)dispatch->box.heads, (uint32_t)dispatch->box.batch};

    memcpy((char *)dispatch->arguments->mapped + offset, &arguments, sizeof(arguments));
    vk_commands_dispatch(device, commands, dispatch->aligned ? &kernel->aligned : &kernel->general, &address, workgroups);
}
