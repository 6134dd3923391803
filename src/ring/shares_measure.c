/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../base/checked.h"
#include "../base/clock.h"
#include "../vk/memory_home.h"
#include "agree.h"
#include "plan.h"
#include "speed_trial.h"
#include "tensor_bytes.h"
#include "work.h"

#define MEASURE_SECONDS 0.7

/* What a rank tells the others. */
struct account {
    double speed;
    uint64_t most_rows;
};

/* And before that, of its memory. */
struct tenant {
    uint64_t home, taken_bytes;
};

struct measuring {
    vkring_device *device;
    vkring_comm *comm; /* null: one rank */
    const struct vkring_plan_params *params;
    struct problem problem;
    uint32_t rank, ranks;
    struct speed_trial trial; /* not created where there is no work */
    uint64_t *rows;           /* [ranks] */
    struct account *accounts; /* [ranks] */
    struct tenant *tenants;   /* [ranks] */
};

/* Memory ------------------------------------------------------------------------------------------------------------------- */

static struct tenant describe_tenant(const struct measuring *measuring)
{
    struct vkring_memory_use use;
    vkring_device_get_memory_use(measuring->device, &use);
    return (struct tenant){vk_memory_home(measuring->device), use.device_bytes};
}

/* Its part of what the ranks that live off the same memory leave free together. */
static uint64_t free_bytes(const struct measuring *measuring)
{
    const struct tenant *mine = &measuring->tenants[measuring->rank];
    struct vkring_device_info info;
    uint64_t tenants = 0, taken = 0;
    vkring_device_get_info(measuring->device, &info);
    for (uint32_t rank = 0; rank < measuring->ranks; rank++)
        if (measuring->tenants[rank].home == mine->home) {
            tenants++;
            taken += measuring->tenants[rank].taken_bytes;
        }
    return info.memory_bytes > taken ? (info.memory_bytes - taken) / tenants : 0;
}

/* This rank has so many rows, and the others have the rest in equal parts. */
static void deal(struct measuring *measuring, uint64_t rows)
{
    const uint64_t rest = measuring->params->q_len - rows, others = max_u64(measuring->ranks - 1, 1);
    uint64_t other = 0;
    for (uint32_t rank = 0; rank < measuring->ranks; rank++) {
        measuring->rows[rank] = rows;
        if (rank != measuring->rank)
            measuring->rows[rank] = rest / others + (other++ < rest % others ? 1 : 0);
    }
}

static bool fits(struct measuring *measuring, uint64_t rows, uint64_t bytes)
{
    struct vkring_plan_params params = *measuring->params;
    struct vkring_plan_memory memory;
    const uint64_t tensors = tensor_bytes(&measuring->problem, rows, divide_up(params.kv_len, measuring->ranks));
    deal(measuring, rows);
    params.query_rows_of_rank = measuring->rows;
    params.key_rows_of_rank = NULL;
    return tensors <= bytes && vkring_plan_measure(measuring->device, measuring->comm, &params, &memory) == VKRING_OK &&
           memory.device_bytes <= bytes - tensors;
}

static uint64_t most_rows(struct measuring *measuring)
{
    const uint64_t bytes = free_bytes(measuring), all = measuring->params->q_len;
    uint64_t fit = 0, too_many = all;
    if (measuring->ranks == 1 || fits(measuring, all, bytes))
        return all;
    while (too_many - fit > 1) {
        const uint64_t middle = fit + (too_many - fit) / 2;
        if (fits(measuring, middle, bytes))
            fit = middle;
        else
            too_many = middle;
    }
    return fit;
}

/* Speed ---------------------------------------------------------------------------------------------------------------------- */

static bool has_work(const struct measuring *measuring)
{
    const struct vkring_plan_params *params = measuring->params;
    return params->batch > 0 && params->q_len > 0 && params->kv_len > 0;
}

static enum vkring_status prepare(struct measuring *measuring)
{
    enum vkring_status status;
    const struct vkring_plan_params *params = measuring->params;
    TRY(problem_resolve(params, &measuring->problem), fail);
    measuring->rows = calloc(measuring->ranks, sizeof(*measuring->rows));
    measuring->accounts = calloc(measuring->ranks, sizeof(*measuring->accounts));
    measuring->tenants = calloc(measuring->ranks, sizeof(*measuring->tenants));
    if (!measuring->rows || !measuring->accounts || !measuring->tenants)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for the speeds of %u ranks", measuring->ranks);
    if (has_work(measuring))
        TRY(speed_trial_create(measuring->device, params, NULL, divide_up(params->q_len, measuring->ranks),
                               divide_up(params->kv_len, measuring->ranks), &measuring->trial),
            fail);
    return VKRING_OK;
fail:
    return status;
}

/*
 * All ranks do this at the same time, for about as long. By what kernels go through in the small piece, whose rows may be shorter; of that,
 * in the problem, what is kept is what rows cost.
 */
static enum vkring_status time_device(struct measuring *measuring, double *out_speed)
{
    enum vkring_status status = VKRING_OK;
    const double begin = clock_seconds();
    double flop = 0, seconds = 0;
    do
        status = speed_trial_run(&measuring->trial, &flop, &seconds);
    while (status == VKRING_OK && clock_seconds() - begin < MEASURE_SECONDS);
    const double kept_part = work_kept_part(&measuring->problem, &measuring->trial.plan->forward.choice);
    *out_speed = flop > 0 ? kept_part * flop / seconds : 1; /* pairs that are all masked cost no rank anything */
    return status;
}

static enum vkring_status measure(struct measuring *measuring, struct account *out_account)
{
    enum vkring_status status = VKRING_OK;
    out_account->speed = 1;
    if (measuring->trial.plan)
        status = time_device(measuring, &out_account->speed);
    speed_trial_destroy(&measuring->trial);
    out_account->most_rows = status == VKRING_OK ? most_rows(measuring) : 0;
    return status;
}

/* Together --------------------------------------------------------------------------------------------------------------- */

static enum vkring_status agree(const struct measuring *measuring, enum vkring_status mine, const char *doing)
{
    return measuring->comm ? agree_on_status(measuring->comm, mine, doing, plan_timeout_seconds(measuring->params)) : mine;
}

static enum vkring_status share(const struct measuring *measuring, const void *mine, uint64_t bytes, void *all)
{
    if (measuring->comm)
        return comm_allgather(measuring->comm, mine, bytes, all, plan_timeout_seconds(measuring->params));
    memcpy(all, mine, (size_t)bytes);
    return VKRING_OK;
}

static enum vkring_status cut(struct measuring *measuring, uint64_t *out_rows, double *out_speeds)
{
    enum vkring_status status = VKRING_OK;
    double *speeds = calloc(measuring->ranks, sizeof(*speeds));
    if (!speeds)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for the speeds of %u ranks", measuring->ranks);
    for (uint32_t rank = 0; rank < measuring->ranks; rank++) {
        speeds[rank] = measuring->accounts[rank].speed;
        measuring->rows[rank] = measuring->accounts[rank].most_rows;
    }
    status = vkring_shares_cut(measuring->params, measuring->ranks, speeds, measuring->rows, out_rows);
    for (uint32_t rank = 0; status == VKRING_OK && out_speeds && rank < measuring->ranks; rank++)
        out_speeds[rank] = speeds[rank];
    free(speeds);
    return status;
}

enum vkring_status vkring_shares_measure(vkring_device *device, vkring_comm *comm, const struct vkring_plan_params *params,
                                         uint64_t *out_query_rows_of_rank, double *out_speeds)
{
    enum vkring_status status;
    struct account mine = {0};
    struct measuring measuring = {
        .device = device,
        .comm = comm,
        .params = params,
        .rank = comm ? vkring_comm_rank(comm) : 0,
        .ranks = comm ? vkring_comm_size(comm) : 1,
    };
    const struct tenant tenant = describe_tenant(&measuring);
    if (comm && comm->in_run)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "no device can be measured while a run is under way on the communicator");
    TRY(agree(&measuring, prepare(&measuring), "preparing to measure its speed"), fail);
    TRY(share(&measuring, &tenant, sizeof(tenant), measuring.tenants), fail);
    TRY(agree(&measuring, measure(&measuring, &mine), "measuring its speed"), fail);
    TRY(share(&measuring, &mine, sizeof(mine), measuring.accounts), fail);
    TRY(cut(&measuring, out_query_rows_of_rank, out_speeds), fail);
fail:
    speed_trial_destroy(&measuring.trial);
    free(measuring.rows);
    free(measuring.accounts);
    free(measuring.tenants);
    return status;
}
