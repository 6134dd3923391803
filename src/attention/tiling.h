/* SPDX-License-Identifier: MIT */
/** Cutting a rank's rows, and the keys of a packet, into dispatches that stay short and within the device's limits. Pure arithmetic. */
#ifndef VKRING_ATTENTION_TILING_H
#define VKRING_ATTENTION_TILING_H

#include <stdbool.h>
#include <stdint.h>

/** Splits of the keys of a tile, each a workgroup's. */
struct tiling_split {
    uint64_t keys;         /* the least of one; 0: there are none */
    uint64_t keys_per_row; /* the same for each own row, since a split keeps the state of all */
    uint64_t below;        /* only where there are fewer workgroups */
    uint64_t workgroups;   /* the most that these become */
};

/** What a dispatch may be. */
struct tiling_limits {
    uint32_t max_workgroup_count[3];
    uint64_t max_workgroups;    /* of one dispatch, in all */
    uint64_t max_rows;          /* and keys, of one dispatch */
    uint64_t enough_workgroups; /* fewer leave the device idle: keys are cut only below that */
    double flop;                /* of one dispatch */
    struct tiling_split split;
};

/** [batch][heads][tiles] workgroups in boxes: an outer axis is cut down to 1 before an inner one is cut at all. */
struct tiling {
    uint64_t batch, heads, rows, tile_rows, tiles;
    uint64_t box_batch, box_heads, box_tiles;
    uint64_t boxes_batch, boxes_heads, boxes_tiles;
    uint64_t boxes;
    uint64_t keys;   /* the most of one dispatch */
    uint64_t splits; /* of these, each a workgroup's; 1: of none */
};

/** One box. A box at the end of an axis may be smaller. */
struct tiling_box {
    uint64_t first_batch, batch, first_head, heads, first_tile, tiles;
    uint64_t first_row, rows;
    uint64_t splits;
    uint64_t first_workgroup; /* workgroups of all boxes before it, with those of splits */
};

/** flop_per_row_key: of one row and key. No rows make no boxes. */
void tiling_make(const struct tiling_limits *limits, uint64_t batch, uint64_t heads, uint64_t rows, uint64_t tile_rows,
                 double flop_per_row_key, uint64_t most_keys, struct tiling *out_tiling);
struct tiling_box tiling_box_at(const struct tiling *tiling, uint64_t index);
/** Of all boxes. */
uint64_t tiling_workgroups(const struct tiling *tiling);

#endif
