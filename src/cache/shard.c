/* SPDX-License-Identifier: MIT */
#include "shard.h"

#include "../base/checked.h"

uint64_t shard_row_bytes(enum vkring_type type, enum vkring_cache_storage storage, uint64_t dim)
{
    return storage == VKRING_CACHE_INT8 ? divide_up(dim, sizeof(uint32_t)) * sizeof(uint32_t) : dim * vkring_type_bytes(type);
}

/* Lengths were checked to make tensors of less than 2^64 bytes, whatever the type. */
static struct shard describe(const struct problem *problem, enum vkring_cache_storage storage, uint64_t slots, uint64_t dim)
{
    const uint64_t row_bytes = shard_row_bytes(problem->type, storage, dim);
    return (struct shard){
        .row_bytes = row_bytes,
        .head_bytes = slots * row_bytes,
        .sequence_bytes = problem->kv_heads * slots * row_bytes,
        .slots = slots,
    };
}

static uint64_t scales_bytes(const struct problem *problem, enum vkring_cache_storage storage, uint64_t slots)
{
    return storage == VKRING_CACHE_INT8 ? problem->batch * slots * problem->kv_heads * sizeof(float) : 0;
}

enum vkring_status shard_measure(vkring_device *device, const struct problem *problem, enum vkring_cache_storage storage, uint64_t slots,
                                 uint64_t dim, uint64_t *out_bytes)
{
    enum vkring_status status;
    const struct shard shard = describe(problem, storage, slots, dim);
    uint64_t elements, scales;
    bool counts_as_host;
    TRY(vk_buffer_measure(device, VK_MEMORY_DEVICE, problem->batch * shard.sequence_bytes, &elements, &counts_as_host), fail);
    TRY(vk_buffer_measure(device, VK_MEMORY_DEVICE, scales_bytes(problem, storage, slots), &scales, &counts_as_host), fail);
    *out_bytes = elements + scales;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status shard_create(vkring_device *device, const struct problem *problem, enum vkring_cache_storage storage, uint64_t slots,
                                uint64_t dim, struct shard *out_shard)
{
    enum vkring_status status;
    struct shard shard = describe(problem, storage, slots, dim);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, problem->batch * shard.sequence_bytes, &shard.elements), fail);
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, scales_bytes(problem, storage, slots), &shard.scales), fail);
    *out_shard = shard;
    return VKRING_OK;
fail:
    shard_destroy(&shard);
    return status;
}

void shard_destroy(struct shard *shard)
{
    vkring_buffer_destroy(&shard->elements);
    vkring_buffer_destroy(&shard->scales);
}
