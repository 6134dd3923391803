/* SPDX-License-Identifier: MIT */
#include "speed_trial.h"

#include <math.h>
#include <stdlib.h>

#include "../base/checked.h"
#include "plan.h"

#define FIRST_ROWS 128u
#define MOST_ROWS 8192u
/* So long that what a run costs beside its kernels does not count. */
#define ENOUGH_SECONDS 0.05
/* Each compiles its kernels, which may take seconds. */
#define MOST_ATTEMPTS 3

struct sizes {
    struct vkring_tensor *tensor;
    uint64_t elements, element_bytes;
};

/* Those without elements are not there. */
static void list_tensors(struct speed_trial *trial, struct sizes list[TRIAL_TENSORS])
{
    const struct vkring_plan_params *params = &trial->params;
    const struct vkring_bias_params *bias = &params->bias;
    struct vkring_forward_io *forward = &trial->io.forward;
    const uint64_t element = vkring_type_bytes(params->type), f32 = sizeof(float);
    const uint64_t value_dim = params->value_dim ? params->value_dim : params->head_dim;
    const uint64_t rows = params->q_len * params->heads, keys = params->kv_len * (params->kv_heads ? params->kv_heads : params->heads);
    const uint64_t of_backward = params->backward ? 1 : 0, of_ids = params->segment_ids ? 1 : 0;
    const uint64_t bias_rows = (bias->per_head ? params->heads : 1) * (bias->per_query ? params->q_len : 1);
    const struct sizes all[TRIAL_TENSORS] = {
        {&forward->query, rows * params->head_dim, element},
        {&forward->key, keys * params->head_dim, element},
        {&forward->value, keys * value_dim, element},
        {&forward->output, rows * value_dim, element},
        {&forward->query_segment_ids, of_ids * params->q_len, sizeof(int32_t)},
        {&forward->key_segment_ids, of_ids * params->kv_len, sizeof(int32_t)},
        {&forward->bias, bias->present ? bias_rows * params->kv_len : 0, vkring_type_bytes(bias->type)},
        {&forward->alibi_slopes, params->alibi ? params->heads : 0, f32},
        {&forward->sinks, params->sinks ? params->heads : 0, f32},
        {&forward->lse, of_backward * rows, f32},
        {&forward->lse_residual, of_backward * rows, f32},
        {&forward->output_residual, of_backward * rows * value_dim, element},
        {&trial->io.output_grad, of_backward * rows * value_dim, element},
        {&trial->io.query_grad, of_backward * rows * params->head_dim, element},
        {&trial->io.key_grad, of_backward * keys * params->head_dim, element},
        {&trial->io.value_grad, of_backward * keys * value_dim, element},
    };
    for (int i = 0; i < TRIAL_TENSORS; i++)
        list[i] = all[i];
}

static enum vkring_status make_tensors(vkring_device *device, struct speed_trial *trial)
{
    enum vkring_status status = VKRING_OK;
    struct sizes list[TRIAL_TENSORS];
    list_tensors(trial, list);
    for (int i = 0; i < TRIAL_TENSORS; i++) {
        const uint64_t bytes = list[i].elements * list[i].element_bytes;
        void *zeros = calloc(bytes ? bytes : 1, 1);
        if (!zeros)
            return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for %llu bytes of zeros", (unsigned long long)bytes);
        if (bytes)
            status = vkring_buffer_create(device, bytes, &trial->buffers[i]);
        if (bytes && status == VKRING_OK)
            status = vkring_buffer_upload(trial->buffers[i], 0, zeros, bytes);
        free(zeros);
        if (status != VKRING_OK)
            return status;
        list[i].tensor->buffer = trial->buffers[i];
    }
    return VKRING_OK;
}

enum vkring_status speed_trial_create_of(vkring_device *device, const struct vkring_plan_params *problem,
                                         const struct kernel_choice *choice, uint64_t queries, uint64_t keys, struct speed_trial *out_trial)
{
    enum vkring_status status;
    double flop = 0, seconds = 0;
    struct speed_trial trial = {.params = *problem};
    trial.params.batch = 1;
    trial.params.q_len = queries;
    trial.params.kv_len = keys;
    trial.params.has_query_offset = false;
    trial.params.query_rows_of_rank = trial.params.key_rows_of_rank = NULL;
    TRY(plan_create_alone(device, &trial.params, choice, &trial.plan), fail);
    TRY(make_tensors(device, &trial), fail);
    TRY(speed_trial_run(&trial, &flop, &seconds), fail); /* to warm up */
    *out_trial = trial;
    return VKRING_OK;
fail:
    speed_trial_destroy(&trial);
    return status;
}

/* That should take as long as wanted, rows on both sides, after so many took so long. */
static uint64_t better_rows(uint64_t rows, double seconds, uint64_t most)
{
    const double better = 1.2 * (double)rows * sqrt(ENOUGH_SECONDS / fmax(seconds, 1e-6));
    return better < (double)most ? (uint64_t)better : most;
}

enum vkring_status speed_trial_create(vkring_device *device, const struct vkring_plan_params *problem, const struct kernel_choice *choice,
                                      uint64_t most_queries, uint64_t most_keys, struct speed_trial *out_trial)
{
    enum vkring_status status;
    struct speed_trial trial = {0};
    const uint64_t most = min_u64(max_u64(most_queries, most_keys), MOST_ROWS);
    uint64_t rows = min_u64(FIRST_ROWS, most);
    for (int attempt = 1;; attempt++) {
        double flop = 0, seconds = 0;
        TRY(speed_trial_create_of(device, problem, choice, min_u64(rows, most_queries), min_u64(rows, most_keys), &trial), fail);
        TRY(speed_trial_run(&trial, &flop, &seconds), fail);
        if (seconds >= ENOUGH_SECONDS / 2 || rows == most || attempt == MOST_ATTEMPTS)
            break;
        rows = better_rows(rows, seconds, most);
        speed_trial_destroy(&trial);
    }
    *out_trial = trial;
    return VKRING_OK;
fail:
    speed_trial_destroy(&trial);
    return status;
}

void speed_trial_destroy(struct speed_trial *trial)
{
    vkring_plan_destroy(&trial->plan);
    for (int i = 0; i < TRIAL_TENSORS; i++)
        vkring_buffer_destroy(&trial->buffers[i]);
    *trial = (struct speed_trial){0};
}

enum vkring_status speed_trial_run(struct speed_trial *trial, double *flop, double *seconds)
{
    enum vkring_status status;
    struct vkring_run_stats stats;
    TRY(vkring_forward(trial->plan, &trial->io.forward), fail);
    vkring_plan_get_stats(trial->plan, &stats);
    *flop += stats.computed_flop;
    *seconds += stats.total_seconds;
    if (!trial->params.backward)
        return VKRING_OK;
    TRY(vkring_backward(trial->plan, &trial->io), fail);
    vkring_plan_get_stats(trial->plan, &stats);
    *flop += stats.computed_flop;
    *seconds += stats.total_seconds;
    return VKRING_OK;
fail:
    return status;
}
