/* SPDX-License-Identifier: MIT */
#include "schedule.h"

bool schedule_keeps_any(const struct problem *problem, const struct layout *layout, uint32_t rank, uint32_t step)
{
    const uint32_t origin = layout_origin_of(layout, rank, step);
    for (uint32_t i = 0; i < layout->queries.count; i++)
        for (uint32_t j = 0; j < layout->keys.count; j++) {
            const struct mask_block block =
                layout_block(layout_span_of(&layout->queries, rank, i), layout_span_of(&layout->keys, origin, j));
            if (mask_keeps_any(problem, &block))
                return true;
        }
    return false;
}

static bool overlap(const struct layout_span *span, const struct mask_range *range)
{
    return span->rows > 0 && span->first < range->end && range->first <= span->first + (span->rows - 1) * span->stride;
}

/* The step at which a rank meets the packet of another. */
static uint32_t step_of(const struct layout *layout, uint32_t rank, uint32_t origin)
{
    return (uint32_t)(((uint64_t)rank + layout->ranks - origin) % layout->ranks);
}

/* The last step, or `last` if that is later, with keys that rows of the span keep: all of them lie in one interval. */
static uint32_t last_step(const struct problem *problem, const struct layout *layout, uint32_t rank, const struct layout_span *queries,
                          uint32_t last)
{
    const struct layout_span all = {.rows = problem->kv_len, .stride = 1};
    const struct mask_block whole = layout_block(queries, &all);
    const struct mask_range kept = mask_kept_keys(problem, &whole);
    for (uint32_t origin = 0; origin < layout->ranks; origin++)
        for (uint32_t i = 0; i < layout->keys.count; i++) {
            const uint32_t step = step_of(layout, rank, origin);
            const struct layout_span *keys = layout_span_of(&layout->keys, origin, i);
            const struct mask_block block = layout_block(queries, keys);
            if (step > last && overlap(keys, &kept) && mask_keeps_any(problem, &block))
                last = step;
        }
    return last;
}

uint32_t schedule_steps(const struct problem *problem, const struct layout *layout)
{
    uint32_t last = 0;
    for (uint32_t rank = 0; rank < layout->ranks && last + 1 < layout->ranks; rank++)
        for (uint32_t i = 0; i < layout->queries.count; i++)
            last = last_step(problem, layout, rank, layout_span_of(&layout->queries, rank, i), last);
    return last + 1;
}

double schedule_computed_pairs(const struct problem *problem, const struct layout *layout, const struct kernel_choice *choice,
                               uint32_t rank, uint32_t step)
{
    const uint32_t origin = layout_origin_of(layout, rank, step);
    double pairs = 0;
    for (uint32_t i = 0; i < layout->queries.count; i++)
        for (uint32_t j = 0; j < layout->keys.count; j++) {
            const struct mask_block block =
                layout_block(layout_span_of(&layout->queries, rank, i), layout_span_of(&layout->keys, origin, j));
            pairs += kernel_choice_pairs(choice, SPIRV_FORWARD, problem, &block);
        }
    return pairs;
}

uint32_t schedule_gradient_owner(const struct layout *layout, uint32_t rank, uint32_t steps, uint32_t step)
{
    return step == steps ? rank : layout_origin_of(layout, rank, step);
}

uint32_t schedule_gradient_source(const struct layout *layout, uint32_t rank, uint32_t steps, uint32_t step)
{
    return layout_origin_of(layout, rank, step == steps ? layout->ranks - (steps - 1) : 1);
}

uint32_t schedule_gradient_target(const struct layout *layout, uint32_t rank, uint32_t steps, uint32_t step)
{
    return layout_origin_of(layout, rank, step + 1 == steps ? step : layout->ranks - 1);
}
