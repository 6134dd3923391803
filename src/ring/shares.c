/* SPDX-License-Identifier: MIT */
/*
 * All ranks should end together. In a given time each takes rows where the rank before it ended, until what they cost fills the time at its
 * speed, or its memory. More time takes more rows: the least that takes all of them is found by halving.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "../attention/mask.h"
#include "../base/checked.h"
#include "layout.h"

/* Halvings of a time in double precision, beyond which nothing changes. */
enum { HALVINGS = 100 };

/* Causal blocks count as blocks of 1. */
static double pairs_of(const struct problem *problem, uint64_t first, uint64_t rows)
{
    struct problem of_ones = *problem;
    of_ones.causal_block = 1;
    return mask_kept_pairs(&of_ones, &(struct mask_block){first, rows, 0, problem->kv_len});
}

/*
 * What the first `rows` rows cost that a layout deals out, rank after rank: the pairs that they keep by position, in one head and batch
 * entry, and one more for each row. Never falls.
 */
static double cost_of(const struct problem *problem, enum vkring_layout kind, uint64_t rows)
{
    const uint64_t all = problem->q_len, from_end = rows / 2;
    double pairs;
    switch (kind) {
    case VKRING_LAYOUT_CONTIGUOUS:
        pairs = pairs_of(problem, 0, rows);
        break;
    case VKRING_LAYOUT_ZIGZAG:
        pairs = pairs_of(problem, 0, rows - from_end) + pairs_of(problem, all - from_end, from_end);
        break;
    default: /* rows of all ranks lie among each other */
        pairs = all ? pairs_of(problem, 0, all) * ((double)rows / (double)all) : 0;
        break;
    }
    return pairs + (double)rows;
}

/* What is cut. */
struct cut {
    const struct problem *problem;
    enum vkring_layout kind;
    uint32_t ranks;
    const double *speeds;
    const uint64_t *most_rows; /* null: no limit */
};

/* The most rows that end at or before a cost; none before `first`, none after `last`. */
static uint64_t rows_within(const struct cut *cut, uint64_t first, uint64_t last, double cost)
{
    uint64_t within = first, beyond = last + 1;
    while (beyond - within > 1) {
        const uint64_t middle = within + (beyond - within) / 2;
        if (cost_of(cut->problem, cut->kind, middle) <= cost)
            within = middle;
        else
            beyond = middle;
    }
    return within;
}

/* How many rows are taken in a time; rows of ranks unless null. */
static uint64_t deal(const struct cut *cut, double seconds, uint64_t *out_rows_of_rank)
{
    const uint64_t all = cut->problem->q_len;
    uint64_t taken = 0;
    for (uint32_t rank = 0; rank < cut->ranks; rank++) {
        const uint64_t most = cut->most_rows ? min_u64(cut->most_rows[rank], all - taken) : all - taken;
        const double cost = cost_of(cut->problem, cut->kind, taken) + seconds * cut->speeds[rank];
        const uint64_t end = cut->speeds[rank] > 0 ? rows_within(cut, taken, taken + most, cost) : taken;
        if (out_rows_of_rank)
            out_rows_of_rank[rank] = end - taken;
        taken = end;
    }
    return taken;
}

static double least_time(const struct cut *cut)
{
    double least_speed = INFINITY, little = 0;
    for (uint32_t rank = 0; rank < cut->ranks; rank++)
        if (cut->speeds[rank] > 0)
            least_speed = fmin(least_speed, cut->speeds[rank]);
    double enough = 2 * cost_of(cut->problem, cut->kind, cut->problem->q_len) / least_speed;
    for (int i = 0; i < HALVINGS; i++) {
        const double middle = little + (enough - little) / 2;
        if (deal(cut, middle, NULL) == cut->problem->q_len)
            enough = middle;
        else
            little = middle;
    }
    return enough;
}

static enum vkring_status check_speeds(uint32_t ranks, const double *speeds)
{
    double most = 0;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        if (!isfinite(speeds[rank]) || speeds[rank] < 0)
            return status_fail_at(VKRING_ERROR_INVALID_ARGUMENT, rank, VKRING_NONE, "the speed of rank %" PRIu32 " is %g", rank,
                                  speeds[rank]);
        most = fmax(most, speeds[rank]);
    }
    return most > 0 ? VKRING_OK : status_fail(VKRING_ERROR_INVALID_ARGUMENT, "no rank has a speed above 0");
}

static enum vkring_status check_room(const struct cut *cut)
{
    uint64_t room = 0;
    for (uint32_t rank = 0; rank < cut->ranks; rank++)
        if (cut->speeds[rank] > 0 && !checked_add(room, cut->most_rows ? cut->most_rows[rank] : cut->problem->q_len, &room))
            room = UINT64_MAX;
    if (room >= cut->problem->q_len)
        return VKRING_OK;
    return status_fail(VKRING_ERROR_OUT_OF_DEVICE_MEMORY, "all ranks have memory for %" PRIu64 " of %" PRIu64 " queries", room,
                       cut->problem->q_len);
}

enum vkring_status vkring_shares_cut(const struct vkring_plan_params *params, uint32_t ranks, const double *speeds,
                                     const uint64_t *most_rows_of_rank, uint64_t *out_query_rows_of_rank)
{
    enum vkring_status status;
    struct vkring_plan_params equal = *params;
    struct problem problem;
    struct layout layout = {0};
    if (ranks == 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "rows cannot be cut over 0 ranks");
    equal.query_rows_of_rank = equal.key_rows_of_rank = NULL;
    TRY(check_speeds(ranks, speeds), fail);
    TRY(problem_resolve(&equal, &problem), fail);
    TRY(layout_make(0, ranks, &equal, &layout), fail);
    const struct cut cut = {&problem, layout.kind, ranks, speeds, most_rows_of_rank};
    layout_free(&layout);
    TRY(check_room(&cut), fail);
    deal(&cut, least_time(&cut), out_query_rows_of_rank);
    return VKRING_OK;
fail:
    return status;
}
