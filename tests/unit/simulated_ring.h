/* SPDX-License-Identifier: MIT */
/** Rings to be simulated, on ranks whose speeds make seconds whole. */
#ifndef VKRING_TESTS_UNIT_SIMULATED_RING_H
#define VKRING_TESTS_UNIT_SIMULATED_RING_H

#include <vkring/simulate.h>

enum { MOST_RANKS = 8 };

/** A pair costs one FLOP for each of 4 · DIM; f32 keys and values of a row take 8 · DIM bytes. */
enum { DIM = 16, FLOP_PER_PAIR = 4 * DIM, BYTES_PER_KEY = 8 * DIM };

struct outcome {
    struct vkring_simulation whole;
    struct vkring_simulated_turn turns[MOST_RANKS + 1];
    struct vkring_simulated_result results[MOST_RANKS];
};

/** As many queries as keys, of one head. */
struct vkring_plan_params problem_of(uint64_t rows, bool causal, enum vkring_layout layout);
/** Which takes a second for a pair, and none for anything else. */
struct vkring_simulated_rank pair_a_second(void);
/** At most MOST_RANKS. */
struct outcome simulate(const struct vkring_plan_params *problem, uint32_t ranks, const struct vkring_simulated_rank *rank,
                        uint32_t rank_count);

#endif
