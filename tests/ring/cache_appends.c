/* SPDX-License-Identifier: MIT */
#include "cache_appends.h"

#include <string.h>

void add_rows(struct split *split, uint32_t rank, uint64_t sequence, uint64_t rows)
{
    split->before[rank][sequence] = split->total[sequence];
    split->rows[rank][sequence] = rows;
    split->total[sequence] += rows;
}

struct split even_split(uint64_t batch, uint64_t rows)
{
    struct split split = {0};
    for (uint64_t sequence = 0; sequence < batch; sequence++)
        for (uint32_t rank = 0; rank < world_size; rank++)
            add_rows(&split, rank, sequence, rows);
    return split;
}

struct split random_split(struct dice *dice, const struct cache_model *model)
{
    const struct vkring_plan_params *p = &model->params.attention;
    struct split split = {0};
    for (uint64_t sequence = 0; sequence < p->batch; sequence++) {
        const uint64_t room = p->kv_len - model->lengths[sequence], most = room < p->q_len ? room : p->q_len;
        uint64_t left = throw_dice(dice, 3) ? throw_dice(dice, most + 1) : throw_dice(dice, 2) && most;
        for (uint32_t rank = 0; rank < world_size; rank++) {
            const uint64_t rows = rank + 1 == world_size ? left : throw_dice(dice, left + 1);
            add_rows(&split, rank, sequence, rows);
            left -= rows;
        }
    }
    return split;
}

enum vkring_status append_split(vkring_cache *cache, struct cache_model *model, const struct split *split, uint64_t padding)
{
    struct vkring_cache_append_io io;
    enum vkring_status status = VKRING_ERROR_OUT_OF_HOST_MEMORY;
    cache_model_draw(model, split->total);
    if (cache_model_place(model, cache->device, split->before[world_rank], split->rows[world_rank], padding, &io))
        status = vkring_cache_append(cache, &io);
    if (status == VKRING_OK)
        cache_model_keep(model, split->total);
    cache_model_clear(&io);
    return status;
}

bool append_well(vkring_cache *cache, struct cache_model *model, const struct split *split, uint64_t padding)
{
    return world_expect(append_split(cache, model, split, padding) == VKRING_OK, "%s", vkring_last_error()->message);
}

bool open_cache(vkring_device *on, vkring_comm *with, const struct vkring_cache_params *params, vkring_cache **out_cache,
                struct cache_model *out_model)
{
    bool opened = world_expect(cache_model_create(params, 7, out_model), "no memory") &&
                  world_expect(vkring_cache_create(on, with, params, out_cache) == VKRING_OK, "%s", vkring_last_error()->message);
    return world_agrees(opened);
}

void close_cache(vkring_cache **cache, struct cache_model *model)
{
    vkring_cache_destroy(cache);
    cache_model_destroy(model);
}

bool is_refused(enum vkring_status status, enum vkring_status wanted, const char *word)
{
    return world_expect(status == wanted && strstr(vkring_last_error()->message, word), "status %d, not %d: %s", status, wanted,
                        vkring_last_error()->message);
}
