/* SPDX-License-Identifier: MIT */
/* Prefill in pieces and decode step by step give what one pass over the whole sequence gives, whoever brings which rows. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ref/compare.h>
#include <ref/random_input.h>
#include <ref/reference.h>

#include <cache/pass_probe.h>
#include <vk/device_speed.h>
#include <vkring/tune.h>

#include "../harness/cache_model.h"
#include "../harness/dice.h"
#include "world.h"

enum { MOST_BATCH = 4, MOST_RANKS = 8, MOST_HEADS = 2048 };

static vkring_device *device, *splitting, *poor;
static vkring_comm *comm;

static const struct attend_case {
    const char *name;
    vkring_device **on;
    enum tensor_order order;
    bool no_lse;
    int steps; /* 0 for 8 */
    bool cut;  /* rows are more than go at a time, on several ranks */
    struct vkring_cache_params params;
} cases[] = {
    {.name = "f32, causal",
     .on = &device,
     .params = {.pass = VKRING_CACHE_PASS_QUERIES,
                .attention = {.batch = 3, .q_len = 40, .kv_len = 150, .heads = 4, .kv_heads = 2, .head_dim = 16, .causal = true}}},
    {.name = "a window and segments, odd heads, few at a time",
     .on = &device,
     .order = ORDER_PADDED,
     .params = {.pass = VKRING_CACHE_PASS_QUERIES,
                .attention = {.batch = 2,
                              .q_len = 7,
                              .kv_len = 60,
                              .heads = 3,
                              .head_dim = 5,
                              .value_dim = 9,
                              .causal = true,
                              .segment_ids = true,
                              .has_window = true,
                              .window_left = 11,
                              .window_right = -1}}},
    {.name = "everything that depends on positions, splits",
     .on = &splitting,
     .order = ORDER_HEADS_FIRST,
     .params = {.pass = VKRING_CACHE_PASS_QUERIES,
                .attention = {.batch = 2,
                              .q_len = 30,
                              .kv_len = 130,
                              .heads = 4,
                              .kv_heads = 1,
                              .head_dim = 16,
                              .causal = true,
                              .alibi = true,
                              .sinks = true,
                              .softcap = 5,
                              .dropout = 0.2}}},
    {.name = "segments and a bias of queries, more rows than go at a time",
     .on = &device,
     .steps = 2,
     .cut = true,
     .params = {.pass = VKRING_CACHE_PASS_QUERIES,
                .attention = {.batch = 3,
                              .q_len = 45,
                              .kv_len = 60,
                              .heads = 2048,
                              .kv_heads = 1,
                              .head_dim = 8,
                              .causal = true,
                              .segment_ids = true,
                              .bias = {.present = true, .per_query = true}}}},
    {.name = "f16 in short dispatches",
     .on = &device,
     .params = {.pass = VKRING_CACHE_PASS_QUERIES,
                .attention = {.type = VKRING_TYPE_F16,
                              .batch = 2,
                              .q_len = 30,
                              .kv_len = 200,
                              .heads = 4,
                              .kv_heads = 2,
                              .head_dim = 32,
                              .causal = true,
                              .dispatch_seconds = 1e-9}}},
    {.name = "bf16, causal in blocks, not unified, splits",
     .on = &poor,
     .order = ORDER_PADDED,
     .no_lse = true,
     .params = {.pass = VKRING_CACHE_PASS_QUERIES,
                .attention = {.type = VKRING_TYPE_BF16,
                              .batch = 2,
                              .q_len = 20,
                              .kv_len = 100,
                              .heads = 4,
                              .kv_heads = 1,
                              .head_dim = 8,
                              .causal = true,
                              .causal_block = 4,
                              .sinks = true}}},
    {.name = "segments in f16 of int8, odd heads, splits",
     .on = &splitting,
     .params = {.pass = VKRING_CACHE_PASS_QUERIES,
                .attention = {.type = VKRING_TYPE_F16,
                              .batch = 2,
                              .q_len = 7,
                              .kv_len = 90,
                              .heads = 6,
                              .kv_heads = 3,
                              .head_dim = 7,
                              .value_dim = 12,
                              .causal = true,
                              .segment_ids = true},
                .storage = VKRING_CACHE_INT8}},
    {.name = "keys go around",
     .on = &device,
     .params = {.pass = VKRING_CACHE_PASS_KEYS,
                .attention = {.batch = 3, .q_len = 40, .kv_len = 150, .heads = 4, .kv_heads = 2, .head_dim = 16, .causal = true}}},
    {.name = "keys go around, not unified, everything that depends on positions",
     .on = &poor,
     .order = ORDER_HEADS_FIRST,
     .params = {.pass = VKRING_CACHE_PASS_KEYS,
                .attention = {.batch = 2,
                              .q_len = 30,
                              .kv_len = 130,
                              .heads = 4,
                              .kv_heads = 1,
                              .head_dim = 16,
                              .causal = true,
                              .alibi = true,
                              .sinks = true,
                              .softcap = 5,
                              .dropout = 0.2}}},
    {.name = "a bias of queries and segments in bf16, not unified, splits",
     .on = &poor,
     .order = ORDER_PADDED,
     .params = {.pass = VKRING_CACHE_PASS_QUERIES,
                .attention = {.type = VKRING_TYPE_BF16,
                              .batch = 2,
                              .q_len = 20,
                              .kv_len = 101,
                              .heads = 3,
                              .kv_heads = 1,
                              .head_dim = 9,
                              .causal = true,
                              .segment_ids = true,
                              .sinks = true,
                              .bias = {.present = true, .type = VKRING_TYPE_BF16, .per_query = true, .per_head = true}}}},
    {.name = "a bias of queries for all heads, splits, in short dispatches",
     .on = &splitting,
     .params = {.pass = VKRING_CACHE_PASS_QUERIES,
                .attention = {.batch = 3,
                              .q_len = 30,
                              .kv_len = 130,
                              .heads = 4,
                              .kv_heads = 2,
                              .head_dim = 16,
                              .dispatch_seconds = 1e-9,
                              .bias = {.present = true, .per_query = true}}}},
    {.name = "keys go around with a bias of positions",
     .on = &device,
     .params = {.pass = VKRING_CACHE_PASS_KEYS,
                .attention = {.batch = 3,
                              .q_len = 40,
                              .kv_len = 150,
                              .heads = 4,
                              .kv_heads = 2,
                              .head_dim = 16,
                              .causal = true,
                              .bias = {.present = true, .per_batch = true, .per_head = true}}}},
    {.name = "keys of segments go around to a bias of queries",
     .on = &device,
     .params = {.pass = VKRING_CACHE_PASS_KEYS,
                .attention = {.batch = 2,
                              .q_len = 30,
                              .kv_len = 130,
                              .heads = 4,
                              .kv_heads = 2,
                              .head_dim = 16,
                              .causal = true,
                              .segment_ids = true,
                              .bias = {.present = true, .per_query = true, .per_head = true}}}},
    {.name = "f16 of int8 goes around, odd heads, with ids and a bias, not unified",
     .on = &poor,
     .params = {.pass = VKRING_CACHE_PASS_KEYS,
                .attention = {.type = VKRING_TYPE_F16,
                              .batch = 2,
                              .q_len = 30,
                              .kv_len = 90,
                              .heads = 6,
                              .kv_heads = 3,
                              .head_dim = 7,
                              .value_dim = 12,
                              .causal = true,
                              .segment_ids = true,
                              .bias = {.present = true, .per_head = true}},
                .storage = VKRING_CACHE_INT8}},
    {.name = "f32 of int8 goes around as it lies",
     .on = &device,
     .params = {.pass = VKRING_CACHE_PASS_KEYS,
                .attention = {.batch = 2, .q_len = 30, .kv_len = 100, .heads = 4, .kv_heads = 1, .head_dim = 16, .causal = true},
                .storage = VKRING_CACHE_INT8}},
    {.name = "a bias of positions, f32 of int8",
     .on = &device,
     .order = ORDER_PADDED,
     .params = {.pass = VKRING_CACHE_PASS_QUERIES,
                .attention = {.batch = 2,
                              .q_len = 30,
                              .kv_len = 100,
                              .heads = 4,
                              .kv_heads = 2,
                              .head_dim = 16,
                              .causal = true,
                              .bias = {.present = true, .per_batch = true, .per_head = true}},
                .storage = VKRING_CACHE_INT8}},
};

/* How many queries each rank brings of each sequence. */
struct share {
    uint64_t total[MOST_BATCH], rows[MOST_RANKS][MOST_BATCH], before[MOST_RANKS][MOST_BATCH];
};

static void give(struct share *share, uint32_t rank, uint64_t sequence, uint64_t rows)
{
    share->before[rank][sequence] = share->total[sequence];
    share->rows[rank][sequence] += rows;
    share->total[sequence] += rows;
}

/* Pieces of the prefill, and every other time one row of each sequence on one rank. */
static struct share random_share(struct dice *dice, const struct cache_model *model, bool decode)
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

/* Whole inputs of a call, the same on all ranks, and what the oracle makes of them. */
struct inputs {
    float *queries[MOST_BATCH];                    /* [total][heads][head_dim] */
    int32_t *ids[MOST_BATCH];                      /* [total], of segments */
    double *outputs[MOST_BATCH], *lse[MOST_BATCH]; /* [total][heads][value_dim], [heads][total] */
};

/* What this rank got, and what it should have got, of all calls one after another. */
struct answers {
    uint64_t outputs, lses, room;
    float *output, *lse;
    double *wanted_output, *wanted_lse;
};

struct fixture {
    const struct attend_case *c;
    vkring_cache *cache;
    struct cache_model model;
    struct dice dice;
    float slopes[MOST_HEADS], sinks[MOST_HEADS];
    vkring_buffer *slopes_buffer, *sinks_buffer;
    struct answers answers;
};

static uint64_t value_dim(const struct vkring_plan_params *p)
{
    return p->value_dim ? p->value_dim : p->head_dim;
}

static void draw_queries(const struct fixture *f, uint64_t sequence, uint64_t rows, float **out_queries)
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

/* Those of the rows that were appended with them, but for some: of another segment, or of one that no key is in. */
static void draw_ids(const struct fixture *f, uint64_t sequence, uint64_t rows, int32_t **out_ids)
{
    struct dice dice = {.seed = 77 + f->model.lengths[sequence]};
    *out_ids = malloc(rows * sizeof(**out_ids) + 1);
    memcpy(*out_ids, cache_model_ids(&f->model, sequence, f->model.lengths[sequence] - rows), rows * sizeof(**out_ids));
    for (uint64_t row = 0; row < rows; row++)
        if (throw_dice(&dice, 4) == 0)
            (*out_ids)[row] = (int32_t)throw_dice(&dice, 4) - 1;
}

static uint64_t own_rows(const struct fixture *f, const struct share *share)
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

/* What this rank gives of it: beyond its sequences there is nothing that should be read. */
static bool place_bias(const struct fixture *f, const struct share *share, struct vkring_tensor *out_tensor)
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
static bool refer(const struct fixture *f, uint64_t sequence, uint64_t rows, uint64_t seed, struct inputs *inputs)
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

static void free_inputs(struct inputs *inputs)
{
    for (int sequence = 0; sequence < MOST_BATCH; sequence++) {
        free(inputs->queries[sequence]);
        free(inputs->ids[sequence]);
        free(inputs->outputs[sequence]);
        free(inputs->lse[sequence]);
    }
}

static bool append(struct fixture *f, const struct share *share)
{
    struct vkring_cache_append_io io;
    bool good;
    cache_model_draw(&f->model, share->total);
    good = cache_model_place(&f->model, *f->c->on, share->before[world_rank], share->rows[world_rank], 0, &io);
    good = good && world_expect(vkring_cache_append(f->cache, &io) == VKRING_OK, "%s", vkring_last_error()->message);
    cache_model_keep(&f->model, share->total);
    cache_model_clear(&io);
    return good;
}

/* Packed results of this rank's rows; output and lse have room. */
static bool attend_once(struct fixture *f, const struct share *share, const struct inputs *inputs, uint64_t seed, float *output, float *lse)
{
    const struct vkring_plan_params *p = &f->c->params.attention;
    const uint64_t own = own_rows(f, share), row = p->heads * p->head_dim;
    const struct tensor_placement placement = {.order = f->c->order, .offset_elements = 4, .padding = 4}, packed = {0};
    const struct tensor_shape_of_test shapes[] = {{1, own, p->heads, p->head_dim}, {1, own, p->heads, value_dim(p)}, {1, 1, p->heads, own}};
    struct tensor_image images[3] = {{0}};
    float *queries = malloc(own * row * sizeof(float) + 1), *at = queries;
    int32_t *ids = malloc(own * sizeof(*ids) + 1), *at_ids = ids;
    vkring_buffer *ids_buffer = NULL;
    struct vkring_tensor bias = {0};
    bool good = true;
    for (uint64_t sequence = 0; sequence < p->batch; sequence++) {
        const uint64_t rows = share->rows[world_rank][sequence];
        memcpy(at, inputs->queries[sequence] + share->before[world_rank][sequence] * row, rows * row * sizeof(float));
        memcpy(at_ids, inputs->ids[sequence] + share->before[world_rank][sequence], rows * sizeof(*ids));
        at += rows * row;
        at_ids += rows;
    }
    good = vkring_buffer_create(*f->c->on, own * sizeof(*ids), &ids_buffer) == VKRING_OK &&
           vkring_buffer_upload(ids_buffer, 0, ids, own * sizeof(*ids)) == VKRING_OK && (!p->bias.present || place_bias(f, share, &bias));
    for (int i = 0; i < 3; i++)
        good = tensor_image_create(*f->c->on, i == 2 ? VKRING_TYPE_F32 : p->type, &shapes[i], i == 2 ? &packed : &placement, &images[i]) &&
               good;
    tensor_image_put(&images[0], queries);
    for (int i = 0; i < 3; i++)
        good = good && tensor_image_upload(&images[i]);
    struct vkring_cache_attend_io io = {
        .rows = share->rows[world_rank],
        .query = images[0].tensor,
        .output = images[1].tensor,
        .segment_ids = {.buffer = ids_buffer},
        .bias = bias,
        .alibi_slopes = {.buffer = f->slopes_buffer},
        .sinks = {.buffer = f->sinks_buffer},
        .seed = seed,
    };
    if (!f->c->no_lse)
        io.lse = images[2].tensor;
    good = good && world_expect(vkring_cache_attend(f->cache, &io) == VKRING_OK, "%s", vkring_last_error()->message);
    for (int i = 0; i < 3; i++)
        good = good && tensor_image_download(&images[i]);
    good = good && world_expect(tensor_image_untouched(&images[0]), "queries were written to") &&
           world_expect(tensor_image_canaries_alive(&images[1]), "something beside outputs was written to") &&
           world_expect(tensor_image_canaries_alive(&images[2]), "something beside lse was written to");
    tensor_image_get(&images[1], output);
    tensor_image_get(&images[2], lse);
    for (int i = 0; i < 3; i++)
        tensor_image_destroy(&images[i]);
    vkring_buffer_destroy(&ids_buffer);
    vkring_buffer_destroy(&bias.buffer);
    free(ids);
    free(queries);
    return good;
}

static void note_wanted(struct fixture *f, const struct share *share, const struct inputs *inputs)
{
    const struct vkring_plan_params *p = &f->c->params.attention;
    struct answers *a = &f->answers;
    const uint64_t own = own_rows(f, share), row = p->heads * value_dim(p);
    uint64_t at = 0;
    for (uint64_t sequence = 0; sequence < p->batch; sequence++) {
        const uint64_t rows = share->rows[world_rank][sequence], before = share->before[world_rank][sequence];
        memcpy(a->wanted_output + a->outputs + at * row, inputs->outputs[sequence] + before * row, rows * row * sizeof(double));
        for (uint64_t i = 0; i < rows * p->heads; i++)
            a->wanted_lse[a->lses + i % p->heads * own + at + i / p->heads] =
                inputs->lse[sequence][i % p->heads * share->total[sequence] + before + i / p->heads];
        at += rows;
    }
    a->outputs += own * row;
    a->lses += own * p->heads;
}

/* Attends twice, and remembers what came of it. */
static bool attend(struct fixture *f, const struct share *share)
{
    const struct vkring_plan_params *p = &f->c->params.attention;
    const uint64_t own = own_rows(f, share), outputs = own * p->heads * value_dim(p), lses = own * p->heads;
    const uint64_t seed = f->dice.thrown;
    struct answers *a = &f->answers;
    struct inputs inputs = {0};
    float *again = malloc(outputs * sizeof(float) + 1), *lse_again = malloc(lses * sizeof(float) + 1);
    bool good = true;
    for (uint64_t sequence = 0; sequence < p->batch; sequence++) {
        draw_queries(f, sequence, share->total[sequence], &inputs.queries[sequence]);
        draw_ids(f, sequence, share->total[sequence], &inputs.ids[sequence]);
        good = refer(f, sequence, share->total[sequence], seed, &inputs) && good;
    }
    good = world_agrees(good) && world_agrees(attend_once(f, share, &inputs, seed, a->output + a->outputs, a->lse + a->lses)) &&
           world_agrees(attend_once(f, share, &inputs, seed, again, lse_again));
    good = good && world_expect(memcmp(again, a->output + a->outputs, outputs * sizeof(float)) == 0 &&
                                    (f->c->no_lse || memcmp(lse_again, a->lse + a->lses, lses * sizeof(float)) == 0),
                                "other bits the second time");
    note_wanted(f, share, &inputs);
    free(again);
    free(lse_again);
    free_inputs(&inputs);
    return good;
}

static struct error_gate gate_of(const struct attend_case *c)
{
    struct vkring_kernel_choice choice;
    const bool chosen = vkring_kernels_choose(*c->on, &c->params.attention, &choice) == VKRING_OK;
    const enum vkring_type type = c->params.attention.type;
    return chosen && strstr(choice.words, "matrix=1") ? forward_gate_on_matrices(type) : forward_gate(type);
}

static bool judge(const struct fixture *f)
{
    const struct answers *a = &f->answers;
    const struct error_gate gate = gate_of(f->c);
    const struct error_measure error = error_measure(a->output, a->wanted_output, a->outputs);
    const double lse = f->c->no_lse ? 0 : lse_error(a->lse, a->wanted_lse, a->lses);
    return world_expect(gate_passes(&gate, &error), "%s: output is off by %g, at most %g", f->c->name, error.rms, error.maximum) &&
           world_expect(lse <= LSE_GATE, "%s: lse is off by %g", f->c->name, lse);
}

/* Whatever kernels read beside keys; nothing of it stays. */
static bool all_ranks_find_the_same_speeds(struct vkring_cache *cache)
{
    const bool good = world_agrees(world_expect(pass_probe(cache) == VKRING_OK, "%s", vkring_last_error()->message));
    const bool guessed = cache->problem.segment_ids || cache->problem.bias.present;
    const double flops = cache->flops, link = cache->link_bytes_per_second;
    const double mean_flops = world_sum(flops) / world_size, mean_link = world_sum(link) / world_size;
    return good && world_expect(flops > 0 && isfinite(flops) && link > 0, "%g FLOP/s, %g B/s", flops, link) &&
           world_expect((flops == vk_device_flops(cache->device)) == guessed, "the guess stays, or does not") &&
           world_expect(fabs(mean_flops / flops - 1) < 1e-12 && fabs(mean_link / link - 1) < 1e-12, "ranks count on other speeds");
}

static bool open_fixture(struct fixture *f)
{
    const struct vkring_plan_params *p = &f->c->params.attention;
    struct answers *a = &f->answers;
    const uint64_t rows = p->batch * p->kv_len * p->heads;
    a->output = malloc(rows * value_dim(p) * sizeof(float));
    a->wanted_output = malloc(rows * value_dim(p) * sizeof(double));
    a->lse = malloc(rows * sizeof(float));
    a->wanted_lse = malloc(rows * sizeof(double));
    random_fill(5, RANDOM_UNIFORM, 0.3f, 0, p->heads, f->slopes);
    random_fill(6, RANDOM_NORMAL, 2, 0, p->heads, f->sinks);
    bool good = vkring_buffer_create(*f->c->on, sizeof(f->slopes), &f->slopes_buffer) == VKRING_OK &&
                vkring_buffer_create(*f->c->on, sizeof(f->sinks), &f->sinks_buffer) == VKRING_OK &&
                vkring_buffer_upload(f->slopes_buffer, 0, f->slopes, sizeof(f->slopes)) == VKRING_OK &&
                vkring_buffer_upload(f->sinks_buffer, 0, f->sinks, sizeof(f->sinks)) == VKRING_OK;
    good = good && world_expect(cache_model_create(&f->c->params, 7, &f->model), "no memory");
    good = good &&
           world_expect(vkring_cache_create(*f->c->on, comm, &f->c->params, &f->cache) == VKRING_OK, "%s", vkring_last_error()->message);
    good = world_agrees(good);
    return world_agrees(good && (world_size == 1 || all_ranks_find_the_same_speeds(f->cache)));
}

static void close_fixture(struct fixture *f)
{
    vkring_cache_destroy(&f->cache);
    cache_model_destroy(&f->model);
    vkring_buffer_destroy(&f->slopes_buffer);
    vkring_buffer_destroy(&f->sinks_buffer);
    free(f->answers.output);
    free(f->answers.wanted_output);
    free(f->answers.lse);
    free(f->answers.wanted_lse);
}

START_TEST(pieces_give_what_the_whole_gives)
{
    struct fixture f = {.c = &cases[_i], .dice = {.seed = 50 + (uint64_t)_i}};
    if (f.c->params.attention.type != VKRING_TYPE_F32 && !world_agrees((*f.c->on)->limits.storage_16bit))
        return;
    ck_assert(open_fixture(&f));
    bool good = true, cut = false;
    for (int step = 0; good && step < (f.c->steps ? f.c->steps : 8); step++) {
        const struct share share = random_share(&f.dice, &f.model, step % 2 == 1);
        good = world_agrees(append(&f, &share)) && world_agrees(attend(&f, &share));
        cut = cut || f.cache->exchange.most_rows > f.cache->piece_rows;
    }
    good = good && judge(&f) && world_expect(cut || world_size == 1 || !f.c->cut, "all rows went at once");
    close_fixture(&f);
    ck_assert(world_agrees(good));
}
END_TEST

int main(int argc, char **argv)
{
    const struct vk_limit_overrides splits = {.split_keys = 8}, lacks = {.split_keys = 8, .no_unified_memory = true};
    Suite *suite = suite_create("attention to a cache");
    TCase *tcase = tcase_create("cases");
    vkring_device *devices[3];
    devices[0] = device = world_begin(&argc, &argv);
    devices[1] = splitting = test_device_open(&splits);
    devices[2] = poor = test_device_open(&lacks);
    comm = world_comm();
    tcase_add_loop_test(tcase, pieces_give_what_the_whole_gives, 0, sizeof(cases) / sizeof(cases[0]));
    suite_add_tcase(suite, tcase);
    return world_end(suite, devices, 3, &comm);
}
