/* SPDX-License-Identifier: MIT */
/** What a dispatch of an attention kernel is, and the block of arguments that tells it to the kernel. */
#ifndef VKRING_ATTENTION_ARGUMENTS_H
#define VKRING_ATTENTION_ARGUMENTS_H

#include "mask.h"
#include "tensors.h"
#include "tiling.h"

/** Bytes that a dispatch takes in the argument buffer, at a multiple of them. */
#define ARGUMENT_BYTES 1024u

/** What a dispatch's boxes cut. */
enum dispatch_side {
    OWN_QUERIES, /* query rows, by query head */
    OWN_KEYS,    /* keys, by key/value head */
    OWN_BIAS,    /* keys, by head of the bias and its batch entry */
    OWN_HEADS    /* query heads, which walk over query rows of all batch entries */
};

/** Rows of the two sides: one is owned by workgroups, as the box says, and the other is walked over. */
struct attention_dispatch {
    const struct problem *problem;
    const struct query_tensors *queries;
    const struct key_tensors *keys;
    enum dispatch_side side;
    struct tiling_box box;        /* of the own side */
    uint64_t other_first, others; /* of the other side, in its tensors */
    bool first, last;             /* the state starts empty; the results are written */
    uint64_t split_keys;          /* the least of a split, where the box has several */
    uint64_t state_address;       /* of the whole state */
    uint64_t state_bytes_per_workgroup;
    struct tensor_view score_grads; /* of its pairs: a row of queries for each key */
};

/** The pairs of a dispatch, of each head and batch entry. */
struct mask_block dispatch_block(const struct attention_dispatch *dispatch);

/** Writes ARGUMENT_BYTES. */
void arguments_write(const struct attention_dispatch *dispatch, void *to);

#endif
