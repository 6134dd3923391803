/* SPDX-License-Identifier: MIT */
#include "query_walk.h"

#include <stdlib.h>

#include "../base/checked.h"

void query_walk_tile(struct query_walk *walk, const vkring_device *device, enum spirv_kernel which, const struct problem *problem,
                     const struct layout *layout, const struct kernel_choice *choice, bool with_keys, double dispatch_seconds)
{
    const uint64_t most_keys = with_keys ? layout->most_key_rows : 0;
    const uint64_t packed = kernel_choice_packed_heads(choice);
    walk->which = which;
    walk->choice = *choice;
    walk->boxes = 0;
    walk->block_keys = UINT64_MAX;
    walk->splits = false;
    for (uint32_t span = 0; span < layout->queries.count; span++) {
        const struct own_side queries = {problem->batch, problem->heads / packed,
                                         layout_span_of(&layout->queries, layout->rank, span)->rows, layout->most_stride};
        struct tiling *tiling = &walk->tilings[span];
        attention_kernel_tile(device, which, problem, choice, &queries, most_keys, dispatch_seconds, tiling);
        walk->boxes += tiling->boxes;
        if (tiling->boxes > 0)
            walk->block_keys = min_u64(walk->block_keys, tiling->keys);
        walk->splits = walk->splits || tiling->splits > 1;
    }
}

uint64_t query_walk_state_bytes(const struct query_walk *walk, const struct problem *problem, const struct layout *layout)
{
    uint64_t workgroups = 0;
    if (walk->boxes == 0)
        return 0;
    if (!walk->splits && layout->ranks == 1 && layout->most_key_rows <= min_u64(walk->block_keys, KERNEL_BLOCK_ROWS))
        return 0;
    for (uint32_t span = 0; span < layout->queries.count; span++)
        workgroups += tiling_workgroups(&walk->tilings[span]);
    return workgroups * attention_kernel_state_bytes(walk->which, &walk->choice, problem);
}

/* Each box writes its rows at the last step at which it keeps a key. */
enum vkring_status query_walk_find_steps(struct query_walk *walk, const struct problem *problem, const struct layout *layout,
                                         uint32_t steps)
{
    const uint32_t spans = layout->keys.count;
    walk->box_steps = calloc(walk->boxes ? walk->boxes : 1, sizeof(*walk->box_steps));
    if (!walk->box_steps)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for %llu pieces of work", (unsigned long long)walk->boxes);
    for (uint64_t index = 0; index < walk->boxes; index++) {
        const struct query_box box = query_walk_box(walk, layout, index);
        struct box_steps *met = &walk->box_steps[index];
        bool any = false;
        for (step_span at = 0; at < (step_span)steps * spans; at++) {
            const uint32_t origin = layout_origin(layout, (uint32_t)(at / spans));
            if (query_box_kept_keys(&box, problem, layout, origin, (uint32_t)(at % spans)).end == 0)
                continue;
            if (!any)
                met->first = at;
            met->last = at;
            any = true;
        }
    }
    return VKRING_OK;
}

enum vkring_status query_walk_create(struct query_walk *walk, vkring_device *device, const struct problem *problem,
                                     const struct layout *layout, uint32_t steps)
{
    enum vkring_status status;
    const struct kernel_use use = {.strided = layout->most_stride > 1, .splits = walk->splits, .int8_keys = problem->int8_keys};
    TRY(attention_kernel_create(device, walk->which, problem, &walk->choice, use, &walk->kernel), fail);
    if (walk->splits)
        TRY(attention_kernel_create(device, SPIRV_MERGE, problem, &walk->choice, use, &walk->merge), fail);
    TRY(query_walk_find_steps(walk, problem, layout, steps), fail);
fail:
    return status;
}

enum vkring_status query_walk_prepare(struct query_walk *walk, vkring_device *device, const struct problem *problem,
                                      enum alignment alignment)
{
    enum vkring_status status;
    TRY(attention_kernel_prepare(device, problem, alignment, &walk->kernel), fail);
    if (walk->splits)
        TRY(attention_kernel_prepare(device, problem, alignment, &walk->merge), fail);
fail:
    return status;
}

void query_walk_destroy(struct query_walk *walk, vkring_device *device)
{
    attention_kernel_destroy(device, &walk->kernel);
    attention_kernel_destroy(device, &walk->merge);
    free(walk->box_steps);
    walk->box_steps = NULL;
}

struct query_box query_walk_box(const struct query_walk *walk, const struct layout *layout, uint64_t index)
{
    struct query_box box = {0};
    const uint64_t packed = kernel_choice_packed_heads(&walk->choice);
    uint64_t workgroups = 0;
    while (index >= walk->tilings[box.span].boxes) {
        index -= walk->tilings[box.span].boxes;
        workgroups += tiling_workgroups(&walk->tilings[box.span]);
        box.span++;
    }
    box.rows = tiling_box_at(&walk->tilings[box.span], index);
    box.rows.first_row += layout_span_of(&layout->queries, layout->rank, box.span)->local;
    box.rows.first_workgroup += workgroups;
    box.rows.first_head *= packed;
    box.rows.heads *= packed;
    return box;
}

struct mask_range query_box_kept_keys(const struct query_box *box, const struct problem *problem, const struct layout *layout,
                                      uint32_t origin, uint32_t key_span)
{
    const struct layout_span *queries = layout_span_of(&layout->queries, layout->rank, box->span);
    const struct layout_span *keys = layout_span_of(&layout->keys, origin, key_span);
    struct layout_span of_box = *queries;
    of_box.first = layout_span_origin(queries) + box->rows.first_row * queries->stride;
    of_box.rows = box->rows.rows;
    const struct mask_block block = layout_block(&of_box, keys);
    if (layout_lies_apart(&block) && !mask_keeps_any(problem, &block))
        return (struct mask_range){0};
    const struct mask_range kept = mask_kept_keys(problem, &block);
    return kept.end ? (struct mask_range){keys->local + kept.first, keys->local + kept.end} : kept;
}
