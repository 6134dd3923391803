/* SPDX-License-Identifier: MIT */
#include "layout.h"

#include <stdlib.h>

#include "../base/checked.h"
#include "cut.h"

static enum vkring_status rows_of_ranks(const char *field, uint64_t rows, uint32_t ranks, const uint64_t *rows_of_rank, uint64_t *out_rows)
{
    enum vkring_status status;
    if (!rows_of_rank)
        return vkring_cut_rows(rows, ranks, NULL, out_rows);
    TRY(cut_validate(field, rows, ranks, rows_of_rank), fail);
    for (uint32_t rank = 0; rank < ranks; rank++)
        out_rows[rank] = rows_of_rank[rank];
    return VKRING_OK;
fail:
    return status;
}

/* Ranks in order, then, for zigzag, in the opposite order; of a rank's rows the first span has the odd one. */
static void place_spans(enum vkring_layout kind, uint32_t ranks, const uint64_t *rows_of_rank, struct layout_span *spans)
{
    const bool zigzag = kind == VKRING_LAYOUT_ZIGZAG;
    uint64_t first = 0;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        struct layout_span *span = &spans[(size_t)rank * LAYOUT_SPANS];
        span->first = first;
        span->rows = zigzag ? rows_of_rank[rank] - rows_of_rank[rank] / 2 : rows_of_rank[rank];
        first += span->rows;
    }
    for (uint32_t rank = ranks; rank-- > 0;) {
        struct layout_span *span = &spans[(size_t)rank * LAYOUT_SPANS + 1];
        span->first = first;
        span->rows = rows_of_rank[rank] - span[-1].rows;
        span->local = span[-1].rows;
        first += span->rows;
    }
}

static enum vkring_status make_side(enum vkring_layout kind, uint32_t ranks, const char *field, uint64_t rows, const uint64_t *rows_of_rank,
                                    struct layout_side *out_side)
{
    enum vkring_status status = VKRING_OK;
    uint64_t *each = calloc(ranks, sizeof(*each));
    struct layout_span *spans = calloc((size_t)ranks * LAYOUT_SPANS, sizeof(*spans));
    if (!each || !spans)
        status = status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for the rows of %u ranks", ranks);
    else
        status = rows_of_ranks(field, rows, ranks, rows_of_rank, each);
    if (status == VKRING_OK) {
        place_spans(kind, ranks, each, spans);
        out_side->spans = spans;
    } else {
        free(spans);
    }
    free(each);
    return status;
}

static enum vkring_status choose_layout(const struct vkring_plan_params *params, uint32_t ranks, enum vkring_layout *out_kind)
{
    const bool goes_back_for_ever = !params->has_window || params->window_left < 0;
    *out_kind = VKRING_LAYOUT_CONTIGUOUS;
    switch (params->layout) {
    case VKRING_LAYOUT_AUTO:
        if (ranks > 1 && params->causal && goes_back_for_ever)
            *out_kind = VKRING_LAYOUT_ZIGZAG;
        return VKRING_OK;
    case VKRING_LAYOUT_ZIGZAG:
        if (ranks > 1)
            *out_kind = VKRING_LAYOUT_ZIGZAG;
        return VKRING_OK;
    case VKRING_LAYOUT_CONTIGUOUS:
        return VKRING_OK;
    }
    return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "layout %d is unknown", (int)params->layout);
}

enum vkring_status layout_make(uint32_t rank, uint32_t ranks, const struct vkring_plan_params *params, struct layout *out_layout)
{
    enum vkring_status status;
    struct layout layout = {.rank = rank, .ranks = ranks};
    TRY(choose_layout(params, ranks, &layout.kind), fail);
    TRY(make_side(layout.kind, ranks, "query_rows_of_rank", params->q_len, params->query_rows_of_rank, &layout.queries), fail);
    TRY(make_side(layout.kind, ranks, "key_rows_of_rank", params->kv_len, params->key_rows_of_rank, &layout.keys), fail);
    *out_layout = layout;
    return VKRING_OK;
fail:
    layout_free(&layout);
    return status;
}

void layout_free(struct layout *layout)
{
    free(layout->queries.spans);
    free(layout->keys.spans);
    layout->queries.spans = NULL;
    layout->keys.spans = NULL;
}

static uint64_t side_rows(const struct layout_side *side, uint32_t rank)
{
    uint64_t rows = 0;
    for (uint32_t span = 0; span < LAYOUT_SPANS; span++)
        rows += layout_span_of(side, rank, span)->rows;
    return rows;
}

uint64_t layout_query_rows(const struct layout *layout, uint32_t rank)
{
    return side_rows(&layout->queries, rank);
}

uint64_t layout_key_rows(const struct layout *layout, uint32_t rank)
{
    return side_rows(&layout->keys, rank);
}

uint64_t layout_most_key_rows(const struct layout *layout)
{
    uint64_t most = 0;
    for (uint32_t rank = 0; rank < layout->ranks; rank++)
        most = max_u64(most, layout_key_rows(layout, rank));
    return most;
}

struct vkring_rank_rows layout_rank_rows(const struct layout *layout, uint32_t rank)
{
    struct vkring_rank_rows rows = {
        .layout = layout->kind,
        .query_rows = layout_query_rows(layout, rank),
        .key_rows = layout_key_rows(layout, rank),
    };
    for (uint32_t i = 0; i < LAYOUT_SPANS; i++) {
        const struct layout_span *queries = layout_span_of(&layout->queries, rank, i), *keys = layout_span_of(&layout->keys, rank, i);
        rows.query_spans[i] = (struct vkring_span){queries->first, queries->rows};
        rows.key_spans[i] = (struct vkring_span){keys->first, keys->rows};
    }
    return rows;
}

enum vkring_status vkring_rows_of_rank(const struct vkring_plan_params *params, uint32_t ranks, uint32_t rank,
                                       struct vkring_rank_rows *out_rows)
{
    enum vkring_status status;
    struct layout layout;
    if (rank >= ranks)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "there is no rank %u of %u", rank, ranks);
    TRY(layout_make(rank, ranks, params, &layout), fail);
    *out_rows = layout_rank_rows(&layout, rank);
    layout_free(&layout);
    return VKRING_OK;
fail:
    return status;
}
