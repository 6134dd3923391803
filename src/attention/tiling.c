/* SPDX-License-Identifier: MIT */
#include "tiling.h"

#include "../base/checked.h"

/* Cuts of keys fall on multiples of this, so that the steps of kernels stay whole. */
#define KEY_CUT 64u

static uint64_t keys_of_dispatch(const struct tiling_limits *limits, uint64_t workgroups, double workgroup_flop_per_key, uint64_t most_keys)
{
    double needed = (double)min_u64(workgroups, limits->enough_workgroups) * workgroup_flop_per_key;
    double keys = limits->flop / needed;
    uint64_t most = min_u64(max_u64(most_keys, 1), limits->max_rows);
    if (keys >= (double)most)
        return most;
    uint64_t cut = (uint64_t)keys / KEY_CUT * KEY_CUT;
    return min_u64(max_u64(cut, KEY_CUT), most);
}

/* More workgroups where rows make few. */
static uint64_t splits_of(const struct tiling_limits *limits, const struct tiling *tiling)
{
    const uint64_t workgroups = tiling->batch * tiling->heads * tiling->tiles;
    const uint64_t of_box = tiling->box_batch * tiling->box_heads * tiling->box_tiles;
    if (limits->split.keys == 0 || workgroups >= limits->split.below)
        return 1;
    const uint64_t keys = max_u64(limits->split.keys, limits->split.keys_per_row * tiling->rows);
    uint64_t most = min_u64(limits->split.workgroups / workgroups, tiling->keys / keys);
    most = min_u64(most, limits->max_workgroup_count[2] / tiling->box_batch);
    return max_u64(min_u64(most, limits->max_workgroups / of_box), 1);
}

void tiling_make(const struct tiling_limits *limits, uint64_t batch, uint64_t heads, uint64_t rows, uint64_t tile_rows,
                 double flop_per_row_key, uint64_t most_keys, struct tiling *out_tiling)
{
    struct tiling tiling = {
        .batch = batch, .heads = heads, .rows = rows, .tile_rows = tile_rows, .tiles = divide_up(rows, tile_rows), .keys = 1, .splits = 1};
    double workgroup_flop_per_key = (double)tile_rows * flop_per_row_key;
    if (batch == 0 || rows == 0) {
        *out_tiling = tiling;
        return;
    }
    tiling.keys = keys_of_dispatch(limits, tiling.tiles * heads * batch, workgroup_flop_per_key, most_keys);

    double affordable = limits->flop / (workgroup_flop_per_key * (double)tiling.keys);
    uint64_t budget = affordable >= (double)limits->max_workgroups ? limits->max_workgroups : max_u64((uint64_t)affordable, 1);
    tiling.box_tiles =
        min_u64(min_u64(tiling.tiles, budget), min_u64(limits->max_workgroup_count[0], max_u64(limits->max_rows / tile_rows, 1)));
    tiling.box_heads =
        tiling.box_tiles < tiling.tiles ? 1 : min_u64(min_u64(heads, max_u64(budget / tiling.tiles, 1)), limits->max_workgroup_count[1]);
    tiling.box_batch = tiling.box_heads < heads || tiling.box_tiles < tiling.tiles
                           ? 1
                           : min_u64(min_u64(batch, max_u64(budget / (tiling.tiles * heads), 1)), limits->max_workgroup_count[2]);
    tiling.boxes_tiles = divide_up(tiling.tiles, tiling.box_tiles);
    tiling.boxes_heads = divide_up(heads, tiling.box_heads);
    tiling.boxes_batch = divide_up(batch, tiling.box_batch);
    tiling.boxes = tiling.boxes_tiles * tiling.boxes_heads * tiling.boxes_batch;
    tiling.splits = splits_of(limits, &tiling);
    *out_tiling = tiling;
}

struct tiling_box tiling_box_at(const struct tiling *tiling, uint64_t index)
{
    struct tiling_box box;
    uint64_t tile = index % tiling->boxes_tiles;
    uint64_t head = index / tiling->boxes_tiles % tiling->boxes_heads;
    uint64_t batch = index / tiling->boxes_tiles / tiling->boxes_heads;
    box.first_tile = tile * tiling->box_tiles;
    box.tiles = min_u64(tiling->box_tiles, tiling->tiles - box.first_tile);
    box.first_head = head * tiling->box_heads;
    box.heads = min_u64(tiling->box_heads, tiling->heads - box.first_head);
    box.first_batch = batch * tiling->box_batch;
    box.batch = min_u64(tiling->box_batch, tiling->batch - box.first_batch);
    box.first_row = box.first_tile * tiling->tile_rows;
    box.rows = min_u64(box.tiles * tiling->tile_rows, tiling->rows - box.first_row);
    box.splits = tiling->splits;
    box.first_workgroup = ((box.first_batch * tiling->heads + box.first_head) * tiling->tiles + box.first_tile) * tiling->splits;
    return box;
}

uint64_t tiling_workgroups(const struct tiling *tiling)
{
    return tiling->batch * tiling->heads * tiling->tiles * tiling->splits;
}
