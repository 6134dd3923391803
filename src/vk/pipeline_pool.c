/* SPDX-License-Identifier: MIT */
#include "pipeline_pool.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct pooled_pipeline {
    struct vk_pipeline pipeline;
    struct pooled_pipeline *next;
    const uint32_t *code;
    uint32_t users, subgroup_size, constant_count, constants[VK_PIPELINE_MOST_CONSTANTS];
};

static bool is_made_with(const struct pooled_pipeline *pooled, const struct vk_pipeline_params *params)
{
    return pooled->code == params->code && pooled->pipeline.push_bytes == params->push_bytes &&
           pooled->subgroup_size == params->subgroup_size && pooled->constant_count == params->constant_count &&
           memcmp(pooled->constants, params->constants, params->constant_count * sizeof(uint32_t)) == 0;
}

static void push_first(struct pipeline_pool *pool, struct pooled_pipeline *pooled)
{
    pooled->next = pool->first;
    pool->first = pooled;
}

/* Takes what `at` points to out of the list. */
static struct pooled_pipeline *unlink_at(struct pooled_pipeline **at)
{
    struct pooled_pipeline *pooled = *at;
    *at = pooled->next;
    return pooled;
}

/* The list is in the order of last use, latest first. Null if there is none. */
static struct pooled_pipeline *use_existing(struct pipeline_pool *pool, const struct vk_pipeline_params *params)
{
    for (struct pooled_pipeline **at = &pool->first; *at; at = &(*at)->next) {
        if (is_made_with(*at, params)) {
            struct pooled_pipeline *pooled = unlink_at(at);
            push_first(pool, pooled);
            pool->idle -= pooled->users == 0;
            pooled->users++;
            return pooled;
        }
    }
    return NULL;
}

/* Takes out the idle one that was used longest ago; null if no more than `most` are idle. */
static struct pooled_pipeline *take_surplus(struct pipeline_pool *pool, uint32_t most)
{
    struct pooled_pipeline **oldest = NULL;
    if (pool->idle <= most)
        return NULL;
    for (struct pooled_pipeline **at = &pool->first; *at; at = &(*at)->next)
        oldest = (*at)->users == 0 ? at : oldest;
    pool->idle--;
    return unlink_at(oldest);
}

static void destroy(vkring_device *device, struct pooled_pipeline *pooled)
{
    vk_pipeline_destroy(device, &pooled->pipeline);
    free(pooled);
}

static enum vkring_status create(vkring_device *device, const struct vk_pipeline_params *params, struct pooled_pipeline **out_pooled)
{
    enum vkring_status status;
    struct pooled_pipeline *pooled = calloc(1, sizeof(*pooled));
    if (!pooled)
        return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for a pipeline");
    TRY(vk_pipeline_create(device, params, &pooled->pipeline), fail);
    pooled->code = params->code;
    pooled->users = 1;
    pooled->subgroup_size = params->subgroup_size;
    pooled->constant_count = params->constant_count;
    memcpy(pooled->constants, params->constants, params->constant_count * sizeof(uint32_t));
    *out_pooled = pooled;
    return VKRING_OK;
fail:
    free(pooled);
    return status;
}

/* Compiles with the pool unlocked: threads that want other pipelines need not wait. */
enum vkring_status pipeline_pool_acquire(vkring_device *device, const struct vk_pipeline_params *params,
                                         const struct vk_pipeline **out_pipeline)
{
    enum vkring_status status;
    struct pipeline_pool *pool = &device->pipelines;
    struct pooled_pipeline *pooled, *created = NULL;
    pthread_mutex_lock(&pool->mutex);
    pooled = use_existing(pool, params);
    pthread_mutex_unlock(&pool->mutex);
    if (!pooled) {
        TRY(create(device, params, &created), fail);
        pthread_mutex_lock(&pool->mutex);
        pooled = use_existing(pool, params);
        if (!pooled)
            push_first(pool, created);
        pthread_mutex_unlock(&pool->mutex);
    }
    if (created && pooled) /* another thread was faster */
        destroy(device, created);
    *out_pipeline = pooled ? &pooled->pipeline : &created->pipeline;
    return VKRING_OK;
fail:
    return status;
}

void pipeline_pool_release(vkring_device *device, const struct vk_pipeline **pipeline)
{
    struct pipeline_pool *pool;
    struct pooled_pipeline *surplus = NULL;
    if (!*pipeline) /* a plan that could not be made may have no device either */
        return;
    pool = &device->pipelines;
    pthread_mutex_lock(&pool->mutex);
    for (struct pooled_pipeline **at = &pool->first; *at; at = &(*at)->next) {
        if (&(*at)->pipeline == *pipeline) {
            struct pooled_pipeline *pooled = unlink_at(at);
            push_first(pool, pooled);
            pooled->users--;
            pool->idle += pooled->users == 0;
            break;
        }
    }
    surplus = take_surplus(pool, PIPELINE_POOL_MOST_IDLE);
    pthread_mutex_unlock(&pool->mutex);
    if (surplus)
        destroy(device, surplus);
    *pipeline = NULL;
}

void pipeline_pool_trim(vkring_device *device)
{
    struct pipeline_pool *pool = &device->pipelines;
    struct pooled_pipeline *surplus;
    do {
        pthread_mutex_lock(&pool->mutex);
        surplus = take_surplus(pool, 0);
        pthread_mutex_unlock(&pool->mutex);
        if (surplus)
            destroy(device, surplus);
    } while (surplus);
}
