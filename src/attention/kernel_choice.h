/* SPDX-License-Identifier: MIT */
/** Which kernel a device gets for a problem: priors by kind of device. */
#ifndef VKRING_ATTENTION_KERNEL_CHOICE_H
#define VKRING_ATTENTION_KERNEL_CHOICE_H

#include "../vk/device.h"
#include "mask.h"
#include "matrix_tiles.h"
#include "tiling.h"

struct kernel_choice {
    bool shuffle;           /* lanes that share a row sum with subgroup shuffles */
    uint32_t subgroup_size; /* to ask for; 0: the driver's */
    uint32_t workgroup_size;
    uint32_t lanes_per_row;
    uint32_t rows_per_lane;
    uint32_t keys_per_step;         /* of aligned tensors */
    uint32_t keys_per_step_general; /* of others: they load element by element */
    /* gradients of scores go through memory from the kernel of key gradients to that of query gradients, which else computes them again */
    bool keeps_score_grads;
    /* query rows of a rank for each key head that are worth a copy of keys by head, and keys that are worth one of queries; 0: none are */
    uint32_t copy_worth_rows;
    double row_pairs;          /* what loading and storing an own row takes, in pairs */
    double access_flop;        /* what loading or storing an element takes that is only moved, in FLOP of attention; 0: not known */
    uint32_t packed_heads;     /* in forward: query heads that share a tile, of a group or of several; 0 for 1 */
    uint32_t key_heads;        /* whose groups these are; 0 for 1 */
    struct tiling_split split; /* of keys, in forward */
    bool few_registers;        /* lanes read their own rows again at each step, where compilers would spill them */
    bool separate_sums;        /* gradients of keys and of values take turns, where registers do not hold the sums of both */
    bool broadcast; /* lanes read rows of the other side together and hand them around: a workgroup is a subgroup, a lane has whole rows */
    bool uniform_loads; /* forward: lanes share rows, and take their slices of keys from loads that are the same in all lanes */
    bool matrix;        /* kernels run on matrix units, those that can */
    struct matrix_wish matrix_wish;
    struct matrix_tiles matrices[SPIRV_KERNELS]; /* which can, and how: by device, problem and wish */
};

/** From the fastest, where a device has it, to the one that asks least of it: a lane a row, no subgroup operation. */
enum kernel_family { KERNELS_MATRIX, KERNELS_BROADCAST, KERNELS_SCALAR, KERNELS_PORTABLE, KERNEL_FAMILIES };

/** Query heads that may share a tile: those that share a key head, unless each has a bias, whose rows lie too far apart for 32 bits. */
uint64_t kernel_choice_group(const struct problem *problem);
/** Query heads that a tile has rows of, and how many of each. */
uint32_t kernel_choice_packed_heads(const struct kernel_choice *choice);
/** Key heads that a tile has rows of, each with lanes of its own. */
uint32_t kernel_choice_key_heads(const struct kernel_choice *choice);
/** The choice that should be fastest: that of the best family for the device and the problem. */
struct kernel_choice kernel_choice_best(const vkring_device *device, const struct problem *problem);
enum kernel_family kernel_choice_best_family(const vkring_device *device, const struct problem *problem);
/** Whether all kernels on matrix units should be faster than others, whatever the problem. Products of CPUs are slow; and for few
 * registers, as compilers of Intel's GPUs have, problems are looked at. */
bool kernel_choice_suits_matrices(const vkring_device *device);
/** The family's; of matrix units, as far as there are kernels for the device and the problem. */
struct kernel_choice kernel_choice_of_family(const vkring_device *device, const struct problem *problem, enum kernel_family family);
struct kernel_choice kernel_choice_portable(const vkring_device *device);
/** What follows from the rest after something was changed. */
void kernel_choice_settle(const vkring_device *device, const struct problem *problem, struct kernel_choice *choice);

/** Null: a kernel is not on matrix units. */
const struct matrix_tiles *kernel_choice_matrices(const struct kernel_choice *choice, enum spirv_kernel which);

/** Own rows of a scalar kernel's workgroup; and of any kernel's. */
uint32_t kernel_choice_tile_rows(const struct kernel_choice *choice);
uint32_t kernel_choice_rows_of(const struct kernel_choice *choice, enum spirv_kernel which);

/**
 * What a kernel takes for a block of queries and keys, in pairs: all that it goes through, and what its rows take beside them. At least
 * those that are kept; 0 where none is.
 */
double kernel_choice_pairs(const struct kernel_choice *choice, enum spirv_kernel which, const struct problem *problem,
                           const struct mask_block *block);
/** The same where lanes own keys. */
double kernel_choice_pairs_of_keys(const struct kernel_choice *choice, enum spirv_kernel which, const struct problem *problem,
                                   const struct mask_block *block);

/** Rows of either side that gradients of scores have room for: kernels write and read whole tiles and steps of them. */
uint64_t kernel_choice_score_rows(const struct kernel_choice *choice, uint64_t rows);

/** How many workgroups keep the device busy. */
uint64_t kernel_enough_workgroups(const vkring_device *device);

#endif
