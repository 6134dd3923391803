/* SPDX-License-Identifier: MIT */
/* Random cases: any option beside any other, on small problems. */
#include <stddef.h>

#include <ref/random_input.h>

#include "case_problem.h"

struct dice {
    uint64_t seed, thrown;
};

static uint64_t throw_dice(struct dice *dice, uint64_t sides)
{
    float value;
    random_fill(dice->seed, RANDOM_UNIFORM, 1, dice->thrown++, 1, &value);
    return (uint64_t)((double)value * (double)sides);
}

#define PICK(dice, list) ((list)[throw_dice(dice, sizeof(list) / sizeof((list)[0]))])

static void pick_shape(struct dice *dice, struct vkring_plan_params *p)
{
    static const uint64_t dims[] = {1, 3, 4, 7, 8, 16, 33, 63, 64, 64, 65, 96, 128, 129, 200, 256};
    static const uint64_t lengths[] = {0, 1, 2, 7, 15, 16, 17, 63, 64, 65, 127, 200, 333};
    static const uint64_t groups[] = {1, 1, 2, 4, 8};
    static const uint64_t kv_heads[] = {1, 1, 2, 3};
    static const uint64_t batches[] = {1, 1, 1, 2, 3};
    p->type = (enum vkring_type)throw_dice(dice, 3);
    p->batch = throw_dice(dice, 40) == 0 ? 0 : PICK(dice, batches);
    p->q_len = PICK(dice, lengths);
    p->kv_len = PICK(dice, lengths);
    p->kv_heads = PICK(dice, kv_heads);
    p->heads = p->kv_heads * PICK(dice, groups);
    p->head_dim = PICK(dice, dims);
    p->value_dim = throw_dice(dice, 2) ? 0 : PICK(dice, dims);
    if (p->heads == p->kv_heads && throw_dice(dice, 2))
        p->kv_heads = 0;
    /* the oracle and slow devices set the size */
    while (p->batch * p->heads * p->q_len * p->kv_len > 400000)
        *(p->heads > case_kv_heads(&(struct attention_case){.params = *p}) ? &p->heads : &p->q_len) /= 2;
    if (p->kv_heads && p->heads % p->kv_heads)
        p->heads = p->kv_heads;
}

static void pick_mask(struct dice *dice, struct vkring_plan_params *p)
{
    const int64_t offsets[] = {0,         1,        -1, 5, -20, 64, (int64_t)p->kv_len, (int64_t)p->kv_len + 100, -(int64_t)p->q_len,
                               INT64_MAX, INT64_MIN};
    static const double scales[] = {0, -0.25, 0.5, 0.05};
    p->causal = throw_dice(dice, 2) != 0;
    p->has_query_offset = throw_dice(dice, 2) != 0;
    if (p->has_query_offset)
        p->query_offset = PICK(dice, offsets);
    p->has_scale = throw_dice(dice, 4) == 0;
    if (p->has_scale)
        p->scale = PICK(dice, scales);
}

/* Each rank's weight is 0, 1, 2 or 3; the last rank takes what is left. */
static void cut_unevenly(struct dice *dice, uint64_t rows, uint32_t ranks, uint64_t *out_rows)
{
    uint64_t left = rows;
    for (uint32_t r = 0; r + 1 < ranks; r++) {
        uint64_t share = throw_dice(dice, 4) * rows / (2 * (uint64_t)ranks);
        out_rows[r] = share < left ? share : left;
        left -= out_rows[r];
    }
    out_rows[ranks - 1] = left;
}

static void pick_cut(struct dice *dice, uint32_t ranks, uint64_t *rows_room, struct vkring_plan_params *p)
{
    static const uint64_t chunks[] = {0, 64, 1000, 4096, 65536};
    if (throw_dice(dice, 3)) {
        cut_unevenly(dice, p->q_len, ranks, rows_room);
        p->query_rows_of_rank = rows_room;
    }
    if (throw_dice(dice, 3)) {
        cut_unevenly(dice, p->kv_len, ranks, rows_room + ranks);
        p->key_rows_of_rank = rows_room + ranks;
    }
    p->chunk_bytes = PICK(dice, chunks);
}

struct attention_case case_random(uint64_t seed, uint64_t index, uint32_t ranks, uint64_t *rows_room)
{
    struct dice dice = {.seed = seed + 1000003 * index};
    struct attention_case c = {.name = "random", .seed = dice.seed};
    pick_shape(&dice, &c.params);
    pick_mask(&dice, &c.params);
    if (throw_dice(&dice, 4) == 0)
        c.params.dispatch_seconds = 1e-6;
    if (throw_dice(&dice, 4) == 0)
        c.inputs = (enum case_inputs)throw_dice(&dice, INPUTS_BIG_LOGITS);
    if (c.params.has_scale && c.inputs == INPUTS_HEAVY_TAIL)
        c.inputs = INPUTS_NORMAL;
    c.placement.order = (enum tensor_order)throw_dice(&dice, ORDERS);
    c.placement.padding = throw_dice(&dice, 3) ? throw_dice(&dice, 3) * 4 : throw_dice(&dice, 9);
    c.placement.offset_elements = throw_dice(&dice, 3) ? 0 : throw_dice(&dice, 9);
    c.no_lse = throw_dice(&dice, 4) == 0;
    if (ranks > 1)
        pick_cut(&dice, ranks, rows_room, &c.params);
    return c;
}
