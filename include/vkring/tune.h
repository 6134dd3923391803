/* SPDX-License-Identifier: MIT */
/**
 * Which kernels a device gets, and measuring for better ones.
 *
 * Kernels do the same for any choice, at unlike speed. Of those that say something the first counts:
 *
 *  1. the environment variable VKRING_KERNELS,
 *  2. vkring_plan_params.kernels,
 *  3. what vkring_tune found on this device with this driver, by this build of the library, for a problem of the class: in the cache folder
 *     that the device was created with,
 *  4. what should be fast on devices of its kind.
 *
 * The first two are words with blanks between them, which change what the fourth says:
 *
 *     subgroup=S                lanes of a subgroup; 0 for the driver's choice
 *     workgroup=W               lanes of a workgroup
 *     lanes_per_row=L           lanes that share a row of queries (in backward also of keys), a power of two, at most a subgroup
 *     rows_per_lane=R           rows that a lane has at once
 *     keys_per_step=K           keys (in backward also queries) that a lane reads at once, of dimensions that are multiples of 4
 *     keys_per_step_general=K   the same of other dimensions
 *     few_registers=0|1         lanes read their own rows again at each step
 *     separate_sums=0|1         gradients of keys and of values take turns, so that lanes need not hold the sums of both
 *     broadcast=0|1             lanes read rows of the other side together and hand them around; needs lanes_per_row=1, workgroup=subgroup
 *     uniform_loads=0|1         in forward lanes that share a row take their parts of keys from loads of 64 bits that are the same in all lanes;
 *                               needs lanes_per_row greater than 1 and a device with 64-bit integers. Lanes for more rows than there are have
 *                               those of other key heads, where the number of key heads is a multiple of that
 *     copy_worth_rows=N         a rank with so many query rows for each key head copies the keys and values at hand, so that those of a head
 *                               follow each other; with so many keys, backward copies queries and gradients of outputs likewise; 0: none does
 *     keeps_score_grads=0|1     gradients of scores go through memory, not computed twice
 *     matrix=0|1                f16 and bf16 go through matrix units, where there are kernels on them for the device and the problem; the
 *                               other words are then about what is left to other kernels
 *     matrix_row_tiles=T        matrices of own rows that a subgroup has one below the other
 *     matrix_subgroups=S        subgroups of a workgroup, which walk together
 *     matrix_rows_per_step=K    rows of the other side that they have at a time
 *     matrix_column_parts=P     subgroups that have rows together, each a part of the columns of their sums, so that lanes need fewer registers
 *     matrix_operations=0|1     what follows a product is done in matrices, not through shared memory, where the device has reductions, conversions
 *                               and per-element operations of VK_NV_cooperative_matrix2: forward without dropout, and gradients without
 *                               segment ids, softcap, ALiBi, bias and dropout; of f16, and of bf16 where matrices have such elements
 *     matrix_loads_ahead=0|1    a step's rows are loaded while the one before it is computed, those of f16, and of bf16 by such operations;
 *                               where dimensions are multiples of 8, and addresses and strides of 16 bytes
 *     matrix_turns_values=0|1   forward of f16 has a step's values in shared memory with the keys of a column side by side, as matrices are loaded;
 *                               not with the two words before it
 *
 * Of the four before these three 0 is what suits the device; each kernel comes as near to what is asked for as shared memory has room.
 * All numbers but copy_worth_rows are powers of two. Whichever counts, plans are made only with kernels that give the right answer to a
 * known problem: remembered ones gave it when they were found.
 * Of all of them the feed-forward layer (feedforward.h) looks at matrix, matrix_subgroups and matrix_operations: products of f16 and bf16 are then
 * finished in matrices, as they are on CPUs unless it is 0.
 */
#ifndef VKRING_TUNE_H
#define VKRING_TUNE_H

#include <vkring/vkring.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vkring_kernel_source {
    VKRING_KERNELS_BY_KIND = 0,        /**< of the device */
    VKRING_KERNELS_PORTABLE = 1,       /**< those of its kind gave a wrong answer */
    VKRING_KERNELS_TUNED = 2,
    VKRING_KERNELS_BY_PARAMETER = 3,
    VKRING_KERNELS_BY_ENVIRONMENT = 4,
};

struct vkring_kernel_choice {
    char words[512]; /**< all of them */
    enum vkring_kernel_source source;
};

/**
 * What a plan for the problem would get on this device. Lengths count as far as query rows are few (at most 64 that share their keys) or not.
 * VKRING_ERROR_INVALID_ARGUMENT: a word is unknown, or asks for what the device cannot do. _SELF_TEST: what was asked for computes wrong
 * results.
 */
VKRING_API enum vkring_status vkring_kernels_choose(vkring_device *device, const struct vkring_plan_params *problem,
                                                    struct vkring_kernel_choice *out_choice);

/** How long vkring_tune searches where nothing else is said. */
#define VKRING_TUNE_DEFAULT_SECONDS 20

/** One choice that was measured. */
struct vkring_tune_trial {
    char words[512];
    double seconds;      /**< of a run; 0 if it was refused: it did not compile, or gave a wrong answer */
    double best_seconds; /**< of the best so far, of the same work */
    uint32_t tried;      /**< so far */
    double spent_seconds, budget_seconds;
};

struct vkring_tune_params {
    double budget_seconds; /**< about; 0 for VKRING_TUNE_DEFAULT_SECONDS; not negative. A choice under way is finished */
    bool exhaustive;       /**< all choices there are, however long it takes: to judge what is found otherwise */
    bool forget;           /**< the result is not kept */
    /** After each choice: whether to go on; if not, the best so far is the result. May be null; must not call back into the library. */
    bool (*trial)(void *user, const struct vkring_tune_trial *trial);
    void *user;
};

struct vkring_tune_result {
    struct vkring_kernel_choice choice; /**< the fastest */
    double flops;                       /**< of it: FLOP/s of what kernels go through, forward and backward together if the problem has it */
    double flops_by_kind;               /**< of what the device gets by its kind, in the same minutes */
    uint32_t tried, refused;
    double seconds; /**< that it took */
    bool kept;      /**< in the cache folder */
    bool complete;  /**< neither the time nor trial ended the search */
};

/**
 * Looks for faster kernels for problems like this one on this device: from those that a plan has now to those that differ in a word or two,
 * as long as that is faster or until the time is over; each beside the best so far, in turns. What it finds counts for plans of the same
 * class from then on, in this process and others.
 *
 * A problem's class: types, dimensions, mask and modifiers, backward or not, whether heads share keys, and whether its query rows are few.
 * Lengths are measured as they are where a run of them takes little time, else shorter ones. params may be null. Errors as of vkring_plan_create.
 */
VKRING_API enum vkring_status vkring_tune(vkring_device *device, const struct vkring_plan_params *problem,
                                          const struct vkring_tune_params *params, struct vkring_tune_result *out_result);

#ifdef __cplusplus
}
#endif

#endif
