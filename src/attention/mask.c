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

/* What lies 1 apart, as most rows and keys do, needs no division of 128 bits. */
static wide divide_down(wide value, wide step)
{
    return step == 1 ? value : round_down(value, step) / step;
}

static wide stride_of(uint64_t stride)
{
    return stride ? (wide)stride : 1;
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

/* Of `count` rows that lie stride apart from origin on, those at first … last. */
static struct mask_range range_of(wide first, wide last, wide origin, wide stride, uint64_t count)
{
    const struct mask_range range = {
        .first = (uint64_t)clamp(divide_down(first - origin + stride - 1, stride), 0, (wide)count),
        .end = (uint64_t)clamp(divide_down(last - origin, stride) + 1, 0, (wide)count),
    };
    return range.first < range.end ? range : (struct mask_range){0};
}

struct mask_range mask_kept_keys(const struct problem *problem, const struct mask_block *block)
{
    const wide first = position_of_row(problem, block->query_row);
    if (block->rows == 0)
        return (struct mask_range){0};
    const wide last = first + (wide)(block->rows - 1) * stride_of(block->query_stride);
    return range_of(first_key(problem, first), last_key(problem, last), (wide)block->key_row, stride_of(block->key_stride), block->keys);
}

struct mask_range mask_kept_rows(const struct problem *problem, const struct mask_block *block)
{
    const wide first = (wide)block->key_row;
    if (block->keys == 0)
        return (struct mask_range){0};
    const wide last = first + (wide)(block->keys - 1) * stride_of(block->key_stride);
    return range_of(first_position(problem, first), last_position(problem, last), position_of_row(problem, block->query_row),
                    stride_of(block->query_stride), block->rows);
}

/* The sum of floor((step · i + start) / divisor) over i < count, of numbers >= 0: the points below a line, counted as Euclid's algorithm
 * goes. */
static wide sum_of_floors(wide count, wide step, wide start, wide divisor)
{
    wide sum = 0;
    if (divisor == 1)
        return count * (count - 1) / 2 * step + count * start;
    while (count > 0) {
        sum += count * (count - 1) / 2 * (step / divisor) + count * (start / divisor);
        const wide rest = step % divisor, end = rest * count + start % divisor;
        count = end / divisor;
        start = end % divisor;
        step = divisor;
        divisor = rest;
    }
    return sum;
}

/* Rows that lie `step` apart, before keys that lie `divisor` apart. */
struct ramp {
    wide step, divisor;
};

/* The keys from 0 to step · i + start, at most `most` of them, summed over i < rows: between the rows where they leave 0 and reach `most` a
 * ramp. */
static wide sum_of_ramp(const struct ramp *ramp, wide start, wide rows, wide most)
{
    const wide from = clamp(divide_down(-start + ramp->step - 1, ramp->step), 0, rows);
    const wide to = clamp(divide_down((most - 1) * ramp->divisor - start + ramp->step - 1, ramp->step), from, rows);
    return sum_of_floors(to - from, ramp->step, start + from * ramp->step, ramp->divisor) + to - from + (rows - to) * most;
}

static struct ramp ramp_of(const struct mask_block *block)
{
    return (struct ramp){stride_of(block->query_stride), stride_of(block->key_stride)};
}

/* The keys below the upper limit, summed over rows from a position on that lie in one causal block. */
static wide sum_below_stair(const struct problem *problem, wide position, wide rows, const struct mask_block *block)
{
    const struct ramp ramp = ramp_of(block);
    const wide origin = (wide)block->key_row;
    const wide stair = round_down(position, (wide)problem->causal_block) + (wide)problem->causal_block - 1;
    const wide most = clamp(divide_down(stair - origin, ramp.divisor) + 1, 0, (wide)block->keys);
    if (problem->window_right < 0)
        return rows * most;
    return sum_of_ramp(&ramp, position + problem->window_right - origin, rows, most);
}

/* Rows from a position on, of which as many each lie on stairs as far apart: a ramp of stairs. */
struct stairs {
    wide rows, apart; /* 0: they are not alike, or a window cuts them */
};

static struct stairs stairs_of(const struct problem *problem, const struct mask_block *block)
{
    const wide step = stride_of(block->query_stride), size = (wide)problem->causal_block;
    if (problem->window_right >= 0 || (size % step && step % size))
        return (struct stairs){0};
    return size > step ? (struct stairs){size / step, size} : (struct stairs){1, step};
}

static wide sum_below_stairs(const struct problem *problem, const struct mask_block *block)
{
    const struct stairs stairs = stairs_of(problem, block);
    const struct ramp ramp = {stairs.apart, stride_of(block->key_stride)};
    const wide step = stride_of(block->query_stride), size = (wide)problem->causal_block;
    wide sum = 0, at = position_of_row(problem, block->query_row), left = (wide)block->rows;
    while (left > 0) {
        const wide last = round_down(at, size) + size - 1;
        wide here = clamp(divide_down(last - at, step) + 1, 1, left);
        if (here == stairs.rows) {
            sum += here * sum_of_ramp(&ramp, last - (wide)block->key_row, left / here, (wide)block->keys);
            here *= left / here;
        } else {
            sum += sum_below_stair(problem, at, here, block);
        }
        at += here * step;
        left -= here;
    }
    return sum;
}

/* Of each row where the keys end that lie within its upper limit, summed. */
static wide sum_of_ends(const struct problem *problem, const struct mask_block *block)
{
    const struct ramp ramp = ramp_of(block);
    const wide rows = (wide)block->rows, keys = (wide)block->keys;
    const wide shift = position_of_row(problem, block->query_row) - (wide)block->key_row;
    if (mask_has_stairs(problem))
        return sum_below_stairs(problem, block);
    if (problem->causal)
        return sum_of_ramp(&ramp, shift, rows, keys);
    if (problem->window_right >= 0)
        return sum_of_ramp(&ramp, shift + problem->window_right, rows, keys);
    return rows * keys;
}

/* Of each row how many keys come before its window, summed. */
static wide sum_of_firsts(const struct problem *problem, const struct mask_block *block)
{
    const struct ramp ramp = ramp_of(block);
    const wide shift = position_of_row(problem, block->query_row) - (wide)block->key_row;
    return problem->window_left < 0 ? 0 : sum_of_ramp(&ramp, shift - problem->window_left - 1, (wide)block->rows, (wide)block->keys);
}

double mask_kept_pairs(const struct problem *problem, const struct mask_block *block)
{
    return (double)(sum_of_ends(problem, block) - sum_of_firsts(problem, block));
}

/* Of tiles that begin with a row of the block and follow each other, each with as many rows up to the last. */
static wide visited_cells(const struct problem *problem, const struct mask_block *block, const struct mask_cell *cell, uint64_t first_row,
                          uint64_t tiles, uint64_t rows)
{
    const uint64_t query_stride = (uint64_t)stride_of(block->query_stride), key_stride = (uint64_t)stride_of(block->key_stride);
    const struct mask_block of_last_rows = {
        .query_row = block->query_row + (first_row + rows - 1) * query_stride,
        .rows = tiles,
        .key_row = block->key_row,
        .keys = divide_up(block->keys, cell->keys),
        .query_stride = cell->rows * query_stride,
        .key_stride = cell->keys * key_stride,
    };
    struct mask_block of_first_rows = of_last_rows;
    of_first_rows.query_row = block->query_row + first_row * query_stride;
    of_first_rows.key_row += (cell->keys - 1) * key_stride; /* a step is before the window if its last key is */
    return sum_of_ends(problem, &of_last_rows) - sum_of_firsts(problem, &of_first_rows);
}

double mask_visited_pairs(const struct problem *problem, const struct mask_block *block, const struct mask_cell *cell)
{
    const uint64_t tiles = block->rows / cell->rows, rest = block->rows % cell->rows;
    wide cells = 0;
    if (!mask_keeps_any(problem, block))
        return 0;
    if (tiles > 0)
        cells += visited_cells(problem, block, cell, 0, tiles, cell->rows);
    if (rest > 0)
        cells += visited_cells(problem, block, cell, tiles * cell->rows, 1, rest);
    return (double)cells * (double)cell->rows * (double)cell->keys;
}

bool mask_keeps_any(const struct problem *problem, const struct mask_block *block)
{
    if (block->rows == 0 || mask_kept_keys(problem, block).end == 0)
        return false;
    return mask_has_stairs(problem) || mask_kept_pairs(problem, block) > 0;
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
    const wide rows = (wide)block->rows * stride_of(block->query_stride), keys = (wide)block->keys * stride_of(block->key_stride);
    const wide step = (wide)problem->causal_block;
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
    const wide rows = (wide)block->rows * stride_of(block->query_stride);
    const wide near = clamp(diagonal, -key - rows, (wide)problem->kv_len - key);
    return (struct mask_alibi){
        .diagonal = (int32_t)near,
        .low = (int32_t)-key,
        .high = (int32_t)(last - key),
        .far = (float)(diagonal > near ? diagonal - near : near - diagonal),
    };
}
