/* SPDX-License-Identifier: MIT */
/**
 * How long a run would take, and what fits, on devices and links that need not be there. Needs no device, no MPI and no other rank: the
 * schedule of a run is followed as data. Any thread.
 */
#ifndef VKRING_SIMULATE_H
#define VKRING_SIMULATE_H

#include <vkring/vkring.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a rank has. All numbers finite and >= 0. */
struct vkring_simulated_rank {
    double forward_flops;         /**< FLOP/s, of computed_flop of vkring_run_stats; above 0 */
    double backward_flops;        /**< likewise; 0 for forward_flops */
    double task_seconds;          /**< what the device takes for each task beside its FLOP: one a step forward, two or three backward */
    double copy_bytes_per_second; /**< between device and host memory; 0: copies take no time. Not used where memory is unified */
    double link_bytes_per_second; /**< to the next rank; 0: bytes take no time */
    double link_latency_seconds;  /**< of a message to the next rank */
    bool unified_memory;          /**< as of vkring_device_info; used without device */
    uint64_t memory_bytes;        /**< of the device, for tensors and plan; 0: no limit */
    /**
     * The device that kernels are chosen for, which decides on some of the memory, on how many pairs beside those that are kept they go
     * through and, of a CPU, on what it takes to add up gradients: kind, driver, subgroup_size, min_subgroup_size (0: the
     * same), lane_registers (0: 256), shared_memory_bytes and matrix_shapes. Null for the memory of a GPU of subgroups of 32, and nothing
     * of the others. Borrowed during the call.
     */
    const struct vkring_device_info *device;
};

struct vkring_simulation_params {
    /** As for vkring_plan_create; segment ids and bias mask nothing here. Borrowed during the call. */
    const struct vkring_plan_params *problem;
    uint32_t ranks;
    /** In rank order, rank_count of them: one for each rank, or one that all are like. Borrowed during the call. */
    const struct vkring_simulated_rank *rank;
    uint32_t rank_count;
    bool backward; /**< simulates vkring_backward, of a problem with backward; else vkring_forward */
};

/** One run. */
struct vkring_simulation {
    double total_seconds; /**< of the slowest rank */
    double ideal_seconds; /**< FLOP of all ranks over the sum of their FLOP/s */
    double flop;          /**< of all ranks, as vkring_run_stats counts them */
    uint32_t steps;       /**< as of vkring_run_stats */
    uint32_t turns;       /**< steps, and in backward one more: a rank's own keys get their gradients last */
    enum vkring_layout layout;
};

/** The largest of any rank. */
struct vkring_simulated_turn {
    double compute_seconds;
    double transfer_seconds; /**< of the packet for this turn, and of gradients, from when both ends were ready */
    double exposed_wait_seconds;
    double end_seconds; /**< from the start of the run to the end of its work */
};

struct vkring_simulated_result {
    uint64_t query_rows, key_rows;
    double total_seconds, compute_seconds, exposed_wait_seconds; /**< as of vkring_run_stats */
    double sent_bytes, received_bytes;
    uint64_t tensor_bytes; /**< of the rank's parts of all tensors that the problem has, packed, of backward too if it has that */
    struct vkring_plan_memory memory; /**< as vkring_plan_measure says of kernels chosen by kind, but for what the driver rounds up */
    bool fits;                        /**< tensors and memory.device_bytes are at most memory_bytes */
};

/**
 * Simulates a run. out_turns [ranks + 1], of which out_simulation->turns are written, and out_results [ranks] may be null.
 *
 * Packets wait for slots, slots for packets, as in a run; a link moves one packet after another, both ways at once. A pair of query and key
 * that a kernel goes through takes the same time everywhere. Time grows with ranks · steps: a few seconds for 4096 ranks.
 *
 * VKRING_ERROR_INVALID_ARGUMENT: as vkring_plan_create, or a number of a rank is out of range; the last error names the rank.
 */
VKRING_API enum vkring_status vkring_simulate(const struct vkring_simulation_params *params, struct vkring_simulation *out_simulation,
                                              struct vkring_simulated_turn *out_turns, struct vkring_simulated_result *out_results);

/**
 * The longest kv_len that fits the memory of every rank, with q_len in proportion and shares as they are: of tensors and plan, for ranks
 * that all hold packets. UINT64_MAX where nothing limits it; 0 where not even one key fits. Errors as of vkring_simulate.
 */
VKRING_API enum vkring_status vkring_simulate_longest(const struct vkring_simulation_params *params, uint64_t *out_kv_len);

#ifdef __cplusplus
}
#endif

#endif
