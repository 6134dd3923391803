/* SPDX-License-Identifier: MIT */
#include "backward.h"

#include "../base/checked.h"

static const struct {
    enum spirv_kernel kernel;
    enum dispatch_side side;
} kinds[BACKWARD_STAGES] = {
    [STAGE_ROW_STATS] = {SPIRV_ROW_STATS, OWN_QUERIES}, [STAGE_QUERY] = {SPIRV_QUERY_GRADIENT, OWN_QUERIES},
    [STAGE_KEY] = {SPIRV_KEY_GRADIENT, OWN_KEYS},       [STAGE_BIAS] = {SPIRV_BIAS_GRADIENT, OWN_BIAS},
    [STAGE_SINK] = {SPIRV_SINK_GRADIENT, OWN_HEADS},
};

bool backward_has_stage(const struct problem *problem, enum backward_stage_kind kind)
{
    switch (kind) {
    case STAGE_BIAS:
        return problem->bias.present;
    case STAGE_SINK:
        return problem->sinks;
    case STAGE_ROW_STATS:
    case STAGE_QUERY:
    case STAGE_KEY:
    case BACKWARD_STAGES:
        break;
    }
    return true;
}

enum dispatch_side backward_side(enum backward_stage_kind kind)
{
    return kinds[kind].side;
}

static struct own_side own_side_of(const struct problem *problem, enum backward_stage_kind kind)
{
    const struct vkring_bias_params *bias = &problem->bias;
    switch (kinds[kind].side) {
    case OWN_KEYS:
        return (struct own_side){problem->batch, problem->kv_heads, problem->kv_len};
    case OWN_BIAS:
        return (struct own_side){bias->per_batch ? problem->batch : 1, bias->per_head ? problem->heads : 1, problem->kv_len};
    case OWN_HEADS:
        return (struct own_side){1, problem->heads, 1};
    case OWN_QUERIES:
        break;
    }
    return (struct own_side){problem->batch, problem->heads, problem->q_len};
}

static uint64_t others_of(const struct problem *problem, enum backward_stage_kind kind)
{
    switch (kind) {
    case STAGE_QUERY:
        return problem->kv_len;
    case STAGE_KEY:
    case STAGE_BIAS:
        return problem->q_len;
    case STAGE_ROW_STATS:
    case STAGE_SINK:
    case BACKWARD_STAGES:
        break;
    }
    return 0;
}

void backward_tile(struct backward *backward, const vkring_device *device, const struct problem *problem,
                   const struct kernel_choice *choice, double dispatch_seconds)
{
    for (int kind = 0; kind < BACKWARD_STAGES; kind++) {
        struct backward_stage *stage = &backward->stages[kind];
        const struct own_side own = own_side_of(problem, (enum backward_stage_kind)kind);
        if (!backward_has_stage(problem, (enum backward_stage_kind)kind))
            continue;
        stage->others = others_of(problem, (enum backward_stage_kind)kind);
        attention_kernel_tile(device, kinds[kind].kernel, problem, choice, &own, stage->others, dispatch_seconds, &stage->tiling);
        if (kind == STAGE_BIAS && !problem->bias.per_query)
            stage->tiling.keys = stage->others; /* it has no state in which pieces could meet */
    }
}

/* A walk that ends in one block needs no state. */
static bool needs_state(const struct backward_stage *stage, const struct problem *problem, enum backward_stage_kind kind)
{
    return stage->others > min_u64(stage->tiling.keys, KERNEL_BLOCK_ROWS) || (kind == STAGE_KEY && problem->heads > problem->kv_heads);
}

uint64_t backward_state_bytes(const struct backward *backward, const struct problem *problem, const struct kernel_choice *choice)
{
    uint64_t most = 0;
    for (int kind = 0; kind < BACKWARD_STAGES; kind++) {
        const struct backward_stage *stage = &backward->stages[kind];
        const struct tiling *tiling = &stage->tiling;
        if (tiling->boxes > 0 && needs_state(stage, problem, (enum backward_stage_kind)kind))
            most = max_u64(most, tiling->box_batch * tiling->box_heads * tiling->box_tiles *
                                     attention_kernel_state_bytes(kinds[kind].kernel, choice, problem));
    }
    return most;
}

uint64_t backward_row_stats_bytes(const struct problem *problem)
{
    return problem->batch * problem->heads * problem->q_len * ROW_STATS_BYTES;
}

enum vkring_status backward_create(struct backward *backward, vkring_device *device, const struct problem *problem,
                                   const struct kernel_choice *choice)
{
    enum vkring_status status;
    for (int kind = 0; kind < BACKWARD_STAGES; kind++)
        if (backward_has_stage(problem, (enum backward_stage_kind)kind))
            TRY(attention_kernel_create(device, kinds[kind].kernel, problem, choice, &backward->stages[kind].kernel), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, backward_state_bytes(backward, problem, choice), &backward->state), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, backward_row_stats_bytes(problem), &backward->row_stats), fail);
    return VKRING_OK;
fail:
    return status;
}

void backward_destroy(struct backward *backward, vkring_device *device)
{
    for (int kind = 0; kind < BACKWARD_STAGES; kind++)
        attention_kernel_destroy(device, &backward->stages[kind].kernel);
    vkring_buffer_destroy(&backward->state);
    vkring_buffer_destroy(&backward->row_stats);
}
