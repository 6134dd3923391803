/* SPDX-License-Identifier: MIT */
#include "mask.h"

#include "../base/checked.h"

/* Any offset is allowed: only sums have to be near. */
__extension__ typedef __int128 wide;

#define FAR ((wide)1 << 100)

static wide clamp(wide value, wide low, wide high)
{
    return value < low ? low : value > high ? high : value;
}

static wide round_down(wide value, wide step)
{
    wide rest = value % step;
    return value - (rest < 0 ? rest + step : rest);
}

static wide position_of_row(const struct problem *problem, uint64_t row)
{
    return (wide)problem->query_offset + (wide)row;
}

/* The last key that a query at a position keeps, and the first. */
static wide last_key(const struct problem *problem, wide position)
{
    const wide block = (wide)problem->causal_block;
    wide last = problem->window_right < 0 ? FAR : position + problem->window_right;
    if (problem->causal) {
        const wide causal = round_down(position, block) + block - 1;
        last = causal < last ? causal : last;
    }
    return last;
}

static wide first_key(const struct problem *problem, wide position)
{
    return problem->window_left < 0 ? -FAR : position - problem->window_left;
}

/* The first row position that keeps a key, and the last. */
static wide first_position(const struct problem *problem, wide key)
{
    wide first = problem->window_right < 0 ? -FAR : key - problem->window_right;
    if (problem->causal) {
        const wide causal = round_down(key, (wide)problem->causal_block);
        first = causal > first ? causal : first;
    }
    return first;
}

static wide last_position(const struct problem *problem, wide key)
{
    return problem->window_left < 0 ? FAR : key + problem->window_left;
}

static struct mask_range range_of(wide first, wide last, wide origin, uint64_t count)
{
    const struct mask_range range = {
        .first = (uint64_t)clamp(first - origin, 0, (wide)count),
        .end = (uint64_t)clamp(last + 1 - origin, 0, (wide)count),
    };
    return range.first < range.end ? range : (struct mask_range){0};
}

struct mask_range mask_kept_keys(const struct problem *problem, const struct mask_block *block)
{
    const wide first = position_of_row(problem, block->query_row);
    if (block->rows == 0)
        return (struct mask_range){0};
    return range_of(first_key(problem, first), last_key(problem, first + (wide)block->rows - 1), (wide)block->key_row, block->keys);
}

struct mask_range mask_kept_rows(const struct problem *problem, const struct mask_block *block)
{
    const wide first = (wide)block->key_row;
    if (block->keys == 0)
        return (struct mask_range){0};
    return range_of(first_position(problem, first), last_position(problem, first + (wide)block->keys - 1),
                    position_of_row(problem, block->query_row), block->rows);
}

/* The sum of clamp(i + shift, 0, keys) over rows i: a ramp between the rows where it leaves 0 and reaches keys. */
static double sum_of_ramp(wide shift, double rows, double keys)
{
    const double start = (double)shift;
    const double from = start >= 0 ? 0 : -start < rows ? -start : rows;
    const double full = keys - start;
    const double to = full <= from ? from : full < rows ? full : rows;
    return (to - from) * start + (to * (to - 1) - from * (from - 1)) / 2 + (rows - to) * keys;
}

/* The keys below the upper limit, summed over rows that lie in one causal block. */
static double sum_below(const struct problem *problem, wide position, double rows, const struct mask_block *block)
{
    const double keys = (double)block->keys;
    const wide origin = (wide)block->key_row;
    const wide stair = round_down(position, (wide)problem->causal_block) + (wide)problem->causal_block - 1;
    const double cap = (double)clamp(stair + 1 - origin, 0, (wide)block->keys);
    if (problem->window_right < 0)
        return rows * cap;
    return sum_of_ramp(position + problem->window_right + 1 - origin, rows, cap < keys ? cap : keys);
}

static double sum_below_stairs(const struct problem *problem, const struct mask_block *block)
{
    const wide first = position_of_row(problem, block->query_row), end = first + (wide)block->rows;
    double sum = 0;
    for (wide at = first; at < end;) {
        const wide next = round_down(at, (wide)problem->causal_block) + (wide)problem->causal_block;
        const wide stop = next < end ? next : end;
        sum += sum_below(problem, at, (double)(stop - at), block);
        at = stop;
    }
    return sum;
}

double mask_kept_pairs(const struct problem *problem, const struct mask_block *block)
{
    const double rows = (double)block->rows, keys = (double)block->keys;
    const wide shift = position_of_row(problem, block->query_row) - (wide)block->key_row;
    double below = rows * keys;
    if (mask_has_stairs(problem))
        below = sum_below_stairs(problem, block);
    else if (problem->causal)
        below = sum_of_ramp(shift + 1, rows, keys);
    else if (problem->window_right >= 0)
        below = sum_of_ramp(shift + problem->window_right + 1, rows, keys);
    return problem->window_left < 0 ? below : below - sum_of_ramp(shift - problem->window_left, rows, keys);
}

bool mask_is_band(const struct problem *problem)
{
    return problem->causal || problem->window_left >= 0 || problem->window_right >= 0;
}

bool mask_has_stairs(const struct problem *problem)
{
    return problem->causal && problem->causal_block > 1;
}

struct mask_limits mask_limits_of(const struct problem *problem, const struct mask_block *block)
{
    const wide rows = (wide)block->rows, keys = (wide)block->keys, step = (wide)problem->causal_block;
    const wide query = position_of_row(problem, block->query_row), key = (wide)block->key_row;
    const wide query_block = round_down(query, step), key_block = round_down(key, step);
    wide upper = problem->window_right < 0 ? FAR : query + problem->window_right - key;
    if (problem->causal && !mask_has_stairs(problem) && query - key < upper)
        upper = query - key;
    return (struct mask_limits){
        .lower = (int32_t)(problem->window_left < 0 ? -rows : clamp(query - problem->window_left - key, -rows, keys)),
        .upper = (int32_t)clamp(upper, -rows, keys),
        .key_stair = (int32_t)clamp(query_block + step - 1 - key, -(rows + 2 * step), keys),
        .row_stair = (int32_t)clamp(key_block - query, -(keys + 2 * step), rows),
        .query_phase = (uint32_t)(query - query_block),
        .key_phase = (uint32_t)(key - key_block),
    };
}

struct mask_alibi mask_alibi_of(const struct problem *problem, const struct mask_block *block)
{
    const wide key = (wide)block->key_row, last = (wide)problem->kv_len - 1;
    const wide diagonal = position_of_row(problem, block->query_row) - key;
    const wide near = clamp(diagonal, -key - (wide)block->rows, (wide)problem->kv_len - key);
    return (struct mask_alibi){
        .diagonal = (int32_t)near,
        .low = (int32_t)-key,
        .high = (int32_t)(last - key),
        .far = (float)(diagonal > near ? diagonal - near : near - diagonal),
    };
}
