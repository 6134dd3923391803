/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <stdlib.h>

#include "schedule.h"

/* Tasks of a step of backward, and those that are not of a step. */
enum { MOST_OF_STEP = 5, MOST_OF_RUN = 6 };

static enum vkring_status allocate(uint64_t most, struct program *program)
{
    program->tasks = calloc(most, sizeof(*program->tasks));
    if (!program->tasks)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a list of %llu tasks", (unsigned long long)most);
    return VKRING_OK;
}

static void add(struct program *program, struct task task)
{
    program->tasks[program->count++] = task;
}

enum vkring_status program_make_forward(uint32_t steps, struct program *out_program)
{
    enum vkring_status status;
    struct program program = {0};
    TRY(allocate(steps, &program), fail);
    for (uint32_t step = 0; step < steps; step++)
        add(&program, (struct task){.kind = TASK_FORWARD, .step = step, .attended = step});
    *out_program = program;
fail:
    return status;
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

enum vkring_status program_make_backward(const struct problem *problem, const struct layout *layout, uint32_t steps, bool joint,
                                         struct program *out_program)
{
    enum vkring_status status;
    const bool halved = joint && steps > 1;
    struct program program = {0};
    TRY(allocate((uint64_t)MOST_OF_STEP * steps + MOST_OF_RUN, &program), fail);
    add(&program, (struct task){.kind = TASK_ROW_STATS});
    if (problem->sinks)
        add(&program, (struct task){.kind = TASK_SINKS});
    if (problem->bias.present && problem->bias.per_query && steps < layout->ranks)
        add(&program, (struct task){.kind = TASK_BIAS_CLEAR});
    if (joint)
        add(&program, (struct task){.kind = TASK_QUERY_CLEAR});
    add_of_queries(&program, problem, 0, joint);
    if (halved && schedule_keeps_any(problem, layout, layout->rank, 0))
        add(&program, (struct task){.kind = TASK_KEY, .half = HALF_FIRST});
    for (uint32_t step = 1; step < steps; step++) {
        add_of_queries(&program, problem, step, joint);
        add_of_keys(&program, problem, layout, step, step, steps, HALF_BOTH);
    }
    add_of_keys(&program, problem, layout, 0, steps, steps, halved ? HALF_SECOND : HALF_BOTH);
    if (joint && problem->type != VKRING_TYPE_F32)
        add(&program, (struct task){.kind = TASK_QUERY_ROUND, .attended = steps});
    *out_program = program;
fail:
    return status;
}

void program_free(struct program *program)
{
    free(program->tasks);
    *program = (struct program){0};
}
