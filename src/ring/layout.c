/* SPDX-License-Identifier: MIT */
#include "layout.h"

#include <stdlib.h>
#include <string.h>

#include "../base/checked.h"
#include "cut.h"

static void deal_equally(uint64_t rows, uint32_t ranks, uint64_t *out_rows)
{
    for (uint32_t rank = 0; rank < ranks; rank++)
        out_rows[rank] = rows / ranks + (rank < rows % ranks);
}

static enum vkring_status rows_of_ranks(enum vkring_layout kind, const char *field, uint64_t rows, uint32_t ranks,
                                        const uint64_t *rows_of_rank, uint64_t *out_rows)
{
    enum vkring_status status;
    if (!rows_of_rank && kind == VKRING_LAYOUT_STRIPED) {
        deal_equally(rows, ranks, out_rows);
        return VKRING_OK;
    }
    if (!rows_of_rank)
        return vkring_cut_rows(rows, ranks, NULL, out_rows);
    TRY(cut_validate(field, rows, ranks, rows_of_rank), fail);
    for (uint32_t rank = 0; rank < ranks; rank++)
        out_rows[rank] = rows_of_rank[rank];
    return VKRING_OK;
fail:
    return status;
}

/* Where spans are placed, each after those that the rank has. */
struct placing {
    uint32_t ranks;
    struct layout_span *spans; /* [ranks][LAYOUT_SPANS] */
    uint64_t next;             /* the first row that no rank has yet */
};

/* A single row fits any stride. */
static bool continues(const struct layout_span *last, uint64_t first, uint64_t rows, uint64_t stride)
{
    const uint64_t apart = last->rows == 1 && rows > 1 ? stride : last->stride;
    return last->rows > 0 && first == last->first + last->rows * apart && (rows == 1 || stride == apart);
}

/* Rows that go on as the rank's last ones lie become part of their span. */
static void place(struct placing *placing, uint32_t rank, uint64_t first, uint64_t rows, uint64_t stride)
{
    struct layout_span *last = &placing->spans[(size_t)rank * LAYOUT_SPANS];
    if (rows == 0)
        return;
    while (last + 1 < &placing->spans[(size_t)(rank + 1) * LAYOUT_SPANS] && last[1].rows > 0)
        last++;
    if (continues(last, first, rows, stride)) {
        last->stride = rows > 1 ? stride : last->stride;
        last->rows += rows;
    } else if (last->rows == 0) {
        *last = (struct layout_span){.first = first, .rows = rows, .stride = stride};
    } else {
        last[1] = (struct layout_span){first, rows, last->local + last->rows, stride};
    }
}

static void place_run(struct placing *placing, uint32_t rank, uint64_t rows)
{
    place(placing, rank, placing->next, rows, 1);
    placing->next += rows;
}

/* Ranks in order, then in the opposite order; of a rank's rows the first run has the odd one. */
static void place_zigzag(struct placing *placing, const uint64_t *rows_of_rank)
{
    for (uint32_t rank = 0; rank < placing->ranks; rank++)
        place_run(placing, rank, rows_of_rank[rank] - rows_of_rank[rank] / 2);
    for (uint32_t rank = placing->ranks; rank-- > 0;)
        place_run(placing, rank, rows_of_rank[rank] / 2);
}

/* Those that have more than `dealt` rows to get, and the fewest that any of them gets. */
struct hands {
    uint64_t count, least;
};

static struct hands hands_of(uint32_t ranks, const uint64_t *rows_of_rank, uint64_t dealt)
{
    struct hands hands = {.least = UINT64_MAX};
    for (uint32_t rank = 0; rank < ranks; rank++) {
        if (rows_of_rank[rank] <= dealt)
            continue;
        hands.count++;
        hands.least = min_u64(hands.least, rows_of_rank[rank]);
    }
    return hands;
}

/* As many rounds at a time as the same ranks take part in. */
static void place_striped(struct placing *placing, const uint64_t *rows_of_rank)
{
    struct hands hands;
    uint64_t dealt = 0;
    for (int span = 1; span < LAYOUT_SPANS && (hands = hands_of(placing->ranks, rows_of_rank, dealt)).count > 0; span++) {
        uint64_t first = placing->next;
        for (uint32_t rank = 0; rank < placing->ranks; rank++)
            if (rows_of_rank[rank] > dealt)
                place(placing, rank, first++, hands.least - dealt, hands.count);
        placing->next += (hands.least - dealt) * hands.count;
        dealt = hands.least;
    }
    for (uint32_t rank = 0; rank < placing->ranks; rank++)
        if (rows_of_rank[rank] > dealt)
            place_run(placing, rank, rows_of_rank[rank] - dealt);
}

static void place_rows(enum vkring_layout kind, struct placing *placing, const uint64_t *rows_of_rank)
{
    if (kind == VKRING_LAYOUT_ZIGZAG)
        place_zigzag(placing, rows_of_rank);
    else if (kind == VKRING_LAYOUT_STRIPED)
        place_striped(placing, rows_of_rank);
    else
        for (uint32_t rank = 0; rank < placing->ranks; rank++)
            place_run(placing, rank, rows_of_rank[rank]);
}

/* Close up to as many as any rank has. */
static uint32_t close_up(uint32_t ranks, struct layout_span *spans)
{
    uint32_t count = 1;
    for (uint32_t rank = 0; rank < ranks; rank++)
        for (uint32_t i = 0; i < LAYOUT_SPANS; i++)
            if (spans[(size_t)rank * LAYOUT_SPANS + i].rows > 0)
                count = i + 1 > count ? i + 1 : count;
    for (uint32_t rank = 1; rank < ranks; rank++)
        memmove(&spans[(size_t)rank * count], &spans[(size_t)rank * LAYOUT_SPANS], count * sizeof(*spans));
    return count;
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
        status = rows_of_ranks(kind, field, rows, ranks, rows_of_rank, each);
    if (status == VKRING_OK) {
        place_rows(kind, &(struct placing){ranks, spans, 0}, each);
        *out_side = (struct layout_side){close_up(ranks, spans), spans};
    } else {
        free(spans);
    }
    free(each);
    return status;
}

/* automatic: what auto stands for. */
static enum vkring_status choose_kind(const char *field, enum vkring_layout asked, enum vkring_layout automatic, uint32_t ranks,
                                      enum vkring_layout *out_kind)
{
    switch (asked) {
    case VKRING_LAYOUT_AUTO:
    case VKRING_LAYOUT_ZIGZAG:
    case VKRING_LAYOUT_STRIPED:
    case VKRING_LAYOUT_CONTIGUOUS:
        *out_kind = ranks == 1 ? VKRING_LAYOUT_CONTIGUOUS : asked == VKRING_LAYOUT_AUTO ? automatic : asked;
        return VKRING_OK;
    }
    return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s %d is unknown", field, (int)asked);
}

static enum vkring_status choose_kinds(const struct vkring_plan_params *params, struct layout *layout)
{
    enum vkring_status status;
    const bool goes_back_for_ever = !params->has_window || params->window_left < 0;
    const enum vkring_layout best = params->causal && goes_back_for_ever ? VKRING_LAYOUT_ZIGZAG : VKRING_LAYOUT_CONTIGUOUS;
    const enum vkring_layout of_keys = params->has_key_layout ? params->key_layout : VKRING_LAYOUT_AUTO;
    TRY(choose_kind("layout", params->layout, best, layout->ranks, &layout->kind), fail);
    TRY(choose_kind("key_layout", of_keys, layout->kind, layout->ranks, &layout->key_kind), fail);
fail:
    return status;
}

static uint64_t most_stride(const struct layout_side *side, uint32_t ranks)
{
    uint64_t most = 1;
    for (size_t i = 0; i < (size_t)ranks * side->count; i++)
        most = max_u64(most, side->spans[i].stride);
    return most;
}

static uint64_t side_rows(const struct layout_side *side, uint32_t rank)
{
    uint64_t rows = 0;
    for (uint32_t span = 0; span < side->count; span++)
        rows += layout_span_of(side, rank, span)->rows;
    return rows;
}

static uint64_t most_rows(const struct layout_side *side, uint32_t ranks)
{
    uint64_t most = 0;
    for (uint32_t rank = 0; rank < ranks; rank++)
        most = max_u64(most, side_rows(side, rank));
    return most;
}

enum vkring_status layout_make(uint32_t rank, uint32_t ranks, const struct vkring_plan_params *params, struct layout *out_layout)
{
    enum vkring_status status;
    struct layout layout = {.rank = rank, .ranks = ranks};
    TRY(choose_kinds(params, &layout), fail);
    TRY(make_side(layout.kind, ranks, "query_rows_of_rank", params->q_len, params->query_rows_of_rank, &layout.queries), fail);
    TRY(make_side(layout.key_kind, ranks, "key_rows_of_rank", params->kv_len, params->key_rows_of_rank, &layout.keys), fail);
    layout.most_stride = max_u64(most_stride(&layout.queries, ranks), most_stride(&layout.keys, ranks));
    layout.most_key_rows = most_rows(&layout.keys, ranks);
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

uint64_t layout_query_rows(const struct layout *layout, uint32_t rank)
{
    return side_rows(&layout->queries, rank);
}

uint64_t layout_key_rows(const struct layout *layout, uint32_t rank)
{
    return side_rows(&layout->keys, rank);
}

static void list_spans(const struct layout_side *side, uint32_t rank, struct vkring_span *out_spans)
{
    for (uint32_t i = 0; i < side->count; i++) {
        const struct layout_span *span = layout_span_of(side, rank, i);
        out_spans[i] = (struct vkring_span){span->first, span->rows, span->stride};
    }
}

struct vkring_rank_rows layout_rank_rows(const struct layout *layout, uint32_t rank)
{
    struct vkring_rank_rows rows = {
        .layout = layout->kind,
        .query_rows = layout_query_rows(layout, rank),
        .key_rows = layout_key_rows(layout, rank),
    };
    list_spans(&layout->queries, rank, rows.query_spans);
    list_spans(&layout->keys, rank, rows.key_spans);
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
