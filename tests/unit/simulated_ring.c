/* SPDX-License-Identifier: MIT */
#include "simulated_ring.h"

#include "../harness/suite.h"

struct vkring_plan_params problem_of(uint64_t rows, bool causal, enum vkring_layout layout)
{
    return (struct vkring_plan_params){
        .batch = 1, .q_len = rows, .kv_len = rows, .heads = 1, .head_dim = DIM, .causal = causal, .layout = layout};
}

struct vkring_simulated_rank pair_a_second(void)
{
    return (struct vkring_simulated_rank){.forward_flops = FLOP_PER_PAIR, .unified_memory = true};
}

struct outcome simulate(const struct vkring_plan_params *problem, uint32_t ranks, const struct vkring_simulated_rank *rank,
                        uint32_t rank_count)
{
    struct outcome outcome = {0};
    const struct vkring_simulation_params params = {
        .problem = problem, .ranks = ranks, .rank = rank, .rank_count = rank_count, .backward = problem->backward};
    ck_assert_uint_le(ranks, MOST_RANKS);
    ck_assert_int_eq(vkring_simulate(&params, &outcome.whole, outcome.turns, outcome.results), VKRING_OK);
    return outcome;
}
