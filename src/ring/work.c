/* SPDX-License-Identifier: MIT */
#include "work.h"

#include "../attention/kernel.h"
#include "gradients.h"

double work_flop(const struct problem *problem, double pairs)
{
    return 2.0 * (double)problem->batch * (double)problem->heads * (double)(problem->head_dim + problem->value_dim) * pairs;
}

/* Shares of backward as its kernels multiply. */
double work_factor(const struct task *task, bool joint)
{
    const double of_query = attention_kernel_products(SPIRV_QUERY_GRADIENT), of_key = attention_kernel_products(SPIRV_KEY_GRADIENT);
    const double backward = BACKWARD_FLOP_FACTOR / (of_query + of_key);
    switch (task->kind) {
    case TASK_FORWARD:
        return 1;
    case TASK_QUERY:
        return backward * of_query;
    case TASK_KEY:
        return (task->half == HALF_BOTH ? 1 : 0.5) * (joint ? BACKWARD_FLOP_FACTOR : backward * of_key);
    case TASK_BIAS_ROWS:
    case TASK_BIAS_KEYS:
        return backward * attention_kernel_products(SPIRV_BIAS_GRADIENT);
    case TASK_ROW_STATS:
    case TASK_SINKS:
    case TASK_BIAS_CLEAR:
    case TASK_QUERY_CLEAR:
    case TASK_QUERY_ROUND:
    case TASK_ADD:
        break;
    }
    return 0;
}

/* Of what comes round, of this rank's part, and of their sum, which stays where it is if there is no part to add. */
static double accesses_of_sum(const struct problem *problem, const struct layout *layout, uint32_t steps, const struct task *task)
{
    const uint32_t step = work_sum_step(steps, task);
    const bool comes_home = task->step == 0, comes = step > 1;
    const struct packet_shape shape = gradient_shape_at(problem, layout, steps, step);
    const double elements = (double)packet_shape_payload(&shape) / sizeof(float);
    return comes_home || !comes || task->adds ? (1 + (comes ? 1 : 0) + (task->adds ? 1 : 0)) * elements : 0;
}

double work_accesses(const struct problem *problem, const struct layout *layout, uint32_t steps, const struct task *task)
{
    const double rows = (double)(problem->batch * problem->heads) * (double)layout_query_rows(layout, layout->rank);
    switch (task->kind) {
    case TASK_ROW_STATS: /* outputs and their gradients */
        return 2 * rows * (double)problem->value_dim;
    case TASK_QUERY_CLEAR:
        return rows * (double)problem->head_dim;
    case TASK_QUERY_ROUND:
        return 2 * rows * (double)problem->head_dim;
    case TASK_ADD:
        return accesses_of_sum(problem, layout, steps, task);
    default:
        return 0;
    }
}

double work_kept_part(const struct problem *problem, const struct kernel_choice *choice)
{
    const struct mask_block whole = {0, problem->q_len, 0, problem->kv_len};
    const double kept = mask_kept_pairs(problem, &whole);
    return kept > 0 ? kept / kernel_choice_pairs(choice, SPIRV_FORWARD, problem, &whole) : 1;
}
