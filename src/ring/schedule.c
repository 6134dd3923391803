/* SPDX-License-Identifier: MIT */
#include "schedule.h"

static bool overlap(const struct layout_span *span, const struct mask_range *range)
{
    return span->rows > 0 && span->first < range->end && range->first < span->first + span->rows;
}

/* The step at which a rank meets the packet of another. */
static uint32_t step_of(const struct layout *layout, uint32_t rank, uint32_t origin)
{
    return (uint32_t)(((uint64_t)rank + layout->ranks - origin) % layout->ranks);
}

/* The last step with keys that rows of the span keep: what they keep together is one interval of keys. */
static uint32_t last_step(const struct problem *problem, const struct layout *layout, uint32_t rank, const struct layout_span *queries)
{
    const struct mask_block block = {queries->first, queries->rows, 0, problem->kv_len};
    const struct mask_range kept = mask_kept_keys(problem, &block);
    uint32_t last = 0;
    for (uint32_t origin = 0; origin < layout->ranks; origin++)
        for (uint32_t i = 0; i < LAYOUT_SPANS; i++) {
            const uint32_t step = step_of(layout, rank, origin);
            if (step > last && overlap(layout_span_of(&layout->keys, origin, i), &kept))
                last = step;
        }
    return last;
}

uint32_t schedule_steps(const struct problem *problem, const struct layout *layout)
{
    uint32_t last = 0;
    for (uint32_t rank = 0; rank < layout->ranks && last + 1 < layout->ranks; rank++)
        for (uint32_t i = 0; i < LAYOUT_SPANS; i++) {
            const uint32_t step = last_step(problem, layout, rank, layout_span_of(&layout->queries, rank, i));
            last = step > last ? step : last;
        }
    return last + 1;
}

double schedule_kept_pairs(const struct problem *problem, const struct layout *layout, uint32_t rank, uint32_t step)
{
    const uint32_t origin = layout_origin_of(layout, rank, step);
    double pairs = 0;
    for (uint32_t i = 0; i < LAYOUT_SPANS; i++)
        for (uint32_t j = 0; j < LAYOUT_SPANS; j++) {
            const struct layout_span *queries = layout_span_of(&layout->queries, rank, i), *keys = layout_span_of(&layout->keys, origin, j);
            pairs += mask_kept_pairs(problem, &(struct mask_block){queries->first, queries->rows, keys->first, keys->rows});
        }
    return pairs;
}
