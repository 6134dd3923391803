/* SPDX-License-Identifier: MIT */
/** What vkring decode holds beside what it shares with vkring attend. */
#ifndef VKRING_TOOLS_DECODE_H
#define VKRING_TOOLS_DECODE_H

#include "attend.h"
#include "decode_options.h"

/** Rows that were fed to the cache in pieces. */
struct decode_part {
    uint64_t pieces;
    uint64_t rows; /**< of each sequence, over all ranks */
    double append_seconds, attend_seconds;
};

struct decode {
    struct attend attend; /**< first, so that its phases serve here */
    struct decode_options options;
    uint64_t most_rows; /**< of a sequence in a piece */
    vkring_cache *cache;
    struct decode_part prefill, steps;
    double *step_seconds; /**< [steps] */
};

/** Positions first … first + rows - 1 of every sequence. */
struct decode_piece {
    uint64_t first, rows;
    uint64_t own_first, own_rows; /**< this rank's part */
};

/** Phases, in this order, after those that open files. All but the first collective. */
bool decode_make_buffers(struct attend *attend, struct failure *failure);
bool decode_make_cache(struct attend *attend, struct failure *failure);
bool decode_prefill(struct attend *attend, struct failure *failure);
bool decode_steps(struct attend *attend, struct failure *failure);
bool decode_write_report(struct attend *attend, struct failure *failure);

static inline struct decode *decode_of(struct attend *attend)
{
    return (struct decode *)attend;
}

/** How many elements of a bias are on the device, for a piece of which this rank has so many rows; 0 without one. */
uint64_t decode_bias_elements(const struct decode *decode, uint64_t own_rows);
/** Loads what the piece needs of it, or what all pieces do where piece is null. */
bool decode_load_bias(struct decode *decode, const struct decode_piece *piece, struct failure *failure);

/** The position of the first query. */
static inline uint64_t decode_first_query(const struct decode *decode)
{
    return decode->attend.problem.lengths[DIM_KV_LEN] - decode->attend.problem.lengths[DIM_Q_LEN];
}

/** Of each sequence, in the steps. */
static inline uint64_t decode_step_rows(const struct decode *decode)
{
    return decode->options.steps * decode->options.step_rows;
}

#endif
