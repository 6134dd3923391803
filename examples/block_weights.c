/* SPDX-License-Identifier: MIT */
#include "block_weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of descent (Polyak 1964). */
static const float momentum = 0.9f;

/* Where a part lies in the whole matrix: columns in blocks of so many, of which each rank has its own. */
struct place {
    uint64_t rows, columns;       /* of the part */
    uint64_t first_row, all_rows; /* of the whole */
    uint64_t block, first_column, all_block;
    float size; /* of its elements; 0: all are 1 */
};

static struct place whole(uint64_t rows, uint64_t columns, float size)
{
    return (struct place){.rows = rows, .columns = columns, .all_rows = rows, .block = columns, .all_block = columns, .size = size};
}

static struct place cut_columns(const struct mesh *mesh, uint64_t rows, uint64_t blocks, uint64_t columns)
{
    const uint64_t own = columns / mesh->parts;
    return (struct place){.rows = rows,
                          .columns = blocks * own,
                          .all_rows = rows,
                          .block = own,
                          .first_column = mesh->part * own,
                          .all_block = columns,
                          .size = sqrtf(1 / (float)rows)};
}

static struct place cut_rows(const struct mesh *mesh, uint64_t rows, uint64_t columns)
{
    const uint64_t own = rows / mesh->parts;
    struct place place = whole(own, columns, sqrtf(1 / (float)rows));
    place.first_row = mesh->part * own;
    place.all_rows = rows;
    return place;
}

static struct place place_of(const struct weights *weights, uint64_t index)
{
    const struct mesh *mesh = weights->mesh;
    const uint64_t of_layers = (uint64_t)weights->layers * LAYER_WEIGHTS;
    if (index >= of_layers) {
        const struct place others[OTHER_WEIGHTS] = {whole(BYTES, MODEL, 1), whole(1, MODEL, 0),
                                                    whole(MODEL, BYTES, 1 / sqrtf((float)MODEL))};
        return others[index - of_layers];
    }
    switch ((enum layer_weight)(index % LAYER_WEIGHTS)) {
    case QUERY_KEY_VALUE:
        return cut_columns(mesh, MODEL, 3, MODEL);
    case PROJECTION:
        return cut_rows(mesh, MODEL, MODEL);
    case GATE:
    case UP:
        return cut_columns(mesh, MODEL, 1, HIDDEN);
    case DOWN:
        return cut_rows(mesh, HIDDEN, MODEL);
    default:
        return whole(1, MODEL, 0);
    }
}

/* Of unit variance, by its place: splitmix64 (Steele, Lea & Flood 2014). */
static float random_number(uint64_t index, uint64_t row, uint64_t column)
{
    uint64_t bits = (index << 48) + (row << 24) + column + 0x9e3779b97f4a7c15u;
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
    bits ^= bits >> 31;
    return ((float)(bits >> 40) / 8388608.0f - 1) * 1.7320508f;
}

static void fill(const struct place *place, uint64_t index, float *value)
{
    for (uint64_t i = 0; i < place->rows; i++)
        for (uint64_t j = 0; j < place->columns; j++) {
            const uint64_t column = j / place->block * place->all_block + place->first_column + j % place->block;
            const float number = random_number(index, place->first_row + i, column);
            value[i * place->columns + j] = place->size > 0 ? place->size * number : 1;
        }
}

static uint64_t elements_of(const struct weight *weight)
{
    return weight->rows * weight->columns;
}

static bool create(const struct weights *weights, uint64_t index)
{
    const struct place place = place_of(weights, index);
    struct weight *weight = &weights->all[index];
    const uint64_t elements = place.rows * place.columns, bytes = elements * sizeof(float);
    *weight = (struct weight){.rows = place.rows, .columns = place.columns};
    weight->value = calloc(elements, sizeof(float));
    weight->speed = calloc(elements, sizeof(float));
    weight->gradient = calloc(elements, sizeof(float));
    if (!weight->value || !weight->speed || !weight->gradient)
        return false;
    fill(&place, index, weight->value);
    const bool failed = vkring_buffer_create(weights->mesh->device, bytes, &weight->values) ||
                        vkring_buffer_create(weights->mesh->device, bytes, &weight->gradients) ||
                        vkring_buffer_upload(weight->values, 0, weight->value, bytes);
    weights->summed[index] = (struct vkring_elements){.buffer = weight->gradients, .count = elements};
    return !failed;
}

bool weights_create(struct weights *weights, const struct mesh *mesh, uint32_t layers)
{
    const uint64_t count = (uint64_t)layers * LAYER_WEIGHTS + OTHER_WEIGHTS;
    *weights = (struct weights){.mesh = mesh, .layers = layers};
    weights->all = calloc(count, sizeof(*weights->all));
    weights->summed = calloc(count, sizeof(*weights->summed));
    for (; weights->all && weights->summed && weights->count < count; weights->count++)
        if (!create(weights, weights->count))
            return false;
    return weights->count == count;
}

void weights_destroy(struct weights *weights)
{
    for (uint64_t i = 0; weights->all && i < (uint64_t)weights->layers * LAYER_WEIGHTS + OTHER_WEIGHTS; i++) {
        struct weight *weight = &weights->all[i];
        vkring_buffer_destroy(&weight->values);
        vkring_buffer_destroy(&weight->gradients);
        free(weight->value);
        free(weight->speed);
        free(weight->gradient);
    }
    free(weights->all);
    free(weights->summed);
    *weights = (struct weights){0};
}

struct weight *weight_of_layer(const struct weights *weights, uint32_t layer, enum layer_weight which)
{
    return &weights->all[(uint64_t)layer * LAYER_WEIGHTS + which];
}

struct weight *weight_of_none(const struct weights *weights, int which)
{
    return &weights->all[(uint64_t)weights->layers * LAYER_WEIGHTS + (uint64_t)which];
}

struct vkring_matrix weight_matrix(const struct weight *weight)
{
    return (struct vkring_matrix){.buffer = weight->values};
}

struct vkring_matrix weight_gradient_matrix(const struct weight *weight)
{
    return (struct vkring_matrix){.buffer = weight->gradients};
}

/* Gains and the embedding: what is not multiplied on the device. */
static bool is_on_host(const struct weights *weights, uint64_t index)
{
    const uint64_t of_layers = (uint64_t)weights->layers * LAYER_WEIGHTS;
    if (index >= of_layers)
        return index - of_layers != LOGITS;
    return index % LAYER_WEIGHTS == ATTENTION_GAIN || index % LAYER_WEIGHTS == HIDDEN_GAIN;
}

void weights_clear_gradients(struct weights *weights)
{
    for (uint64_t i = 0; i < weights->count; i++)
        memset(weights->all[i].gradient, 0, elements_of(&weights->all[i]) * sizeof(float));
}

static bool upload_gradients(const struct weights *weights)
{
    for (uint64_t i = 0; i < weights->count; i++) {
        const struct weight *weight = &weights->all[i];
        if (is_on_host(weights, i) && vkring_buffer_upload(weight->gradients, 0, weight->gradient, elements_of(weight) * sizeof(float)))
            return false;
    }
    return true;
}

bool weights_sum_gradients(struct weights *weights)
{
    bool good = upload_gradients(weights) && !vkring_buffers_sum(weights->mesh->sequence, weights->count, weights->summed, 0);
    for (uint64_t i = 0; good && i < weights->count; i++)
        good =
            !vkring_buffer_download(weights->all[i].gradients, 0, weights->all[i].gradient, elements_of(&weights->all[i]) * sizeof(float));
    return good;
}

static bool add(struct weight *weight, float factor, const float *change)
{
    for (uint64_t i = 0; i < elements_of(weight); i++)
        weight->value[i] += factor * change[i];
    return !vkring_buffer_upload(weight->values, 0, weight->value, elements_of(weight) * sizeof(float));
}

bool weights_descend(struct weights *weights, float rate)
{
    for (uint64_t i = 0; i < weights->count; i++) {
        struct weight *weight = &weights->all[i];
        for (uint64_t j = 0; j < elements_of(weight); j++)
            weight->speed[j] = momentum * weight->speed[j] - rate * weight->gradient[j];
        if (!add(weight, 1, weight->speed))
            return false;
    }
    return true;
}

bool weight_move(const struct weights *weights, uint64_t index, double distance)
{
    return add(&weights->all[index], (float)distance, weights->all[index].gradient);
}

double weight_slope(const struct weights *weights, uint64_t index)
{
    const struct mesh *mesh = weights->mesh;
    const struct weight *weight = &weights->all[index];
    const bool is_cut = index < (uint64_t)weights->layers * LAYER_WEIGHTS && !is_on_host(weights, index);
    double squares = 0;
    for (uint64_t i = 0; i < elements_of(weight); i++)
        squares += (double)weight->gradient[i] * (double)weight->gradient[i];
    return sqrt(group_sum(mesh->group, squares) / (is_cut ? mesh->group->size / mesh->parts : mesh->group->size));
}

const char *weight_name(const struct weights *weights, uint64_t index)
{
    static const char *const of_layer[LAYER_WEIGHTS] = {
        "attention gain", "queries, keys, values", "projection", "hidden gain", "gate", "up", "down"};
    static const char *const others[OTHER_WEIGHTS] = {"embedding", "last gain", "logits"};
    const uint64_t of_layers = (uint64_t)weights->layers * LAYER_WEIGHTS;
    return index < of_layers ? of_layer[index % LAYER_WEIGHTS] : others[index - of_layers];
}
