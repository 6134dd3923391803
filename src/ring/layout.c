/* SPDX-License-Identifier: MIT */
#include "layout.h"

#include <stdlib.h>

#include "../base/checked.h"
#include "cut.h"

static enum vkring_status first_rows(const char *field, uint64_t rows, uint32_t ranks, const uint64_t *rows_of_rank, uint64_t **out_first)
{
    enum vkring_status status;
    uint64_t *first = calloc((size_t)ranks + 1, sizeof(*first));
    if (!first)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for the rows of %u ranks", ranks);
    if (rows_of_rank) {
        TRY(cut_validate(field, rows, ranks, rows_of_rank), fail);
        for (uint32_t rank = 0; rank < ranks; rank++)
            first[rank + 1] = rows_of_rank[rank];
    } else {
        TRY(vkring_cut_rows(rows, ranks, NULL, first + 1), fail);
    }
    for (uint32_t rank = 0; rank < ranks; rank++)
        first[rank + 1] += first[rank];
    *out_first = first;
    return VKRING_OK;
fail:
    free(first);
    return status;
}

enum vkring_status layout_make(uint32_t rank, uint32_t ranks, uint64_t q_len, uint64_t kv_len, const uint64_t *query_rows_of_rank,
                               const uint64_t *key_rows_of_rank, struct layout *out_layout)
{
    enum vkring_status status;
    struct layout layout = {.rank = rank, .ranks = ranks};
    TRY(first_rows("query_rows_of_rank", q_len, ranks, query_rows_of_rank, &layout.first_query_row), fail);
    TRY(first_rows("key_rows_of_rank", kv_len, ranks, key_rows_of_rank, &layout.first_key_row), fail);
    *out_layout = layout;
    return VKRING_OK;
fail:
    layout_free(&layout);
    return status;
}

void layout_free(struct layout *layout)
{
    free(layout->first_query_row);
    free(layout->first_key_row);
    layout->first_query_row = NULL;
    layout->first_key_row = NULL;
}

uint64_t layout_query_rows(const struct layout *layout, uint32_t rank)
{
    return layout->first_query_row[rank + 1] - layout->first_query_row[rank];
}

uint64_t layout_key_rows(const struct layout *layout, uint32_t rank)
{
    return layout->first_key_row[rank + 1] - layout->first_key_row[rank];
}

uint64_t layout_most_key_rows(const struct layout *layout)
{
    uint64_t most = 0;
    for (uint32_t rank = 0; rank < layout->ranks; rank++)
        most = max_u64(most, layout_key_rows(layout, rank));
    return most;
}
