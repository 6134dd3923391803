/* SPDX-License-Identifier: MIT */
/** An attention kernel: a shader made for a problem, whose lanes own rows of one side and walk over the other. */
#ifndef VKRING_ATTENTION_KERNEL_H
#define VKRING_ATTENTION_KERNEL_H

#include "../vk/commands.h"
#include "../vk/pipeline_pool.h"
#include "arguments.h"
#include "kernel_choice.h"
#include "spirv.h"

/** Blocks of the other side beyond one meet in the state: a dispatch that is first and last with at most so many rows needs none. */
#define KERNEL_BLOCK_ROWS 1024u

/** What a kernel is made for, beside its problem. */
struct kernel_use {
    bool partial;   /* gradients of keys and values are f32, whatever the type */
    bool strided;   /* rows or keys may lie apart */
    bool splits;    /* of forward: keys of a tile may be split over workgroups */
    bool int8_keys; /* of forward, not on matrix units: see struct key_tensors */
};

struct attention_kernel {
    enum spirv_kernel which;
    struct kernel_choice choice;
    const struct vk_pipeline *pipelines[ALIGNMENTS];
    uint64_t state_bytes_per_workgroup;
    struct kernel_use use;
    char name[192];
};

/** State that a workgroup keeps between blocks and dispatches, in bytes; 0 for kernels without. */
uint64_t attention_kernel_state_bytes(enum spirv_kernel which, const struct kernel_choice *choice, const struct problem *problem);

/** Compiles what a problem whose tensors are aligned as can be will use. */
enum vkring_status attention_kernel_create(vkring_device *device, enum spirv_kernel which, const struct problem *problem,
                                           const struct kernel_choice *choice, struct kernel_use use, struct attention_kernel *out_kernel);
/** Compiles what tensors of an alignment need, if it was not yet: element by element is rare, and compilers take seconds. */
enum vkring_status attention_kernel_prepare(vkring_device *device, const struct problem *problem, enum alignment alignment,
                                            struct attention_kernel *kernel);
/** Accepts one that was not created. */
void attention_kernel_destroy(vkring_device *device, struct attention_kernel *kernel);

/** The own side of a rank. */
struct own_side {
    uint64_t batch, heads, rows;
    uint64_t most_stride; /* of either side; 0 for 1 */
};

/** How it is cut, with at most most_others of the other side; a dispatch should take at most dispatch_seconds. */
void attention_kernel_tile(const vkring_device *device, enum spirv_kernel which, const struct problem *problem,
                           const struct kernel_choice *choice, const struct own_side *own, uint64_t most_others, double dispatch_seconds,
                           struct tiling *out_tiling);

/** Multiply-adds for a pair of rows, in units of those that forward does. */
double attention_kernel_products(enum spirv_kernel which);
/** What a dispatch is estimated to do: pairs that it goes through by position count, whatever else masks them. */
double attention_kernel_flop(const struct attention_kernel *kernel, const struct attention_dispatch *dispatch);

/** Writes the arguments into their slot of a buffer of kind VK_MEMORY_ARGUMENTS and records the dispatch. Prepared for the alignment. */
void attention_kernel_record(vkring_device *device, const struct vk_commands *commands, const struct attention_kernel *kernel,
                             enum alignment alignment, const struct attention_dispatch *dispatch, const vkring_buffer *arguments,
                             uint64_t slot);

#endif
