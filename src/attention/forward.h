/* SPDX-License-Identifier: MIT */
/** The forward kernel: made once for a problem, dispatched for a box of rows and a range of keys at a time. */
#ifndef VKRING_ATTENTION_FORWARD_H
#define VKRING_ATTENTION_FORWARD_H

#include "../vk/commands.h"
#include "kernel_choice.h"
#include "tensor.h"
#include "tiling.h"

struct forward_kernel {
    struct kernel_choice choice;
    struct vk_pipeline aligned; /* only where the dimensions are multiples of 4 */
    struct vk_pipeline general;
    uint64_t state_bytes_per_workgroup;
    char name[128];
};

/** Compiles for problem. */
enum vkring_status forward_kernel_create(vkring_device *device, const struct problem *problem, const struct kernel_choice *choice,
                                         struct forward_kernel *out_kernel);
/** Accepts one that was not created. */
void forward_kernel_destroy(vkring_device *device, struct forward_kernel *kernel);

/** Blocks of keys beyond one meet in the state: a dispatch that is first and last with at most so many keys needs none. */
#define FORWARD_BLOCK_KEYS 1024u

/** State that workgroups of problem keep between dispatches, in bytes each. */
uint64_t forward_state_bytes_per_workgroup(const struct kernel_choice *choice, const struct problem *problem);

/** Cuts rows of a rank and packets of at most most_keys; dispatch_seconds as in vkring_plan_params, 0 for the default. */
void forward_tile(const vkring_device *device, const struct problem *problem, const struct kernel_choice *choice, uint64_t rows,
                  uint64_t most_keys, double dispatch_seconds, struct tiling *out_tiling);

/** The tensors of a run. Rows of query, output and lse are those of the rank. */
struct forward_tensors {
    struct tensor_view query, output, lse;
};

/** A block of keys: rows [first, …) of views that hold key_row … of the sequence. */
struct forward_keys {
    struct tensor_view key, value;
    uint64_t key_row; /* of the sequence, that row 0 of the views is */
    uint64_t first, keys;
};

/** Whether the fast pipeline may read these. Fixed for a run: both pipelines keep the same state, but a run uses one. */
bool forward_tensors_aligned(const struct problem *problem, const struct forward_tensors *tensors);
bool forward_keys_aligned(const struct problem *problem, const struct forward_keys *keys);

/** Bytes that a dispatch takes in the argument buffer, at a multiple of them. */
#define FORWARD_ARGUMENT_BYTES 256u

struct forward_dispatch {
    const struct problem *problem;
    const struct forward_tensors *tensors;
    struct forward_keys keys;
    struct tiling_box box;
    uint64_t query_row; /* of the sequence, that row 0 of the tensors is */
    bool first, last;
    bool aligned;
    uint64_t state_address;         /* of the whole state */
    const vkring_buffer *arguments; /* of kind VK_MEMORY_ARGUMENTS */
    uint64_t argument_slot;
};

/** Writes the arguments into their slot and records the dispatch. */
void forward_record(vkring_device *device, const struct vk_commands *commands, const struct forward_kernel *kernel,
                    const struct forward_dispatch *dispatch);

#endif
