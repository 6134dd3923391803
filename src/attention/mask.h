/* SPDX-License-Identifier: MIT */
/**
 * Which pairs of queries and keys causal and window masks keep. What a row keeps of the keys is one interval, whose ends never fall from
 * row to row; so is what a key keeps of the rows. Pure arithmetic on positions.
 */
#ifndef VKRING_ATTENTION_MASK_H
#define VKRING_ATTENTION_MASK_H

#include "problem.h"

/** A block of the score matrix: query rows [query_row, + rows) of the sequence and keys [key_row, + keys). */
struct mask_block {
    uint64_t query_row, rows;
    uint64_t key_row, keys;
};

/** Counted from the first key (or row) of the block. */
struct mask_range {
    uint64_t first, end;
};

/** The keys of the block that any of its rows keeps; of no keys first is 0. */
struct mask_range mask_kept_keys(const struct problem *problem, const struct mask_block *block);
/** The rows of the block that keep any of its keys. */
struct mask_range mask_kept_rows(const struct problem *problem, const struct mask_block *block);

/** How many pairs of the block are kept, for one head and batch entry; segment ids and bias not counted. */
double mask_kept_pairs(const struct problem *problem, const struct mask_block *block);

/** Whether there is a limit at all; and whether it is one of causal blocks. */
bool mask_is_band(const struct problem *problem);
bool mask_has_stairs(const struct problem *problem);

/**
 * A block's limits as kernels take them, i counted from query_row and j from key_row: row i keeps key j if i + lower <= j <= i + upper and,
 * with stairs, j <= key_stair + (i + query_phase) / causal_block · causal_block. Then key j keeps row i if also i >= row_stair + (j +
 * key_phase) / causal_block · causal_block. Clamped to 32 bits where it changes nothing.
 */
struct mask_limits {
    int32_t lower, upper;
    int32_t key_stair, row_stair;
    uint32_t query_phase, key_phase;
};

/** rows and keys at most 2^30. */
struct mask_limits mask_limits_of(const struct problem *problem, const struct mask_block *block);

/**
 * Positions for alibi: row i lies at clamp(i + diagonal, low, high), counted as keys of the block are, which is the position of the key
 * nearest to it where it lies outside of all keys. far is the rest of its distance, beyond what i + diagonal says. kv_len at most
 * MAX_ALIBI_LENGTH.
 */
struct mask_alibi {
    int32_t diagonal, low, high;
    float far;
};

struct mask_alibi mask_alibi_of(const struct problem *problem, const struct mask_block *block);

#endif
