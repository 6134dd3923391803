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

/* Causal blocks count as blocks of 1. */
static double pairs_of(const struct problem *problem, uint64_t first, uint64_t rows)
{
    struct problem of_ones = *problem;
    of_ones.causal_block = 1;
    return mask_kept_pairs(&of_ones, &(struct mask_block){first, rows, 0, problem->kv_len});
}

/*
 * What the first `rows` rows cost that a layout deals out, in the order in which it does: the pairs that they keep by position, in one head
 * and batch entry, and one more for each row. Never falls.
 */
static double cost_of(const struct problem *problem, enum vkring_layout kind, uint64_t rows)
{
    const uint64_t from_end = kind == VKRING_LAYOUT_ZIGZAG ? rows / 2 : 0;
    return pairs_of(problem, 0, rows - from_end) + pairs_of(problem, problem->q_len - from_end, from_end) + (double)rows;
}

/* What is cut. */
struct cut {
    const struct problem *problem;
    enum vkring_layout kind;
    uint32_t ranks;
    const double *speeds;
    int fastest_exponent;      /* of two: the greatest speed is half of that power or more, and below it */
    const uint64_t *most_rows; /* null: no limit */
};

/*
 * In units of which the fastest rank has half of one or more: times are finite then, whatever speeds are given in. Those of hardly any
 * speed are alike.
 */
#define LEAST_SPEED 0x1p-600

static double speed_of(const struct cut *cut, uint32_t rank)
{
    return cut->speeds[rank] > 0 ? fmax(ldexp(cut->speeds[rank], -cut->fastest_exponent), LEAST_SPEED) : 0;
}

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

static uint64_t most_rows_of(const struct cut *cut, uint32_t rank)
{
    return cut->most_rows ? min_u64(cut->most_rows[rank], cut->problem->q_len) : cut->problem->q_len;
}

/* Rank after rank. */
static uint64_t deal_in_order(const struct cut *cut, double seconds, uint64_t *out_rows_of_rank)
{
    const uint64_t all = cut->problem->q_len;
    uint64_t dealt = 0;
    for (uint32_t rank = 0; rank < cut->ranks; rank++) {
        const uint64_t last = dealt + min_u64(most_rows_of(cut, rank), all - dealt);
        const double cost = cost_of(cut->problem, cut->kind, dealt) + seconds * speed_of(cut, rank);
        const uint64_t end = speed_of(cut, rank) > 0 ? rows_within(cut, dealt, last, cost) : dealt;
        out_rows_of_rank[rank] = end - dealt;
        dealt = end;
    }
    return dealt;
}

/* Has not all of its rows yet. */
#define TAKES_PART UINT64_MAX

/* Where rounds are, each of one row to every rank that takes part. */
struct rounds {
    uint64_t dealt;
    double count, cost; /* rows of a rank that took part in all, and what they cost */
    uint32_t parts;
    double least_cost;   /* that any of these ranks can bear in the time */
    uint64_t least_rows; /* and that any has memory for */
};

static void look_at_parts(const struct cut *cut, double seconds, const uint64_t *rows_of_rank, struct rounds *rounds)
{
    rounds->parts = 0;
    rounds->least_cost = INFINITY;
    rounds->least_rows = UINT64_MAX;
    for (uint32_t rank = 0; rank < cut->ranks; rank++)
        if (rows_of_rank[rank] == TAKES_PART) {
            rounds->parts++;
            rounds->least_cost = fmin(rounds->least_cost, seconds * speed_of(cut, rank));
            rounds->least_rows = min_u64(rounds->least_rows, most_rows_of(cut, rank));
        }
}

/* Until the first rank has all its rows; true: by its memory. */
static bool go_on(const struct cut *cut, struct rounds *rounds)
{
    const double start = cost_of(cut->problem, cut->kind, rounds->dealt), parts = rounds->parts;
    const double room = fmax(((double)rounds->least_rows - rounds->count) * parts, 0);
    uint64_t end = rows_within(cut, rounds->dealt, cut->problem->q_len, start + (rounds->least_cost - rounds->cost) * parts);
    const bool is_full = room < (double)(end - rounds->dealt);
    end = is_full ? rounds->dealt + (uint64_t)room : end;
    rounds->cost += (cost_of(cut->problem, cut->kind, end) - start) / parts;
    rounds->count += (double)(end - rounds->dealt) / parts;
    rounds->dealt = end;
    return is_full;
}

/* Ranks that have as many rows as they can have all of theirs. */
static void retire(const struct cut *cut, double seconds, const struct rounds *rounds, bool is_full, uint64_t *rows_of_rank)
{
    const bool ends = rounds->dealt == cut->problem->q_len;
    for (uint32_t rank = 0; rank < cut->ranks; rank++) {
        const bool is_filled =
            is_full ? most_rows_of(cut, rank) == rounds->least_rows : seconds * speed_of(cut, rank) <= rounds->least_cost;
        if (rows_of_rank[rank] == TAKES_PART && (ends || is_filled))
            rows_of_rank[rank] = min_u64((uint64_t)rounds->count, most_rows_of(cut, rank));
    }
}

/* What ranks get after the last round, one after the other. */
static void deal_rest(const struct cut *cut, double seconds, struct rounds *rounds, uint64_t *rows_of_rank)
{
    const uint64_t all = cut->problem->q_len, had = (uint64_t)rounds->count;
    for (uint32_t rank = 0; rank < cut->ranks; rank++) {
        if (rows_of_rank[rank] != TAKES_PART)
            continue;
        const uint64_t last = rounds->dealt + min_u64(most_rows_of(cut, rank) - had, all - rounds->dealt);
        const double cost = cost_of(cut->problem, cut->kind, rounds->dealt) + seconds * speed_of(cut, rank) - rounds->cost;
        const uint64_t end = rows_within(cut, rounds->dealt, last, cost);
        rows_of_rank[rank] = had + end - rounds->dealt;
        rounds->dealt = end;
    }
}

/* Rows that rounding took away go to whoever has room; those that it added, from whoever has some. */
static void settle_rounding(const struct cut *cut, uint64_t dealt, uint64_t *rows_of_rank)
{
    uint64_t sum = 0, before;
    for (uint32_t rank = 0; rank < cut->ranks; rank++)
        sum += rows_of_rank[rank];
    do {
        before = sum;
        for (uint32_t rank = 0; sum != dealt && rank < cut->ranks; rank++)
            if (sum > dealt && rows_of_rank[rank] > 0) {
                rows_of_rank[rank]--;
                sum--;
            } else if (sum < dealt && speed_of(cut, rank) > 0 && rows_of_rank[rank] < most_rows_of(cut, rank)) {
                rows_of_rank[rank]++;
                sum++;
            }
    } while (sum != before);
}

/* As striped layouts do. */
static uint64_t deal_in_rounds(const struct cut *cut, double seconds, uint64_t *out_rows_of_rank)
{
    struct rounds rounds = {0};
    for (uint32_t rank = 0; rank < cut->ranks; rank++)
        out_rows_of_rank[rank] = speed_of(cut, rank) > 0 ? TAKES_PART : 0;
    look_at_parts(cut, seconds, out_rows_of_rank, &rounds);
    for (int span = 1; span < LAYOUT_SPANS && rounds.parts > 0; span++) {
        const bool is_full = go_on(cut, &rounds);
        retire(cut, seconds, &rounds, is_full, out_rows_of_rank);
        look_at_parts(cut, seconds, out_rows_of_rank, &rounds);
    }
    deal_rest(cut, seconds, &rounds, out_rows_of_rank);
    settle_rounding(cut, rounds.dealt, out_rows_of_rank);
    return rounds.dealt;
}

/* How many rows are taken in a time, and by whom. */
static uint64_t deal(const struct cut *cut, double seconds, uint64_t *out_rows_of_rank)
{
    return cut->kind == VKRING_LAYOUT_STRIPED ? deal_in_rounds(cut, seconds, out_rows_of_rank)
                                              : deal_in_order(cut, seconds, out_rows_of_rank);
}

static void deal_in_least_time(const struct cut *cut, uint64_t *out_rows_of_rank)
{
    double least_speed = INFINITY, little = 0;
    for (uint32_t rank = 0; rank < cut->ranks; rank++)
        if (speed_of(cut, rank) > 0)
            least_speed = fmin(least_speed, speed_of(cut, rank));
    double enough = 2 * cost_of(cut->problem, cut->kind, cut->problem->q_len) / least_speed;
    /* until no number lies between */
    for (double middle = enough / 2; middle > little && middle < enough; middle = little + (enough - little) / 2) {
        if (deal(cut, middle, out_rows_of_rank) == cut->problem->q_len)
            enough = middle;
        else
            little = middle;
    }
    deal(cut, enough, out_rows_of_rank);
}

static enum vkring_status check_speeds(uint32_t ranks, const double *speeds, int *out_fastest_exponent)
{
    double most = 0;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        if (!isfinite(speeds[rank]) || speeds[rank] < 0)
            return status_fail_at(VKRING_ERROR_INVALID_ARGUMENT, rank, VKRING_NONE, "the speed of rank %" PRIu32 " is %g", rank,
                                  speeds[rank]);
        most = fmax(most, speeds[rank]);
    }
    if (most == 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "no rank has a speed above 0");
    frexp(most, out_fastest_exponent);
    return VKRING_OK;
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

/* What rows cost. No batch entries of the smallest heads: no size of others is in the way. */
static struct vkring_plan_params of_rows(const struct vkring_plan_params *params)
{
    return (struct vkring_plan_params){
        .q_len = params->q_len,
        .kv_len = params->kv_len,
        .heads = 1,
        .head_dim = 1,
        .causal = params->causal,
        .causal_block = params->causal_block,
        .has_window = params->has_window,
        .window_left = params->window_left,
        .window_right = params->window_right,
        .has_query_offset = params->has_query_offset,
        .query_offset = params->query_offset,
        .layout = params->layout,
        .has_key_layout = params->has_key_layout,
        .key_layout = params->key_layout,
    };
}

enum vkring_status vkring_shares_cut(const struct vkring_plan_params *params, uint32_t ranks, const double *speeds,
                                     const uint64_t *most_rows_of_rank, uint64_t *out_query_rows_of_rank)
{
    enum vkring_status status;
    const struct vkring_plan_params equal = of_rows(params);
    struct problem problem;
    struct layout layout = {0};
    int fastest_exponent = 0;
    if (ranks == 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "rows cannot be cut over 0 ranks");
    TRY(check_speeds(ranks, speeds, &fastest_exponent), fail);
    TRY(problem_resolve(&equal, &problem), fail);
    TRY(layout_make(0, ranks, &equal, &layout), fail);
    const struct cut cut = {&problem, layout.kind, ranks, speeds, fastest_exponent, most_rows_of_rank};
    layout_free(&layout);
    TRY(check_room(&cut), fail);
    deal_in_least_time(&cut, out_query_rows_of_rank);
    return VKRING_OK;
fail:
    return status;
}
