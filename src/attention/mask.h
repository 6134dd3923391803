/* SPDX-License-Identifier: MIT */
/**
 * Which pairs of queries and keys causal and window masks keep. What a row keeps of the keys is one interval, whose ends never fall from
 * row to row; so is what a key keeps of the rows. Pure arithmetic on positions.
 */
#ifndef VKRING_ATTENTION_MASK_H
#define VKRING_ATTENTION_MASK_H

#include "problem.h"

/**
 * A block of the score matrix: row i of it is row query_row + query_stride · i of the sequence, and key j is key key_row + key_stride · j.
 * Stride 0 is 1.
 */
struct mask_block {
    uint64_t query_row, rows;
    uint64_t key_row, keys;
    uint64_t query_stride, key_stride;
};

/** Counted from the first key (or row) of the block. */
struct mask_range {
    uint64_t first, end;
};

/** The keys of the block that any of its rows keeps, with those between them; of no keys first is 0. */
struct mask_range mask_kept_keys(const struct problem *problem, const struct mask_block *block);
/** The rows of the block that keep any of its keys, with those between them. */
struct mask_range mask_kept_rows(const struct problem *problem, const struct mask_block *block);

/** How many pairs of the block are kept, for one head and batch entry; segment ids and bias not counted. */
double mask_kept_pairs(const struct problem *problem, const struct mask_block *block);
/** What a kernel computes at a time: a tile of rows, and so many keys a step. Each at least 1. */
struct mask_cell {
    uint64_t rows, keys;
};

/**
 * How many pairs kernels go through to keep those: of each tile from the step with the first key that any of its rows keeps to that with
 * the last, whole cells, also where the block ends. Kernels begin with that key, not with its step: of windows it is a step more at most.
 */
double mask_visited_pairs(const struct problem *problem, const struct mask_block *block, const struct mask_cell *cell);
/** Whether any is; of causal blocks, whether any may be. */
bool mask_keeps_any(const struct problem *problem, const struct mask_block *block);

/** Whether there is a limit at all; and whether it is one of causal blocks. */
bool mask_is_band(const struct problem *problem);
bool mask_has_stairs(const struct problem *problem);

/** How far kernels count positions on either side of a block. */
#define MASK_MAX_EXTENT ((uint64_t)1 << 30)

/**
 * A block's limits as kernels take them, where p is the position of a row counted from query_row, and q that of a key from key_row: the row
 * keeps the key if p + lower <= q <= p + upper and, with stairs, q <= key_stair + (p + query_phase) / causal_block · causal_block. Then the
 * key keeps the row if also p >= row_stair + (q + key_phase) / causal_block · causal_block. Clamped to 32 bits where it changes nothing.
 */
struct mask_limits {
    int32_t lower, upper;
    int32_t key_stair, row_stair;
    uint32_t query_phase, key_phase;
};

/** rows · query_stride and keys · key_stride at most MASK_MAX_EXTENT; half of it where a stride is above 1. */
struct mask_limits mask_limits_of(const struct problem *problem, const struct mask_block *block);

/**
 * Positions for alibi: a row at p, as above, lies at clamp(p + diagonal, low, high) from key_row, which is the position of the key nearest
 * to it where it lies outside of all keys. far is the rest of its distance, beyond what p + diagonal says. kv_len at most MAX_ALIBI_LENGTH.
 */
struct mask_alibi {
    int32_t diagonal, low, high;
    float far;
};

struct mask_alibi mask_alibi_of(const struct problem *problem, const struct mask_block *block);

#endif
