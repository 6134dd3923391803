/* SPDX-License-Identifier: MIT */
#include "cache_inputs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ref/random_input.h>
#include <ref/reference.h>

static void give(struct share *share, uint32_t rank, uint64_t sequence, uint64_t rows)
{
    share->before[rank][sequence] = share->total[sequence];
    share->rows[rank][sequence] += rows;
    share->total[sequence] += rows;
}

struct share random_share(struct dice *dice, const struct cache_model *model, bool decode)
{
    const struct vkring_plan_params *p = &model->params.attention;
    struct share share = {0};
    for (uint64_t sequence = 0; sequence < p->batch; sequence++) {
        const uint64_t room = p->kv_len - model->lengths[sequence], most = room < p->q_len ? room : p->q_len;
        uint64_t left = decode ? most > 0 : throw_dice(dice, most + 1);
        const uint32_t of_one = (uint32_t)throw_dice(dice, world_size);
        for (uint32_t rank = 0; rank < world_size; rank++) {
            const uint64_t rows = decode ? (rank == of_one ? left : 0) : rank + 1 == world_size ? left : throw_dice(dice, left + 1);
            give(&share, rank, sequence, rows);
            left -= decode ? 0 : rows;
        }
    }
    return share;
}

uint64_t value_dim(const struct vkring_plan_params *p)
{
    return p->value_dim ? p->value_dim : p->head_dim;
}

void draw_queries(const struct fixture *f, uint64_t sequence, uint64_t rows, float **out_queries)
{
    const struct vkring_plan_params *p = &f->c->params.attention;
    const uint64_t count = rows * p->heads * p->head_dim;
    void *rounded = malloc(count * sizeof(float) + 1);
    *out_queries = malloc(count * sizeof(float) + 1);
    random_fill(1000 * f->model.lengths[sequence] + sequence, RANDOM_NORMAL, 1, 0, count, *out_queries);
    vkring_convert_from_f32(p->type, *out_queries, count, rounded);
    vkring_convert_to_f32(p->type, rounded, count, *out_queries);
    free(rounded);
}

void draw_ids(const struct fixture *f, uint64_t sequence, uint64_t rows, int32_t **out_ids)
{
    struct dice dice = {.seed = 77 + f->model.lengths[sequence]};
    *out_ids = malloc(rows * sizeof(**out_ids) + 1);
    memcpy(*out_ids, cache_model_ids(&f->model, sequence, f->model.lengths[sequence] - rows), rows * sizeof(**out_ids));
    for (uint64_t row = 0; row < rows; row++)
        if (throw_dice(&dice, 4) == 0)
            (*out_ids)[row] = (int32_t)throw_dice(&dice, 4) - 1;
}

uint64_t own_rows(const struct fixture *f, const struct share *share)
{
    uint64_t own = 0;
    for (uint64_t sequence = 0; sequence < f->c->params.attention.batch; sequence++)
        own += share->rows[world_rank][sequence];
    return own;
}

/* One number for all that it repeats over; every seventh masks. */
static float bias_at(const struct vkring_plan_params *p, uint64_t sequence, uint64_t head, uint64_t query, uint64_t key)
{
    const uint64_t of_sequence = p->bias.per_batch || p->bias.per_query ? sequence : 0, of_head = p->bias.per_head ? head : 0;
    const uint64_t of_query = p->bias.per_query ? query : 0;
    const uint64_t number = of_sequence * 1013 + of_head * 211 + of_query * 37 + key * 5;
    return number % 7 == 3 ? -INFINITY : (float)(number % 29) / 8 - 1;
}

/* [heads or 1][rows][length], rows being the last. */
static float *whole_bias(const struct fixture *f, uint64_t sequence, uint64_t rows)
{
    const struct vkring_plan_params *p = &f->c->params.attention;
    const uint64_t length = f->model.lengths[sequence], heads = p->bias.per_head ? p->heads : 1;
    float *bias = malloc(heads * rows * length * sizeof(float) + 1), *to = bias;
    for (uint64_t head = 0; head < heads; head++)
        for (uint64_t row = 0; row < rows; row++)
            for (uint64_t key = 0; key < length; key++)
                *to++ = bias_at(p, sequence, head, length - rows + row, key);
    return bias;
}

bool place_bias(const struct fixture *f, const struct share *share, struct vkring_tensor *out_tensor)
{
    const struct vkring_plan_params *p = &f->c->params.attention;
    const uint64_t heads = p->bias.per_head ? p->heads : 1, rows = p->bias.per_query ? own_rows(f, share) : 1;
    const uint64_t batch = p->bias.per_batch && !p->bias.per_query ? p->batch : 1, count = batch * heads * rows * p->kv_len;
    float *bias = malloc(count * sizeof(float) + 1);
    void *rounded = malloc(count * sizeof(float) + 1);
    memset(bias, 0xff, count * sizeof(float));
    for (uint64_t sequence = 0, row = 0; sequence < p->batch; sequence++)
        for (uint64_t i = 0; i < (p->bias.per_query ? share->rows[world_rank][sequence] : 1); i++, row += p->bias.per_query)
            for (uint64_t head = 0; head < heads; head++)
                for (uint64_t key = 0; key < f->model.lengths[sequence]; key++) {
                    const uint64_t entry = batch > 1 ? sequence : 0;
                    const uint64_t query = f->model.lengths[sequence] - share->total[sequence] + share->before[world_rank][sequence] + i;
                    bias[((entry * heads + head) * rows + row) * p->kv_len + key] = bias_at(p, sequence, head, query, key);
                }
    vkring_convert_from_f32(p->bias.type, bias, count, rounded);
    const uint64_t bytes = count * vkring_type_bytes(p->bias.type);
    *out_tensor = (struct vkring_tensor){0};
    const bool placed = vkring_buffer_create(*f->c->on, bytes, &out_tensor->buffer) == VKRING_OK &&
                        vkring_buffer_upload(out_tensor->buffer, 0, rounded, bytes) == VKRING_OK;
    free(bias);
    free(rounded);
    return placed;
}

/* The rows of a sequence as they are stored. */
static float *stored_rows(const struct fixture *f, enum cache_side side, uint64_t sequence)
{
    const struct vkring_plan_params *p = &f->c->params.attention;
    const uint64_t dim = side == CACHE_KEYS ? p->head_dim : value_dim(p), count = f->model.lengths[sequence] * f->model.dims[side];
    float *rows = malloc(count * sizeof(float) + 1);
    memcpy(rows, cache_model_row(&f->model, side, sequence, 0), count * sizeof(float));
    for (uint64_t head = 0; f->c->params.storage == VKRING_CACHE_INT8 && head < count; head += dim) {
        float largest = 0;
        for (uint64_t i = 0; i < dim; i++)
            largest = fmaxf(largest, fabsf(rows[head + i]));
        for (uint64_t i = 0; i < dim && largest > 0; i++)
            rows[head + i] = rintf(rows[head + i] / (largest / 127)) * (largest / 127);
    }
    return rows;
}

/* Dropout counts batch entries: those before are empty. */
bool refer(const struct fixture *f, uint64_t sequence, uint64_t rows, uint64_t seed, struct inputs *inputs)
{
    const struct vkring_plan_params *p = &f->c->params.attention;
    const uint64_t length = f->model.lengths[sequence], batch = p->dropout > 0 ? sequence + 1 : 1;
    float *bias = whole_bias(f, sequence, rows);
    const struct reference_problem problem = {
        .batch = batch,
        .q_len = rows,
        .kv_len = length,
        .heads = p->heads,
        .kv_heads = p->kv_heads ? p->kv_heads : p->heads,
        .head_dim = p->head_dim,
        .value_dim = value_dim(p),
        .causal = p->causal,
        .causal_block = p->causal_block,
        .query_offset = (int64_t)(length - rows),
        .scale = 1 / sqrt((double)p->head_dim),
        .has_window = p->has_window,
        .window_left = p->window_left,
        .window_right = p->window_right,
        .alibi_slopes = p->alibi ? f->slopes : NULL,
        .query_segment_ids = p->segment_ids ? inputs->ids[sequence] : NULL,
        .key_segment_ids = p->segment_ids ? cache_model_ids(&f->model, sequence, 0) : NULL,
        .bias = {.values = p->bias.present ? bias : NULL, .per_head = p->bias.per_head, .per_query = true},
        .softcap = p->softcap,
        .sinks = p->sinks ? f->sinks : NULL,
        .dropout = p->dropout,
        .seed = seed,
    };
    const uint64_t queries = rows * p->heads * p->head_dim, outputs = rows * p->heads * value_dim(p), lses = rows * p->heads;
    float *query = calloc(batch * queries + 1, sizeof(float)), *sides[CACHE_SIDES];
    double *output = calloc(batch * outputs + 1, sizeof(double)), *lse = calloc(batch * lses + 1, sizeof(double));
    memcpy(query + (batch - 1) * queries, inputs->queries[sequence], queries * sizeof(float));
    for (enum cache_side side = 0; side < CACHE_SIDES; side++) {
        float *rows_of_side = stored_rows(f, side, sequence);
        const uint64_t count = length * f->model.dims[side];
        sides[side] = calloc(batch * count + 1, sizeof(float));
        memcpy(sides[side] + (batch - 1) * count, rows_of_side, count * sizeof(float));
        free(rows_of_side);
    }
    const bool done = reference_forward(&problem, query, sides[CACHE_KEYS], sides[CACHE_VALUES], 0, rows, output, lse);
    inputs->outputs[sequence] = malloc(outputs * sizeof(double) + 1);
    inputs->lse[sequence] = malloc(lses * sizeof(double) + 1);
    memcpy(inputs->outputs[sequence], output + (batch - 1) * outputs, outputs * sizeof(double));
    memcpy(inputs->lse[sequence], lse + (batch - 1) * lses, lses * sizeof(double));
    free(bias);
    free(query);
    free(sides[CACHE_KEYS]);
    free(sides[CACHE_VALUES]);
    free(output);
    free(lse);
    return done;
}

void free_inputs(struct inputs *inputs)
{
    for (int sequence = 0; sequence < MOST_BATCH; sequence++) {
        free(inputs->queries[sequence]);
        free(inputs->ids[sequence]);
        free(inputs->outputs[sequence]);
        free(inputs->lse[sequence]);
    }
}
