/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <stdlib.h>

#include "schedule.h"

static void add(struct program *turn, struct task task)
{
    turn->tasks[turn->count++] = task;
}

static void add_of_queries(struct program *program, const struct problem *problem, uint32_t step, bool joint)
{
    if (!joint)
        add(program, (struct task){.kind = TASK_QUERY, .step = step, .attended = step});
    if (problem->bias.present && problem->bias.per_query)
        add(program, (struct task){.kind = TASK_BIAS_ROWS, .step = step, .attended = step});
}

/* Without a ring nothing else adds to them, and all keys have a gradient. */
static void add_of_keys(struct program *program, const struct problem *problem, const struct layout *layout, uint32_t step,
                        uint32_t attended, uint32_t steps, enum task_half half)
{
    const bool any = steps == 1 || schedule_keeps_any(problem, layout, layout->rank, step);
    if (any)
        add(program, (struct task){.kind = TASK_KEY, .step = step, .attended = attended, .half = half});
    if (any && problem->bias.present && !problem->bias.per_query)
        add(program, (struct task){.kind = TASK_BIAS_KEYS, .step = step, .attended = attended});
    add(program, (struct task){.kind = TASK_ADD, .step = step, .attended = attended, .adds = any});
}

static void add_of_start(struct program *program, const struct problem *problem, const struct layout *layout, uint32_t steps, bool joint)
{
    add(program, (struct task){.kind = TASK_ROW_STATS});
    if (problem->sinks)
        add(program, (struct task){.kind = TASK_SINKS});
    if (problem->bias.present && problem->bias.per_query && steps < layout->ranks)
        add(program, (struct task){.kind = TASK_BIAS_CLEAR});
    if (joint)
        add(program, (struct task){.kind = TASK_QUERY_CLEAR});
    add_of_queries(program, problem, 0, joint);
    if (joint && steps > 1 && schedule_keeps_any(problem, layout, layout->rank, 0))
        add(program, (struct task){.kind = TASK_KEY, .half = HALF_FIRST});
}

static void add_of_end(struct program *program, const struct problem *problem, const struct layout *layout, uint32_t steps, bool joint)
{
    add_of_keys(program, problem, layout, 0, steps, steps, joint && steps > 1 ? HALF_SECOND : HALF_BOTH);
    if (joint && problem->type != VKRING_TYPE_F32)
        add(program, (struct task){.kind = TASK_QUERY_ROUND, .attended = steps});
}

uint32_t program_turn(const struct problem *problem, const struct layout *layout, uint32_t steps, enum program_kind kind, uint32_t turn,
                      struct task tasks[PROGRAM_TURN_TASKS])
{
    const bool joint = kind == PROGRAM_BACKWARD_JOINT;
    struct program program = {.tasks = tasks};
    if (kind == PROGRAM_FORWARD) {
        add(&program, (struct task){.kind = TASK_FORWARD, .step = turn, .attended = turn});
    } else if (turn == 0) {
        add_of_start(&program, problem, layout, steps, joint);
    } else if (turn < steps) {
        add_of_queries(&program, problem, turn, joint);
        add_of_keys(&program, problem, layout, turn, turn, steps, HALF_BOTH);
    } else {
        add_of_end(&program, problem, layout, steps, joint);
    }
    return (uint32_t)program.count;
}

static enum vkring_status make(const struct problem *problem, const struct layout *layout, uint32_t steps, enum program_kind kind,
                               struct program *out_program)
{
    const uint32_t turns = program_turns(steps, kind);
    struct program program = {.tasks = calloc((size_t)turns * PROGRAM_TURN_TASKS, sizeof(*program.tasks))};
    if (!program.tasks)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for the tasks of %u steps", steps);
    for (uint32_t turn = 0; turn < turns; turn++)
        program.count += program_turn(problem, layout, steps, kind, turn, program.tasks + program.count);
    *out_program = program;
    return VKRING_OK;
}

enum vkring_status program_make_forward(uint32_t steps, struct program *out_program)
{
    return make(NULL, NULL, steps, PROGRAM_FORWARD, out_program);
}

enum vkring_status program_make_backward(const struct problem *problem, const struct layout *layout, uint32_t steps, bool joint,
                                         struct program *out_program)
{
    return make(problem, layout, steps, joint ? PROGRAM_BACKWARD_JOINT : PROGRAM_BACKWARD, out_program);
}

void program_free(struct program *program)
{
    free(program->tasks);
    *program = (struct program){0};
}
