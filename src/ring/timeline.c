/* SPDX-License-Identifier: MIT */
/*
 * All ranks go through a turn together, in four parts, each of which needs only times that earlier ones found:
 *
 *     packets    of the turn's step arrive
 *     queries    tasks that read them, up to the first that writes partial gradients; the sum of the turn before, when its turn comes
 *     sums       of gradients arrive from the rank before
 *     keys       tasks that write partial gradients, and the sum that they are added to
 *
 * A time is kept for as many turns as others look back at it.
 */
#include "timeline.h"

#include <math.h>
#include <stdlib.h>

#include "gradients.h"
#include "schedule.h"
#include "staging.h"
#include "work.h"

/* Turns that are looked back at, and this one. */
#define REMEMBERED 4u
/* What a link is reserved for in the near future and past. */
#define RESERVATIONS 4u
/* A packet's first chunk, and the header that closes it. */
#define MESSAGES 2

/* When a link to the next rank is taken. Packets and gradients share it. */
struct wire {
    double begin[RESERVATIONS], end[RESERVATIONS]; /* in order */
    uint32_t count;
    double before; /* nothing is free before this */
};

struct clock {
    double device;                                         /* what was submitted is done */
    double arrived[REMEMBERED];                            /* packet in host memory, and seen */
    double landed[REMEMBERED];                             /* its last byte */
    double readable[REMEMBERED];                           /* by kernels */
    double attended[REMEMBERED];                           /* by the last task that reads it */
    double sum_arrived[REMEMBERED], sum_ready[REMEMBERED]; /* gradients: in the slot; with this rank's part added */
    double own_ready;                                      /* own packet in host memory */
    struct wire wire;                                      /* to the next rank */
    struct task tasks[PROGRAM_TURN_TASKS];                 /* of the turn */
    uint32_t task_count, next_task;
    uint32_t pairs_step;       /* whose pairs are known; VKRING_NONE for none */
    double pairs;              /* as kernels go through them */
    const struct task *adding; /* waits for what it adds to */
    struct task added;         /* that it points to */
    double last_sent;          /* gradients or packets */
};

struct timeline {
    const struct timeline_input *in;
    uint32_t turn;
    struct clock *clocks;             /* [ranks] */
    struct vkring_simulated_turn *at; /* of the turn; null if nobody wants it */
    struct vkring_simulated_result *results;
};

static double max_of(double a, double b)
{
    return a > b ? a : b;
}

static uint32_t slot_of(uint32_t step)
{
    return step % REMEMBERED;
}

static uint32_t ranks_of(const struct timeline *line)
{
    return line->in->layout->ranks;
}

/* The layout as a rank sees it. */
static struct layout seen_by(const struct timeline *line, uint32_t rank)
{
    struct layout layout = *line->in->layout;
    layout.rank = rank;
    return layout;
}

/* Links -------------------------------------------------------------------------------------------------------------------- */

static void forget_first(struct wire *wire)
{
    wire->before = wire->end[0];
    for (uint32_t i = 1; i < wire->count; i++) {
        wire->begin[i - 1] = wire->begin[i];
        wire->end[i - 1] = wire->end[i];
    }
    wire->count--;
}

/* Takes the first time from `from` on at which the link is free for so long; returns its end. */
static double reserve(struct wire *wire, double from, double seconds)
{
    uint32_t place = 0;
    if (wire->count == RESERVATIONS)
        forget_first(wire);
    double begin = max_of(from, wire->before);
    while (place < wire->count && begin + seconds > wire->begin[place])
        begin = max_of(begin, wire->end[place++]);
    for (uint32_t i = wire->count++; i > place; i--) {
        wire->begin[i] = wire->begin[i - 1];
        wire->end[i] = wire->end[i - 1];
    }
    wire->begin[place] = begin;
    wire->end[place] = begin + seconds;
    return begin + seconds;
}

/* Moves bytes from a rank to another, both ready at a time; returns when they are there. */
static double move(struct timeline *line, uint32_t from, uint32_t to, double ready, double bytes)
{
    const struct vkring_simulated_rank *sender = line->in->ranks[from];
    struct clock *clock = &line->clocks[from];
    const double seconds = sender->link_bytes_per_second > 0 ? bytes / sender->link_bytes_per_second : 0;
    const double end = (seconds > 0 ? reserve(&clock->wire, ready, seconds) : ready) + MESSAGES * sender->link_latency_seconds;
    line->results[from].sent_bytes += bytes;
    line->results[to].received_bytes += bytes;
    clock->last_sent = max_of(clock->last_sent, end);
    if (line->at)
        line->at->transfer_seconds = max_of(line->at->transfer_seconds, end - ready);
    return end;
}

/* Bytes ---------------------------------------------------------------------------------------------------------------------- */

static double packet_bytes(const struct timeline *line, uint32_t owner)
{
    const struct packet_shape shape = packet_shape_of(line->in->problem, layout_key_rows(line->in->layout, owner));
    return (double)packet_shape_payload(&shape);
}

/* That come to a rank at a step. */
static double gradient_bytes(const struct timeline *line, uint32_t rank, uint32_t step)
{
    const struct layout layout = seen_by(line, rank);
    const struct packet_shape shape = gradient_shape_at(line->in->problem, &layout, line->in->steps, step);
    return (double)packet_shape_payload(&shape);
}

static double copy_seconds(const struct vkring_simulated_rank *rank, double bytes)
{
    return rank->unified_memory || rank->copy_bytes_per_second == 0 ? 0 : bytes / rank->copy_bytes_per_second;
}

/* Work ----------------------------------------------------------------------------------------------------------------------- */

static double speed_of(const struct timeline_input *in, uint32_t rank)
{
    const struct vkring_simulated_rank *its = in->ranks[rank];
    return in->backward && its->backward_flops > 0 ? its->backward_flops : its->forward_flops;
}

static double pairs_of(struct timeline *line, uint32_t rank, uint32_t step)
{
    struct clock *clock = &line->clocks[rank];
    if (clock->pairs_step != step) {
        clock->pairs = schedule_computed_pairs(line->in->problem, line->in->layout, &line->in->choices[rank], rank, step);
        clock->pairs_step = step;
    }
    return clock->pairs;
}

/* Runs work on the device as soon as it is ready. */
static void compute(struct timeline *line, uint32_t rank, double ready, double seconds)
{
    struct clock *clock = &line->clocks[rank];
    struct vkring_simulated_result *result = &line->results[rank];
    const double wait = max_of(ready - clock->device, 0);
    clock->device += wait + seconds;
    result->exposed_wait_seconds += wait;
    result->compute_seconds += seconds;
}

/* Of elements that the task loads or stores beside its pairs. */
static double access_seconds(const struct timeline *line, uint32_t rank, const struct task *task)
{
    const struct layout layout = seen_by(line, rank);
    const double accesses = work_accesses(line->in->problem, &layout, line->in->steps, task);
    return accesses * line->in->choices[rank].access_flop / speed_of(line->in, rank);
}

static double seconds_of(struct timeline *line, uint32_t rank, const struct task *task)
{
    const double factor = work_factor(task, line->in->choices[rank].keeps_score_grads);
    const double flop = factor > 0 ? factor * work_flop(line->in->problem, pairs_of(line, rank, task->step)) : 0;
    if (factor == 0)
        return access_seconds(line, rank, task);
    return flop > 0 ? flop / speed_of(line->in, rank) + line->in->ranks[rank]->task_seconds : 0;
}

/* When what the task adds to is there. */
static double addend_ready(const struct timeline *line, uint32_t rank, const struct task *task)
{
    const uint32_t step = work_sum_step(line->in->steps, task);
    return step > 1 ? line->clocks[rank].sum_arrived[slot_of(step)] : 0;
}

static void add_now(struct timeline *line, uint32_t rank)
{
    struct clock *clock = &line->clocks[rank];
    const struct task *task = clock->adding;
    const uint32_t step = work_sum_step(line->in->steps, task);
    const bool comes_home = task->step == 0, has_slot = step > 1;
    const double bytes = line->in->steps > 1 ? gradient_bytes(line, rank, step) : 0;
    const double touched = has_slot && !comes_home ? 2 * bytes : bytes; /* read from the slot, and written to it */
    const bool works = comes_home || !has_slot || task->adds;
    const double seconds = works ? copy_seconds(line->in->ranks[rank], touched) : 0;
    compute(line, rank, addend_ready(line, rank, task), seconds + access_seconds(line, rank, task));
    clock->sum_ready[slot_of(step)] = clock->device;
    clock->adding = NULL;
}

/* A task that reads a packet; the sum that waits goes first if it can. */
static void run_task(struct timeline *line, uint32_t rank, const struct task *task)
{
    struct clock *clock = &line->clocks[rank];
    const double ready = task->step > 0 ? clock->readable[slot_of(task->step)] : 0;
    if (clock->adding && addend_ready(line, rank, clock->adding) <= max_of(clock->device, ready))
        add_now(line, rank);
    compute(line, rank, ready, seconds_of(line, rank, task));
    clock->attended[slot_of(task->step)] = clock->device;
}

/* Parts of a turn -------------------------------------------------------------------------------------------------------- */

/* As run_network.c has it: when a rank is free to receive the packet of a step. */
static double slot_free(const struct timeline *line, uint32_t rank, uint32_t step)
{
    const struct layout layout = seen_by(line, rank);
    const struct clock *clock = &line->clocks[rank];
    double ready = clock->arrived[slot_of(step - 1)];
    if (step >= STAGING_SLOTS)
        ready = max_of(ready, line->clocks[layout_next(&layout)].landed[slot_of(step - 1)]);
    if (step > STAGING_SLOTS)
        ready = max_of(ready, line->in->ranks[rank]->unified_memory ? clock->attended[slot_of(step - STAGING_SLOTS)]
                                                                    : clock->readable[slot_of(step - STAGING_SLOTS)]);
    return ready;
}

static void receive_packet(struct timeline *line, uint32_t rank, uint32_t step)
{
    const struct layout layout = seen_by(line, rank);
    const uint32_t before = layout_previous(&layout);
    const struct clock *sender = &line->clocks[before];
    struct clock *clock = &line->clocks[rank];
    const bool unified = line->in->ranks[rank]->unified_memory;
    const double bytes = packet_bytes(line, layout_origin(&layout, step));
    const double sendable = step == 1 ? sender->own_ready : sender->arrived[slot_of(step - 1)];
    double arrived = move(line, before, rank, max_of(sendable, slot_free(line, rank, step)), bytes);
    clock->landed[slot_of(step)] = arrived;
    if (!unified && step > STAGING_SLOTS) /* the device's slot */
        arrived = max_of(arrived, clock->attended[slot_of(step - STAGING_SLOTS)]);
    clock->arrived[slot_of(step)] = arrived;
    clock->readable[slot_of(step)] =
        max_of(arrived, unified ? 0 : clock->readable[slot_of(step - 1)]) + copy_seconds(line->in->ranks[rank], bytes);
}

/* As run_gradients.c has it. */
static void receive_sum(struct timeline *line, uint32_t rank, uint32_t step)
{
    const struct layout layout = seen_by(line, rank);
    const uint32_t from = schedule_gradient_source(line->in->layout, rank, line->in->steps, step);
    struct clock *clock = &line->clocks[rank];
    double ready = max_of(line->clocks[from].sum_ready[slot_of(step - 1)], clock->sum_arrived[slot_of(step - 1)]);
    if (step > GRADIENT_SLOTS)
        ready = max_of(ready, line->clocks[layout_next(&layout)].sum_arrived[slot_of(step - 1)]);
    clock->sum_arrived[slot_of(step)] = move(line, from, rank, ready, gradient_bytes(line, rank, step));
}

static void run_of_queries(struct timeline *line, uint32_t rank)
{
    struct clock *clock = &line->clocks[rank];
    while (clock->next_task < clock->task_count && !task_is_of_sums(clock->tasks[clock->next_task].kind))
        run_task(line, rank, &clock->tasks[clock->next_task++]);
    if (clock->adding)
        add_now(line, rank);
}

static void run_of_keys(struct timeline *line, uint32_t rank)
{
    struct clock *clock = &line->clocks[rank];
    for (; clock->next_task < clock->task_count; clock->next_task++) {
        const struct task *task = &clock->tasks[clock->next_task];
        if (task->kind != TASK_ADD) {
            run_task(line, rank, task);
            continue;
        }
        clock->added = *task;
        clock->adding = &clock->added;
    }
}

/* What a part of the turn took on a rank. */
static void note(struct timeline *line, uint32_t rank, const struct vkring_simulated_result *before)
{
    const struct vkring_simulated_result *now = &line->results[rank];
    struct vkring_simulated_turn *at = line->at;
    if (!at)
        return;
    at->compute_seconds = max_of(at->compute_seconds, now->compute_seconds - before->compute_seconds);
    at->exposed_wait_seconds = max_of(at->exposed_wait_seconds, now->exposed_wait_seconds - before->exposed_wait_seconds);
    at->end_seconds = max_of(at->end_seconds, line->clocks[rank].device);
}

static enum program_kind kind_of(const struct timeline_input *in, uint32_t rank)
{
    if (!in->backward)
        return PROGRAM_FORWARD;
    return in->choices[rank].keeps_score_grads ? PROGRAM_BACKWARD_JOINT : PROGRAM_BACKWARD;
}

static void begin_turn(struct timeline *line, uint32_t rank)
{
    const struct timeline_input *in = line->in;
    const struct layout layout = seen_by(line, rank);
    struct clock *clock = &line->clocks[rank];
    clock->next_task = 0;
    clock->task_count = program_turn(in->problem, &layout, in->steps, kind_of(in, rank), line->turn, clock->tasks);
}

static void run_turn(struct timeline *line, struct vkring_simulated_result *before)
{
    const uint32_t ranks = ranks_of(line), turn = line->turn;
    const bool has_packet = turn > 0 && turn < line->in->steps, has_sum = line->in->backward && line->in->steps > 1 && turn > 1;
    for (uint32_t rank = 0; has_packet && rank < ranks; rank++)
        receive_packet(line, rank, turn);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        before[rank] = line->results[rank];
        begin_turn(line, rank);
        run_of_queries(line, rank);
    }
    for (uint32_t rank = 0; has_sum && rank < ranks; rank++)
        receive_sum(line, rank, turn);
    for (uint32_t rank = 0; rank < ranks; rank++) {
        run_of_keys(line, rank);
        note(line, rank, &before[rank]);
    }
}

/* The own packet, copied to host memory for the network: the first work of the device. */
static void begin_run(struct timeline *line)
{
    for (uint32_t rank = 0; rank < ranks_of(line); rank++) {
        struct clock *clock = &line->clocks[rank];
        clock->pairs_step = VKRING_NONE;
        if (line->in->steps > 1)
            clock->device = copy_seconds(line->in->ranks[rank], packet_bytes(line, rank));
        clock->own_ready = clock->device;
    }
}

static void end_run(struct timeline *line, uint32_t last_step)
{
    for (uint32_t rank = 0; rank < ranks_of(line); rank++) {
        struct clock *clock = &line->clocks[rank];
        if (clock->adding)
            add_now(line, rank);
        line->results[rank].total_seconds = max_of(max_of(clock->device, clock->last_sent), clock->arrived[slot_of(last_step)]);
        if (line->at)
            line->at->end_seconds = max_of(line->at->end_seconds, clock->device);
    }
}

enum vkring_status timeline_run(const struct timeline_input *input, struct vkring_simulated_turn *turns,
                                struct vkring_simulated_result *results)
{
    const uint32_t ranks = input->layout->ranks, count = program_turns(input->steps, kind_of(input, 0));
    struct timeline line = {.in = input, .clocks = calloc(ranks, sizeof(*line.clocks)), .results = results};
    struct vkring_simulated_result *before = calloc(ranks, sizeof(*before));
    enum vkring_status status = VKRING_OK;
    if (!line.clocks || !before)
        status = status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for the clocks of %u ranks", ranks);
    if (status == VKRING_OK)
        begin_run(&line);
    for (; status == VKRING_OK && line.turn < count; line.turn++) {
        line.at = turns ? &turns[line.turn] : NULL;
        if (line.at)
            *line.at = (struct vkring_simulated_turn){0};
        run_turn(&line, before);
    }
    if (status == VKRING_OK)
        end_run(&line, input->steps - 1);
    free(before);
    free(line.clocks);
    return status;
}
