/* SPDX-License-Identifier: MIT */
#include "piece.h"

#include "../base/checked.h"

uint32_t piece_key_spans(const struct layout *layout, const struct task *task)
{
    return task->kind == TASK_SINKS ? 1 : layout->keys.count;
}

const struct layout_span *piece_key_span(const struct layout *layout, const struct task *task, uint32_t key_span)
{
    static const struct layout_span of_heads = {.rows = 1, .stride = 1};
    return task->kind == TASK_SINKS ? &of_heads : layout_span_of(&layout->keys, layout_origin(layout, task->step), key_span);
}

bool piece_is_done(const struct layout *layout, const struct task *task, const struct piece_cursor *at)
{
    return at->key_span >= piece_key_spans(layout, task);
}

struct piece_boxes piece_boxes_of(const struct task *task, uint64_t boxes)
{
    const uint64_t second = boxes / 2;
    switch (task->half) {
    case HALF_FIRST:
        return (struct piece_boxes){0, boxes - second};
    case HALF_SECOND:
        return (struct piece_boxes){boxes - second, second};
    case HALF_BOTH:
        break;
    }
    return (struct piece_boxes){0, boxes};
}

bool piece_take_rows(const struct layout *layout, const struct task *task, const struct query_walk *walk, struct piece_cursor *at,
                     struct piece *piece)
{
    const struct query_box box = query_walk_box(walk, layout, at->box);
    *piece = (struct piece){.query_span = box.span, .box = box.rows, .first = true, .last = true};
    at->key_span = ++at->box == walk->boxes ? piece_key_spans(layout, task) : 0;
    return true;
}

static void next_box_of_queries(const struct query_walk *walk, uint64_t keys, struct piece_cursor *at)
{
    if (++at->box < walk->boxes)
        return;
    at->box = 0;
    at->first_other += walk->block_keys;
    if (at->first_other < keys)
        return;
    at->first_other = 0;
    at->key_span++;
}

bool piece_take_of_queries(const struct problem *problem, const struct layout *layout, const struct task *task,
                           const struct query_walk *walk, struct piece_cursor *cursor, struct piece *piece)
{
    const struct piece_cursor at = *cursor;
    const struct layout_span *span = piece_key_span(layout, task, at.key_span);
    const step_span now = (step_span)task->step * layout->keys.count + at.key_span;
    const struct box_steps *steps = &walk->box_steps[at.box];
    const struct query_box box = query_walk_box(walk, layout, at.box);
    const struct mask_range kept = query_box_kept_keys(&box, problem, layout, layout_origin(layout, task->step), at.key_span);
    const uint64_t block = span->local + at.first_other;
    const uint64_t first = max_u64(kept.first, block);
    const uint64_t end = min_u64(kept.end, block + walk->block_keys);
    const bool keeps_nothing = kept.end == 0 && now == steps->first && at.first_other == 0;

    next_box_of_queries(walk, span->rows, cursor);
    if (first >= end && !keeps_nothing)
        return false;
    *piece = (struct piece){
        .query_span = box.span,
        .key_span = at.key_span,
        .box = box.rows,
        .other_first = first < end ? first : span->local,
        .others = first < end ? end - first : 0,
        .first = now == steps->first && (keeps_nothing || first == kept.first),
        .last = now == steps->last && (keeps_nothing || end == kept.end),
    };
    return true;
}

/* The query rows of a span that any key of a box keeps by position; all of them where that does not matter. */
static struct mask_range kept_rows(const struct problem *problem, const struct layout *layout, const struct task *task,
                                   const struct layout_span *keys, const struct tiling_box *box, uint32_t query_span)
{
    const struct layout_span *queries = layout_span_of(&layout->queries, layout->rank, query_span);
    struct layout_span of_box = *keys;
    of_box.first = layout_span_origin(keys) + box->first_row * keys->stride;
    of_box.rows = box->rows;
    const struct mask_block block = layout_block(queries, &of_box);
    struct mask_range kept = {0, queries->rows};
    if (task_writes_partial(task->kind))
        kept = layout_lies_apart(&block) && !mask_keeps_any(problem, &block) ? (struct mask_range){0} : mask_kept_rows(problem, &block);
    return kept.first < kept.end ? (struct mask_range){queries->local + kept.first, queries->local + kept.end} : (struct mask_range){0};
}

/* Of the spans of query rows that a box of keys meets. */
struct kept_spans {
    struct mask_range rows[LAYOUT_SPANS];
    uint32_t first, last; /* with any */
};

static struct kept_spans kept_spans(const struct problem *problem, const struct layout *layout, const struct task *task,
                                    const struct layout_span *keys, const struct tiling_box *box)
{
    struct kept_spans kept = {0};
    for (uint32_t i = layout->queries.count; i-- > 0;) {
        kept.rows[i] = kept_rows(problem, layout, task, keys, box, i);
        kept.first = kept.rows[i].end ? i : kept.first;
        kept.last = kept.rows[i].end && kept.last == 0 ? i : kept.last;
    }
    return kept;
}

/* Past rows before `end` of those of a query span. */
static void next_rows(const struct layout *layout, uint64_t end, const struct mask_range *kept, struct piece_cursor *at)
{
    at->first_other = end < kept->end ? end : 0;
    if (at->first_other)
        return;
    if (++at->query_span < layout->queries.count)
        return;
    at->query_span = 0;
    at->box++;
}

bool piece_take_of_keys(const struct problem *problem, const struct layout *layout, const struct task *task, const struct tiling *tiling,
                        struct piece_cursor *at, struct piece *piece)
{
    const struct layout_span *span = piece_key_span(layout, task, at->key_span);
    const uint32_t query_span = at->query_span, key_span = at->key_span;
    const struct piece_boxes boxes = piece_boxes_of(task, tiling->boxes);
    if (at->box >= boxes.count) {
        at->box = 0;
        at->key_span++;
        return false;
    }
    struct tiling_box box = tiling_box_at(tiling, boxes.first + at->box);
    box.first_row += span->local;
    box.first_workgroup = 0; /* the state is of one box */
    const struct kept_spans kept = kept_spans(problem, layout, task, span, &box);
    const struct mask_range here = kept.rows[query_span];
    const uint64_t first = max_u64(here.first, at->first_other), end = min_u64(here.end, first + tiling->keys);
    next_rows(layout, end, &here, at);
    if (first >= end && query_span != kept.first)
        return false;
    *piece = (struct piece){
        .query_span = query_span,
        .key_span = key_span,
        .box = box,
        .other_first = first,
        .others = end - first,
        .first = query_span == kept.first && first == here.first,
        .last = query_span == kept.last && end == here.end,
    };
    return true;
}
