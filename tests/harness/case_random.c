/* SPDX-License-Identifier: MIT */
/* Random cases: any option beside any other, on small problems. */
#include <inttypes.h>
#include <stdio.h>

#include "case_problem.h"
#include "dice.h"

static void pick_dims(struct dice *dice, uint32_t ranks, struct vkring_plan_params *p)
{
    static const uint64_t dims[] = {1, 3, 4, 7, 8, 16, 33, 63, 64, 64, 65, 96, 128, 129, 200, 256};
    /* compiling takes longer than all the rest: gradients have five kernels, and the dimensions of one rank need no repetition on more */
    static const uint64_t few_dims[] = {1, 4, 7, 16, 16, 16, 33, 64};
    const bool all = ranks == 1 && (!p->backward || throw_dice(dice, 8) == 0);
    p->head_dim = all ? PICK(dice, dims) : PICK(dice, few_dims);
    p->value_dim = throw_dice(dice, 2) ? 0 : all ? PICK(dice, dims) : PICK(dice, few_dims);
}

static void pick_shape(struct dice *dice, struct vkring_plan_params *p)
{
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
    if (p->heads == p->kv_heads && throw_dice(dice, 2))
        p->kv_heads = 0;
    /* the oracle and slow devices set the size */
    while (p->batch * p->heads * p->q_len * p->kv_len > (p->backward ? 200000 : 400000))
        *(p->heads > case_kv_heads(&(struct attention_case){.params = *p}) ? &p->heads : &p->q_len) /= 2;
    if (p->kv_heads && p->heads % p->kv_heads)
        p->heads = p->kv_heads;
}

/* Slopes times the distance of offsets that are far from everything leave nothing of the scores. */
static void pick_position(struct dice *dice, struct vkring_plan_params *p)
{
    const int64_t offsets[] = {0,         1,        -1, 5, -20, 64, (int64_t)p->kv_len, (int64_t)p->kv_len + 100, -(int64_t)p->q_len,
                               INT64_MAX, INT64_MIN};
    static const double scales[] = {0, -0.25, 0.5, 0.05};
    p->causal = throw_dice(dice, 2) != 0;
    p->has_query_offset = throw_dice(dice, 2) != 0;
    if (p->has_query_offset)
        p->query_offset = offsets[throw_dice(dice, sizeof(offsets) / sizeof(offsets[0]) - (p->alibi ? 2 : 0))];
    p->has_scale = throw_dice(dice, 4) == 0;
    if (p->has_scale)
        p->scale = PICK(dice, scales);
}

static void pick_bias(struct dice *dice, struct attention_case *c)
{
    c->params.bias = (struct vkring_bias_params){
        .present = true,
        .type = throw_dice(dice, 2) ? c->params.type : VKRING_TYPE_F32,
        .per_batch = throw_dice(dice, 2),
        .per_head = throw_dice(dice, 2),
        .per_query = throw_dice(dice, 2),
    };
    c->bias = throw_dice(dice, 3) ? BIAS_FINITE : (enum case_bias)throw_dice(dice, BIAS_KINDS);
}

/* Each in one case of three, so that most cases have several. */
static void pick_options(struct dice *dice, struct attention_case *c)
{
    static const int64_t reaches[] = {-1, 0, 1, 7, 30, 200};
    static const double softcaps[] = {0.5, 3, 30}, dropouts[] = {0.1, 0.5, 0.9};
    struct vkring_plan_params *p = &c->params;
    p->has_window = throw_dice(dice, 3) == 0;
    if (p->has_window) {
        p->window_left = PICK(dice, reaches);
        p->window_right = PICK(dice, reaches);
    }
    p->segment_ids = throw_dice(dice, 3) == 0;
    c->segments = throw_dice(dice, 2) ? SEGMENTS_SORTED : (enum case_segments)throw_dice(dice, SEGMENTS_KINDS);
    p->alibi = throw_dice(dice, 3) == 0;
    p->sinks = throw_dice(dice, 3) == 0;
    if (throw_dice(dice, 3) == 0)
        p->softcap = PICK(dice, softcaps);
    if (throw_dice(dice, 3) == 0)
        p->dropout = PICK(dice, dropouts);
    if (throw_dice(dice, 3) == 0)
        pick_bias(dice, c);
}

static void pick_placement(struct dice *dice, struct tensor_placement *placement)
{
    placement->order = (enum tensor_order)throw_dice(dice, ORDERS);
    placement->padding = throw_dice(dice, 3) ? throw_dice(dice, 3) * 4 : throw_dice(dice, 9);
    placement->offset_elements = throw_dice(dice, 3) ? 0 : throw_dice(dice, 9);
}

static void pick_inputs(struct dice *dice, struct attention_case *c)
{
    if (throw_dice(dice, 4) == 0 && !c->params.has_scale)
        c->inputs = (enum case_inputs)throw_dice(dice, INPUTS_ONE_HOT);
    if (c->params.backward) {
        c->unwanted = throw_dice(dice, 3) ? 0 : (unsigned)throw_dice(dice, 1u << GRADIENTS);
    } else {
        c->no_lse = throw_dice(dice, 4) == 0;
    }
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
    p->layout = (enum vkring_layout)throw_dice(dice, 4);
}

struct attention_case case_random(uint64_t seed, uint64_t index, uint32_t ranks, uint64_t *rows_room)
{
    struct dice dice = {.seed = seed + ranks + 1000003 * index};
    struct attention_case c = {.name = "random", .seed = dice.seed};
    static const uint64_t causal_blocks[] = {0, 0, 1, 5, 64};
    snprintf(c.again, sizeof(c.again), "VKRING_TEST_SEED=%" PRIu64 " VKRING_TEST_FIRST=%" PRIu64 " VKRING_TEST_CASES=1", seed, index);
    c.params.backward = throw_dice(&dice, 2);
    pick_dims(&dice, ranks, &c.params);
    pick_shape(&dice, &c.params);
    if (throw_dice(&dice, 4))
        pick_options(&dice, &c);
    pick_position(&dice, &c.params);
    if (c.params.causal)
        c.params.causal_block = PICK(&dice, causal_blocks);
    if (throw_dice(&dice, 4) == 0)
        c.params.dispatch_seconds = 1e-6;
    pick_inputs(&dice, &c);
    pick_placement(&dice, &c.placement);
    if (ranks > 1)
        pick_cut(&dice, ranks, rows_room, &c.params);
    return c;
}
