/* SPDX-License-Identifier: MIT */
/** What of a task is one dispatch: a box of the own side, and as many rows of the other as stay short. Pure arithmetic. */
#ifndef VKRING_RING_PIECE_H
#define VKRING_RING_PIECE_H

#include "program.h"
#include "query_walk.h"

/** Where the cutting of a task is. Not all tasks use all of it. */
struct piece_cursor {
    uint32_t key_span; /* piece_key_spans: the task is done */
    uint32_t query_span;
    uint64_t first_other;
    uint64_t box;
};

struct piece {
    uint32_t query_span, key_span; /* whose rows meet */
    struct tiling_box box;         /* of the own side, in its tensors */
    uint64_t other_first, others;  /* of the other side, in its tensors */
    bool first, last;              /* the state of the box starts empty; its results are written */
};

/** How many spans of keys a task goes through, and one of them. The sinks' only span is that of heads. */
uint32_t piece_key_spans(const struct layout *layout, const struct task *task);
const struct layout_span *piece_key_span(const struct layout *layout, const struct task *task, uint32_t key_span);
bool piece_is_done(const struct layout *layout, const struct task *task, const struct piece_cursor *at);

/** Of the boxes of a span, those that a task is about: of those of keys it may be one half. */
struct piece_boxes {
    uint64_t first, count;
};

struct piece_boxes piece_boxes_of(const struct task *task, uint64_t boxes);

/* Each takes what is to do at the cursor, which moves past it; false: nothing. */

/** Rows alone: each box once. */
bool piece_take_rows(const struct layout *layout, const struct task *task, const struct query_walk *walk, struct piece_cursor *at,
                     struct piece *piece);
/** Boxes of queries, over a block of keys each time. */
bool piece_take_of_queries(const struct problem *problem, const struct layout *layout, const struct task *task,
                           const struct query_walk *walk, struct piece_cursor *at, struct piece *piece);
/** Boxes of keys, cut as the tiling of their span says, each over the query rows of all spans before the next. One that keeps none is
 * written from none. */
bool piece_take_of_keys(const struct problem *problem, const struct layout *layout, const struct task *task, const struct tiling *tiling,
                        struct piece_cursor *at, struct piece *piece);

#endif
