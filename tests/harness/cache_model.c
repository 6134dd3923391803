/* SPDX-License-Identifier: MIT */
#include "cache_model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ref/random_input.h>

#include "dice.h"

static uint64_t dim_of(const struct cache_model *model, enum cache_side side)
{
    const struct vkring_plan_params *p = &model->params.attention;
    return side == CACHE_KEYS || p->value_dim == 0 ? p->head_dim : p->value_dim;
}

static uint64_t heads_of(const struct cache_model *model)
{
    const struct vkring_plan_params *p = &model->params.attention;
    return p->kv_heads ? p->kv_heads : p->heads;
}

/* Of a sequence: also those of a call that is refused. */
static uint64_t room_of(const struct cache_model *model)
{
    return model->params.attention.kv_len + 2 * model->params.attention.q_len;
}

bool cache_model_create(const struct vkring_cache_params *params, uint64_t seed, struct cache_model *out_model)
{
    struct cache_model model = {.params = *params, .seed = seed};
    const struct vkring_plan_params *p = &params->attention;
    bool created = (model.lengths = calloc(p->batch + 1, sizeof(uint64_t))) != NULL;
    for (enum cache_side side = 0; side < CACHE_SIDES; side++) {
        model.dims[side] = heads_of(&model) * dim_of(&model, side);
        model.rows[side] = calloc(p->batch * room_of(&model) * model.dims[side] + 1, sizeof(float));
        created = created && model.rows[side];
    }
    model.ids = calloc(p->batch * room_of(&model) + 1, sizeof(*model.ids));
    *out_model = model;
    return created && model.ids;
}

void cache_model_destroy(struct cache_model *model)
{
    for (enum cache_side side = 0; side < CACHE_SIDES; side++)
        free(model->rows[side]);
    free(model->ids);
    free(model->lengths);
    *model = (struct cache_model){0};
}

float *cache_model_row(const struct cache_model *model, enum cache_side side, uint64_t sequence, uint64_t position)
{
    return model->rows[side] + (sequence * room_of(model) + position) * model->dims[side];
}

int32_t *cache_model_ids(const struct cache_model *model, uint64_t sequence, uint64_t position)
{
    return model->ids + sequence * room_of(model) + position;
}

/* Runs of a few lengths, of which some come back, with strays among them. */
static void draw_ids(struct cache_model *model, uint64_t sequence, uint64_t rows)
{
    struct dice dice = {.seed = model->seed, .thrown = 0};
    for (uint64_t position = model->lengths[sequence]; position < model->lengths[sequence] + rows; position++)
        *cache_model_ids(model, sequence, position) =
            throw_dice(&dice, 9) == 0 ? -5 : (int32_t)((position + sequence) / (position < 40 ? 13 : 40) % 5) - 2;
}

void cache_model_draw(struct cache_model *model, const uint64_t *rows)
{
    for (uint64_t sequence = 0; sequence < model->params.attention.batch; sequence++)
        draw_ids(model, sequence, rows[sequence]);
    const enum vkring_type type = model->params.attention.type;
    for (uint64_t sequence = 0; sequence < model->params.attention.batch; sequence++)
        for (enum cache_side side = 0; side < CACHE_SIDES; side++) {
            const uint64_t count = rows[sequence] * model->dims[side];
            float *to = cache_model_row(model, side, sequence, model->lengths[sequence]);
            void *rounded = malloc(count * vkring_type_bytes(type) + 1);
            random_fill(model->seed++, RANDOM_HEAVY_TAIL, 1, 0, count, to);
            vkring_convert_from_f32(type, to, count, rounded);
            vkring_convert_to_f32(type, rounded, count, to);
            free(rounded);
        }
}

void cache_model_keep(struct cache_model *model, const uint64_t *rows)
{
    for (uint64_t sequence = 0; sequence < model->params.attention.batch; sequence++)
        model->lengths[sequence] += rows[sequence];
}

static bool place_rows(const struct cache_model *model, vkring_device *device, enum cache_side side, const uint64_t *before,
                       const uint64_t *rows, uint64_t padding, struct vkring_tensor *out_tensor)
{
    const enum vkring_type type = model->params.attention.type;
    const uint64_t element_bytes = vkring_type_bytes(type), heads = heads_of(model), dim = dim_of(model, side);
    const uint64_t head_stride = dim + padding, row_stride = heads * head_stride + padding;
    uint64_t total = 0, row = 0;
    for (uint64_t sequence = 0; sequence < model->params.attention.batch; sequence++)
        total += rows[sequence];
    const uint64_t bytes = (padding + total * row_stride) * element_bytes;
    unsigned char *image = calloc(bytes + 1, 1);
    for (uint64_t sequence = 0; sequence < model->params.attention.batch; sequence++)
        for (uint64_t i = 0; i < rows[sequence]; i++, row++) {
            const float *from = cache_model_row(model, side, sequence, model->lengths[sequence] + before[sequence] + i);
            for (uint64_t head = 0; head < heads; head++)
                vkring_convert_from_f32(type, from + head * dim, dim,
                                        image + (padding + row * row_stride + head * head_stride) * element_bytes);
        }
    *out_tensor = (struct vkring_tensor){.offset_bytes = padding * element_bytes};
    if (padding) {
        out_tensor->sequence_stride = row_stride;
        out_tensor->head_stride = head_stride;
    }
    const bool placed = vkring_buffer_create(device, bytes, &out_tensor->buffer) == VKRING_OK &&
                        vkring_buffer_upload(out_tensor->buffer, 0, image, bytes) == VKRING_OK;
    free(image);
    return placed;
}

static bool place_ids(const struct cache_model *model, vkring_device *device, const uint64_t *before, const uint64_t *rows,
                      struct vkring_tensor *out_tensor)
{
    uint64_t total = 0;
    for (uint64_t sequence = 0; sequence < model->params.attention.batch; sequence++)
        total += rows[sequence];
    const uint64_t bytes = (1 + total) * sizeof(int32_t);
    int32_t *ids = calloc(1 + total, sizeof(*ids)), *to = ids + 1;
    for (uint64_t sequence = 0; sequence < model->params.attention.batch; to += rows[sequence++])
        memcpy(to, cache_model_ids(model, sequence, model->lengths[sequence] + before[sequence]), rows[sequence] * sizeof(*ids));
    *out_tensor = (struct vkring_tensor){.offset_bytes = sizeof(*ids)};
    const bool placed = vkring_buffer_create(device, bytes, &out_tensor->buffer) == VKRING_OK &&
                        vkring_buffer_upload(out_tensor->buffer, 0, ids, bytes) == VKRING_OK;
    free(ids);
    return placed;
}

bool cache_model_place(const struct cache_model *model, vkring_device *device, const uint64_t *before, const uint64_t *rows,
                       uint64_t padding, struct vkring_cache_append_io *out_io)
{
    *out_io = (struct vkring_cache_append_io){.rows = rows};
    bool placed = place_rows(model, device, CACHE_KEYS, before, rows, padding, &out_io->key);
    placed = place_rows(model, device, CACHE_VALUES, before, rows, padding, &out_io->value) && placed;
    if (model->params.attention.segment_ids)
        placed = place_ids(model, device, before, rows, &out_io->segment_ids) && placed;
    return placed;
}

void cache_model_clear(struct vkring_cache_append_io *io)
{
    vkring_buffer_destroy(&io->key.buffer);
    vkring_buffer_destroy(&io->value.buffer);
    vkring_buffer_destroy(&io->segment_ids.buffer);
}

/* A head as it is stored. */
struct stored_head {
    const unsigned char *bytes;
    float scale; /* of integers */
};

static bool is_number_right(const struct cache_model *model, const struct stored_head *stored, const float *wanted, uint64_t dim,
                            uint64_t i)
{
    const enum vkring_type type = model->params.attention.type;
    unsigned char encoded[4];
    if (model->params.storage == VKRING_CACHE_AS_TYPE) {
        vkring_convert_from_f32(type, &wanted[i], 1, encoded);
        return memcmp(encoded, stored->bytes + i * vkring_type_bytes(type), vkring_type_bytes(type)) == 0;
    }
    float largest = 0;
    for (uint64_t j = 0; j < dim; j++)
        largest = fmaxf(largest, fabsf(wanted[j]));
    const int integer = (int8_t)stored->bytes[i];
    if (largest == 0)
        return integer == 0 && stored->scale == 0;
    const double nearest = (double)wanted[i] * 127 / (double)largest;
    return fabs((double)stored->scale * 127 / (double)largest - 1) < 1e-6 && fabs(nearest - integer) < 0.5001 && integer >= -127;
}

/* slots: of a head. */
static bool is_row_right(const struct cache_model *model, enum cache_side side, const unsigned char *bytes, const float *scales,
                         uint64_t slots, const float *wanted)
{
    const uint64_t heads = heads_of(model), dim = dim_of(model, side);
    const uint64_t row_bytes = shard_row_bytes(model->params.attention.type, model->params.storage, dim);
    bool right = true;
    for (uint64_t head = 0; head < heads; head++) {
        const struct stored_head stored = {bytes + head * slots * row_bytes, scales ? scales[head * slots] : 0};
        for (uint64_t i = 0; i < dim; i++)
            right = right && is_number_right(model, &stored, wanted + head * dim, dim, i);
        for (uint64_t i = dim; model->params.storage == VKRING_CACHE_INT8 && i < row_bytes; i++)
            right = right && stored.bytes[i] == 0;
    }
    return right;
}

static bool is_side_right(const struct cache_model *model, const vkring_cache *cache, enum cache_side side)
{
    const struct shard *shard = side == CACHE_KEYS ? &cache->key : &cache->value;
    unsigned char *bytes = malloc(shard->elements->size_bytes + 1);
    float *scales = shard->scales->size_bytes ? malloc(shard->scales->size_bytes) : NULL;
    bool right = vkring_buffer_download(shard->elements, 0, bytes, shard->elements->size_bytes) == VKRING_OK &&
                 vkring_buffer_download(shard->scales, 0, scales, shard->scales->size_bytes) == VKRING_OK;
    for (uint64_t sequence = 0; sequence < model->params.attention.batch; sequence++)
        for (uint64_t position = cache->rank; right && position < model->lengths[sequence]; position += cache->ranks) {
            const uint64_t row = sequence * heads_of(model) * cache->slots + position / cache->ranks;
            right = is_row_right(model, side, bytes + row * shard->row_bytes, scales ? scales + row : NULL, cache->slots,
                                 cache_model_row(model, side, sequence, position));
            if (!right)
                fprintf(stderr, "rank %u: %s at position %" PRIu64 " of sequence %" PRIu64 " is wrong\n", cache->rank,
                        side == CACHE_KEYS ? "the key" : "the value", position, sequence);
        }
    free(bytes);
    free(scales);
    return right;
}

static bool are_ids_right(const struct cache_model *model, const vkring_cache *cache)
{
    const uint64_t bytes = cache->ids->size_bytes;
    int32_t *ids = malloc(bytes + 1);
    bool right = vkring_buffer_download(cache->ids, 0, ids, bytes) == VKRING_OK;
    for (uint64_t sequence = 0; bytes > 0 && sequence < model->params.attention.batch; sequence++)
        for (uint64_t position = cache->rank; right && position < model->lengths[sequence]; position += cache->ranks) {
            right = ids[sequence * cache->slots + position / cache->ranks] == *cache_model_ids(model, sequence, position);
            if (!right)
                fprintf(stderr, "rank %u: the id at position %" PRIu64 " of sequence %" PRIu64 " is wrong\n", cache->rank, position,
                        sequence);
        }
    free(ids);
    return right && (bytes > 0) == model->params.attention.segment_ids;
}

bool cache_model_matches(const struct cache_model *model, const vkring_cache *cache)
{
    struct vkring_cache_info info;
    uint64_t own_rows = 0;
    vkring_cache_get_info(cache, &info);
    for (uint64_t sequence = 0; sequence < model->params.attention.batch; sequence++) {
        for (uint64_t position = cache->rank; position < model->lengths[sequence]; position += cache->ranks)
            own_rows++;
        if (info.lengths[sequence] != model->lengths[sequence]) {
            fprintf(stderr, "rank %u: sequence %" PRIu64 " has %" PRIu64 " rows, not %" PRIu64 "\n", cache->rank, sequence,
                    info.lengths[sequence], model->lengths[sequence]);
            return false;
        }
    }
    if (info.own_rows != own_rows) {
        fprintf(stderr, "rank %u has %" PRIu64 " rows, not %" PRIu64 "\n", cache->rank, info.own_rows, own_rows);
        return false;
    }
    return is_side_right(model, cache, CACHE_KEYS) && is_side_right(model, cache, CACHE_VALUES) && are_ids_right(model, cache);
}
