/* SPDX-License-Identifier: MIT */
/** The order of a rank's work in a run: what it does with the packet of each step. Pure data. */
#ifndef VKRING_RING_PROGRAM_H
#define VKRING_RING_PROGRAM_H

#include "../attention/mask.h"
#include "layout.h"

/** FLOP of backward over those of forward, by FlashAttention's convention. */
#define BACKWARD_FLOP_FACTOR 2.5

enum task_kind {
    TASK_FORWARD,
    TASK_ROW_STATS,   /* of all query rows */
    TASK_SINKS,       /* their gradient, of this rank's rows */
    TASK_BIAS_CLEAR,  /* of a bias per query, which not all steps write */
    TASK_QUERY,       /* the gradient of all query rows, from the packet's keys */
    TASK_QUERY_CLEAR, /* sums of query gradients start at zero, where TASK_KEY adds to them */
    TASK_QUERY_ROUND, /* and become query gradients */
    TASK_BIAS_ROWS,   /* of a bias per query: of the packet's keys */
    TASK_KEY,         /* the partial gradients of the packet's keys and values, of this rank's rows */
    TASK_BIAS_KEYS,   /* of a bias that is not per query: as for keys */
    TASK_ADD          /* adds partial gradients to those that come round */
};

/* Of the boxes of a task. */
enum task_half { HALF_BOTH, HALF_FIRST, HALF_SECOND };

struct task {
    enum task_kind kind;
    uint32_t step;       /* whose packet it reads */
    uint32_t attended;   /* packets of steps before this one are not read any more, but for the own one */
    bool adds;           /* of TASK_ADD: there are partial gradients */
    enum task_half half; /* of TASK_KEY */
};

/** Writes partial gradients of keys, which only rows that keep a key by position give to. */
static inline bool task_writes_partial(enum task_kind kind)
{
    return kind == TASK_KEY || kind == TASK_BIAS_KEYS;
}

/** Waits for a sum of partial gradients that is still to be made. */
static inline bool task_is_of_sums(enum task_kind kind)
{
    return kind == TASK_ADD || task_writes_partial(kind);
}

struct program {
    struct task *tasks;
    uint64_t count;
};

enum program_kind { PROGRAM_FORWARD, PROGRAM_BACKWARD, PROGRAM_BACKWARD_JOINT };

/** The most tasks of a turn. */
#define PROGRAM_TURN_TASKS 6u

/** A program goes by turns, one for each step; that of backward has one more, of the own keys. */
static inline uint32_t program_turns(uint32_t steps, enum program_kind kind)
{
    return kind == PROGRAM_FORWARD ? steps : steps + 1;
}

/** Writes the tasks of a turn of the layout's rank, in order; returns how many. */
uint32_t program_turn(const struct problem *problem, const struct layout *layout, uint32_t steps, enum program_kind kind, uint32_t turn,
                      struct task tasks[PROGRAM_TURN_TASKS]);

enum vkring_status program_make_forward(uint32_t steps, struct program *out_program);
/**
 * Gradients of keys and values start on the rank after their owner and end with it: the own keys come last, while gradients of all other
 * ranks' rows come home. Query gradients begin with the own keys, while the first packet comes. joint: they come with those of keys, the
 * own ones half before the packets and half after them.
 */
enum vkring_status program_make_backward(const struct problem *problem, const struct layout *layout, uint32_t steps, bool joint,
                                         struct program *out_program);
/** Accepts one that was not made. */
void program_free(struct program *program);

#endif
