/* SPDX-License-Identifier: MIT */
#include "schedule.h"

#include <stdlib.h>

#include "../base/checked.h"

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

/* The step at which a rank meets the packet of another. */
static uint32_t step_of(const struct layout *layout, uint32_t rank, uint32_t origin)
{
    return (uint32_t)(((uint64_t)rank + layout->ranks - origin) % layout->ranks);
}

/* A span of keys, among those of all ranks in the order of their first keys. */
struct listed_span {
    const struct layout_span *keys;
    uint32_t origin;
    uint64_t last;  /* its last key */
    uint64_t reach; /* the last key of it and of those before it in the list */
};

struct span_list {
    size_t count;
    struct listed_span *spans;
};

static int compare_spans(const void *a, const void *b)
{
    const uint64_t first = ((const struct listed_span *)a)->keys->first, other = ((const struct listed_span *)b)->keys->first;
    return first < other ? -1 : first > other;
}

static enum vkring_status list_keys(const struct layout *layout, struct span_list *out_list)
{
    struct span_list list = {.spans = calloc((size_t)layout->ranks * layout->keys.count, sizeof(*list.spans))};
    if (!list.spans)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for the keys of %u ranks", layout->ranks);
    for (uint32_t origin = 0; origin < layout->ranks; origin++)
        for (uint32_t i = 0; i < layout->keys.count; i++) {
            const struct layout_span *keys = layout_span_of(&layout->keys, origin, i);
            if (keys->rows > 0)
                list.spans[list.count++] = (struct listed_span){keys, origin, keys->first + (keys->rows - 1) * keys->stride, 0};
        }
    qsort(list.spans, list.count, sizeof(*list.spans), compare_spans);
    for (size_t i = 0; i < list.count; i++)
        list.spans[i].reach = max_u64(list.spans[i].last, i ? list.spans[i - 1].reach : 0);
    *out_list = list;
    return VKRING_OK;
}

/* How many spans begin before a key. */
static size_t count_before(const struct span_list *list, uint64_t key)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (list->spans[middle].keys->first < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/*
 * The last step, or `last` if that is later, with keys that rows of the span keep: all of them lie in one interval, and only spans that
 * meet it are looked at.
 */
static uint32_t last_step(const struct problem *problem, const struct layout *layout, const struct span_list *list, uint32_t rank,
                          const struct layout_span *queries, uint32_t last)
{
    const struct layout_span all = {.rows = problem->kv_len, .stride = 1};
    const struct mask_block whole = layout_block(queries, &all);
    const struct mask_range kept = mask_kept_keys(problem, &whole);
    for (size_t i = count_before(list, kept.end); i > 0 && list->spans[i - 1].reach >= kept.first; i--) {
        const struct listed_span *span = &list->spans[i - 1];
        const uint32_t step = step_of(layout, rank, span->origin);
        const struct mask_block block = layout_block(queries, span->keys);
        if (step > last && span->last >= kept.first && mask_keeps_any(problem, &block))
            last = step;
    }
    return last;
}

enum vkring_status schedule_steps(const struct problem *problem, const struct layout *layout, uint32_t *out_steps)
{
    enum vkring_status status;
    struct span_list list = {0};
    uint32_t last = 0;
    TRY(list_keys(layout, &list), fail);
    for (uint32_t rank = 0; rank < layout->ranks && last + 1 < layout->ranks; rank++)
        for (uint32_t i = 0; i < layout->queries.count; i++)
            last = last_step(problem, layout, &list, rank, layout_span_of(&layout->queries, rank, i), last);
    free(list.spans);
    *out_steps = last + 1;
    return VKRING_OK;
fail:
    return status;
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
