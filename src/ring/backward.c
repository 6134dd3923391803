/* SPDX-License-Identifier: MIT */
#include "backward.h"

#include <stdlib.h>

#include "../base/checked.h"

static uint64_t most_query_rows(const struct layout *layout)
{
    uint64_t most = 0;
    for (uint32_t span = 0; span < layout->queries.count; span++)
        most = max_u64(most, layout_span_of(&layout->queries, layout->rank, span)->rows);
    return most;
}

static enum spirv_kernel kernel_of(enum task_kind kind)
{
    switch (kind) {
    case TASK_BIAS_ROWS:
    case TASK_BIAS_KEYS:
        return SPIRV_BIAS_GRADIENT;
    case TASK_SINKS:
        return SPIRV_SINK_GRADIENT;
    default:
        return SPIRV_KEY_GRADIENT;
    }
}

static struct own_side own_side_of(const struct problem *problem, enum task_kind kind, uint64_t keys)
{
    const struct vkring_bias_params *bias = &problem->bias;
    switch (kind) {
    case TASK_BIAS_ROWS:
    case TASK_BIAS_KEYS:
        return (struct own_side){bias->per_batch ? problem->batch : 1, bias->per_head ? problem->heads : 1, keys};
    case TASK_SINKS:
        return (struct own_side){1, problem->heads, 1};
    default:
        return (struct own_side){problem->batch, problem->kv_heads, keys};
    }
}

struct tiling backward_tiling(const struct backward *backward, const vkring_device *device, const struct problem *problem,
                              const struct layout *layout, enum task_kind kind, uint64_t keys)
{
    struct tiling tiling;
    struct own_side own = own_side_of(problem, kind, keys);
    own.most_stride = layout->most_stride;
    attention_kernel_tile(device, kernel_of(kind), problem, &backward->choice, &own, most_query_rows(layout), backward->dispatch_seconds,
                          &tiling);
    return tiling;
}

void backward_tile(struct backward *backward, const vkring_device *device, const struct problem *problem, const struct layout *layout,
                   const struct kernel_choice *choice, double dispatch_seconds)
{
    backward->choice = *choice;
    backward->dispatch_seconds = dispatch_seconds;
    query_walk_tile(&backward->row_stats, device, SPIRV_ROW_STATS, problem, layout, choice, false, dispatch_seconds);
    if (!backward_is_joint(backward))
        query_walk_tile(&backward->query, device, SPIRV_QUERY_GRADIENT, problem, layout, choice, true, dispatch_seconds);
}

/* Of the keys of any packet. A walk that ends in one block needs none. */
static uint64_t state_bytes(const struct backward *backward, const vkring_device *device, const struct problem *problem,
                            const struct layout *layout, uint32_t steps)
{
    const uint64_t of_workgroup = attention_kernel_state_bytes(SPIRV_KEY_GRADIENT, &backward->choice, problem);
    const uint64_t query_rows = layout_query_rows(layout, layout->rank);
    uint64_t most = 0, seen[LAYOUT_SPANS] = {0};
    for (uint32_t step = 0; step < steps; step++) {
        for (uint32_t span = 0; span < layout->keys.count; span++) {
            const uint64_t keys = layout_span_of(&layout->keys, layout_origin(layout, step), span)->rows;
            if (keys == seen[span])
                continue;
            seen[span] = keys;
            const struct tiling tiling = backward_tiling(backward, device, problem, layout, TASK_KEY, keys);
            const bool needed = most_query_rows(layout) < query_rows || query_rows > min_u64(tiling.keys, KERNEL_BLOCK_ROWS) ||
                                problem->heads > problem->kv_heads;
            if (tiling.boxes > 0 && needed)
                most = max_u64(most, tiling.box_batch * tiling.box_heads * tiling.box_tiles * of_workgroup);
        }
    }
    return most;
}

static uint64_t query_group(const struct problem *problem)
{
    return problem->heads / problem->kv_heads;
}

/* Of any dispatch of key gradients. */
static uint64_t score_grads_bytes(const struct backward *backward, const vkring_device *device, const struct problem *problem,
                                  const struct layout *layout, uint32_t steps)
{
    const struct kernel_choice *choice = &backward->choice;
    uint64_t most = 0;
    for (uint32_t step = 0; backward_is_joint(backward) && step < steps; step++)
        for (uint32_t span = 0; span < layout->keys.count; span++) {
            const uint64_t keys = layout_span_of(&layout->keys, layout_origin(layout, step), span)->rows;
            const struct tiling tiling = backward_tiling(backward, device, problem, layout, TASK_KEY, keys);
            const uint64_t most_keys = kernel_choice_score_rows(choice, min_u64(tiling.box_tiles * tiling.tile_rows, keys));
            const uint64_t most_rows = kernel_choice_score_rows(choice, min_u64(tiling.keys, most_query_rows(layout)));
            if (tiling.boxes > 0)
                most = max_u64(most, tiling.box_batch * tiling.box_heads * query_group(problem) * most_keys * most_rows);
        }
    return most * sizeof(float);
}

static uint64_t query_sums_bytes(const struct backward *backward, const struct problem *problem, const struct layout *layout)
{
    if (!backward_is_joint(backward) || problem->type == VKRING_TYPE_F32)
        return 0;
    return problem->batch * layout_query_rows(layout, layout->rank) * problem->heads * problem->head_dim * sizeof(float);
}

static struct gradients_params gradients_params_of(const struct backward *backward, const struct layout *layout, uint32_t steps)
{
    const bool travel = steps > 1;
    return (struct gradients_params){
        .travel = travel,
        .most_keys = layout->most_key_rows,
        .own_keys_apart = travel && backward_is_joint(backward) ? layout_key_rows(layout, layout->rank) : 0,
    };
}

static uint64_t row_stats_bytes(const struct problem *problem, const struct layout *layout)
{
    return problem->batch * problem->heads * layout_query_rows(layout, layout->rank) * ROW_STATS_BYTES;
}

/* Sinks are those of all ranks. */
static bool gathers_sinks(const struct problem *problem, const struct layout *layout)
{
    return problem->sinks && layout->ranks > 1;
}

enum vkring_status backward_measure(const struct backward *backward, vkring_device *device, const struct problem *problem,
                                    const struct layout *layout, uint32_t steps, struct vkring_plan_memory *memory)
{
    enum vkring_status status;
    const struct gradients_params params = gradients_params_of(backward, layout, steps);
    const uint64_t on_device[] = {
        state_bytes(backward, device, problem, layout, steps),
        row_stats_bytes(problem, layout),
        score_grads_bytes(backward, device, problem, layout, steps),
        query_sums_bytes(backward, problem, layout),
    };
    uint64_t bytes;
    bool counts_as_host;
    for (size_t i = 0; i < sizeof(on_device) / sizeof(on_device[0]); i++) {
        TRY(vk_buffer_measure(device, VK_MEMORY_DEVICE, on_device[i], &bytes, &counts_as_host), fail);
        memory->device_bytes += bytes;
    }
    if (gathers_sinks(problem, layout)) {
        TRY(vk_buffer_measure(device, VK_MEMORY_HOST, problem->heads * sizeof(float), &bytes, &counts_as_host), fail);
        *(counts_as_host ? &memory->host_bytes : &memory->device_bytes) += bytes;
    }
    TRY(gradients_measure(device, problem, &params, memory), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status create_kernels(struct backward *backward, vkring_device *device, const struct problem *problem,
                                         const struct layout *layout, uint32_t steps)
{
    enum vkring_status status;
    const struct kernel_choice *choice = &backward->choice;
    const struct kernel_use use = {.strided = layout->most_stride > 1};
    const struct kernel_use of_keys = {.partial = steps > 1, .strided = use.strided};
    TRY(query_walk_create(&backward->row_stats, device, problem, layout, 0), fail);
    if (backward_is_joint(backward))
        TRY(attention_kernel_create(device, SPIRV_QUERY_SUM, problem, choice, use, &backward->query_sum), fail);
    else
        TRY(query_walk_create(&backward->query, device, problem, layout, steps), fail);
    TRY(attention_kernel_create(device, SPIRV_KEY_GRADIENT, problem, choice, of_keys, &backward->key), fail);
    if (problem->bias.present)
        TRY(attention_kernel_create(device, SPIRV_BIAS_GRADIENT, problem, choice, use, &backward->bias), fail);
    if (problem->sinks)
        TRY(attention_kernel_create(device, SPIRV_SINK_GRADIENT, problem, choice, use, &backward->sinks), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status backward_create(struct backward *backward, vkring_device *device, const struct problem *problem,
                                   const struct layout *layout, uint32_t steps)
{
    enum vkring_status status;
    const struct gradients_params params = gradients_params_of(backward, layout, steps);
    TRY(create_kernels(backward, device, problem, layout, steps), fail);
    TRY(program_make_backward(problem, layout, steps, backward_is_joint(backward), &backward->program), fail);
    TRY(gradients_create(device, problem, &params, &backward->gradients), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, state_bytes(backward, device, problem, layout, steps), &backward->state), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, row_stats_bytes(problem, layout), &backward->row_stats_rows), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, score_grads_bytes(backward, device, problem, layout, steps), &backward->score_grads),
        fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, query_sums_bytes(backward, problem, layout), &backward->query_sums), fail);
    if (gathers_sinks(problem, layout)) {
        TRY(vk_buffer_create(device, VK_MEMORY_HOST, problem->heads * sizeof(float), &backward->sinks_here), fail);
        backward->sinks_of_ranks = calloc((size_t)problem->heads * layout->ranks, sizeof(float));
        if (!backward->sinks_of_ranks)
            return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for the sinks of %u ranks", layout->ranks);
    }
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status backward_prepare(struct backward *backward, vkring_device *device, const struct problem *problem,
                                    enum alignment alignment)
{
    enum vkring_status status;
    TRY(attention_kernel_prepare(device, problem, alignment, &backward->row_stats.kernel), fail);
    TRY(attention_kernel_prepare(device, problem, alignment, backward_is_joint(backward) ? &backward->query_sum : &backward->query.kernel),
        fail);
    TRY(attention_kernel_prepare(device, problem, alignment, &backward->key), fail);
    if (problem->bias.present)
        TRY(attention_kernel_prepare(device, problem, alignment, &backward->bias), fail);
    if (problem->sinks)
        TRY(attention_kernel_prepare(device, problem, alignment, &backward->sinks), fail);
    return VKRING_OK;
fail:
    return status;
}

void backward_destroy(struct backward *backward, vkring_device *device)
{
    query_walk_destroy(&backward->row_stats, device);
    query_walk_destroy(&backward->query, device);
    attention_kernel_destroy(device, &backward->query_sum);
    attention_kernel_destroy(device, &backward->key);
    attention_kernel_destroy(device, &backward->bias);
    attention_kernel_destroy(device, &backward->sinks);
    program_free(&backward->program);
    gradients_destroy(&backward->gradients);
    vkring_buffer_destroy(&backward->state);
    vkring_buffer_destroy(&backward->row_stats_rows);
    vkring_buffer_destroy(&backward->score_grads);
    vkring_buffer_destroy(&backward->query_sums);
    vkring_buffer_destroy(&backward->sinks_here);
    free(backward->sinks_of_ranks);
}

struct tensor_view backward_row_stats_view(const struct backward *backward, const struct problem *problem, uint64_t rows)
{
    return (struct tensor_view){
        .buffer = backward->row_stats_rows,
        .address = backward->row_stats_rows->address,
        .batch_stride = problem->heads * rows * ROW_STATS_BYTES,
        .head_stride = rows * ROW_STATS_BYTES,
        .row_stride = ROW_STATS_BYTES,
    };
}

struct tensor_view backward_sinks_view(const struct backward *backward)
{
    return (struct tensor_view){.buffer = backward->sinks_here, .address = backward->sinks_here->address, .row_stride = sizeof(float)};
}

struct tensor_view backward_query_sums_view(const struct backward *backward, const struct problem *problem, uint64_t rows)
{
    const uint64_t head_stride = problem->head_dim * sizeof(float), row_stride = problem->heads * head_stride;
    return (struct tensor_view){
        .buffer = backward->query_sums,
        .address = backward->query_sums->address,
        .batch_stride = rows * row_stride,
        .head_stride = head_stride,
        .row_stride = row_stride,
    };
}

void backward_keep_score_grads(const struct backward *backward, struct attention_dispatch *dispatch)
{
    const struct kernel_choice *choice = &backward->choice;
    const uint64_t tile = kernel_choice_tile_rows(choice);
    const uint64_t row_stride = kernel_choice_score_rows(choice, dispatch->others) * tile * sizeof(float);
    const uint64_t head_stride = kernel_choice_score_rows(choice, dispatch->box.rows) / tile * row_stride;
    dispatch->score_grads = (struct tensor_view){
        .buffer = backward->score_grads,
        .address = backward->score_grads->address,
        .batch_stride = dispatch->box.heads * query_group(dispatch->problem) * head_stride,
        .head_stride = head_stride,
        .row_stride = row_stride,
    };
}

struct attention_dispatch backward_query_sum(const struct backward *backward, const struct attention_dispatch *of_keys)
{
    struct attention_dispatch dispatch = *of_keys;
    const uint64_t group = query_group(of_keys->problem);
    dispatch.side = OWN_QUERIES;
    dispatch.box.first_head *= group;
    dispatch.box.heads *= group;
    dispatch.box.first_tile = 0;
    dispatch.box.tiles = divide_up(of_keys->others, kernel_choice_tile_rows(&backward->choice));
    dispatch.box.first_row = of_keys->other_first;
    dispatch.box.rows = of_keys->others;
    dispatch.other_first = of_keys->box.first_row;
    dispatch.others = of_keys->box.rows;
    return dispatch;
}
