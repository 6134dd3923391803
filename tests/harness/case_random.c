/* SPDX-License-Identifier: MIT */
/*
 * Random cases: any option beside any other, on small problems. What kernels are made for is drawn once for CASES_OF_KERNELS cases:
 * compiling takes longer than all the rest.
 */
#include <inttypes.h>
#include <stdio.h>

#include "case_problem.h"
#include "dice.h"

/* What kernels are made for, and what they are then run on. */
struct hand {
    struct dice kernels, runs;
};

static void pick_dims(struct dice *dice, uint32_t ranks, struct vkring_plan_params *p)
{
    static const uint64_t dims[] = {1, 3, 4, 7, 8, 16, 33, 63, 64, 64, 65, 96, 128, 129, 200, 256};
    /* gradients have five kernels, and the dimensions of one rank need no repetition on more */
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

static void pick_causal(struct hand *hand, struct vkring_plan_params *p)
{
    static const uint64_t single[] = {0, 1}, several[] = {5, 64};
    p->causal = throw_dice(&hand->kernels, 2) != 0;
    if (p->causal)
        p->causal_block = throw_dice(&hand->kernels, 5) < 3 ? PICK(&hand->runs, single) : PICK(&hand->runs, several);
}

/* Slopes times the distance of offsets that are far from everything leave nothing of the scores. */
static void pick_position(struct dice *dice, struct vkring_plan_params *p)
{
    const int64_t offsets[] = {0,         1,        -1, 5, -20, 64, (int64_t)p->kv_len, (int64_t)p->kv_len + 100, -(int64_t)p->q_len,
                               INT64_MAX, INT64_MIN};
    static const double scales[] = {0, -0.25, 0.5, 0.05};
    p->has_query_offset = throw_dice(dice, 2) != 0;
    if (p->has_query_offset)
        p->query_offset = offsets[throw_dice(dice, sizeof(offsets) / sizeof(offsets[0]) - (p->alibi ? 2 : 0))];
    p->has_scale = throw_dice(dice, 4) == 0;
    if (p->has_scale)
        p->scale = PICK(dice, scales);
}

static void pick_bias(struct hand *hand, struct attention_case *c)
{
    c->params.bias = (struct vkring_bias_params){
        .present = true,
        .type = throw_dice(&hand->kernels, 2) ? c->params.type : VKRING_TYPE_F32,
        .per_batch = throw_dice(&hand->kernels, 2),
        .per_head = throw_dice(&hand->kernels, 2),
        .per_query = throw_dice(&hand->kernels, 2),
    };
    c->bias = throw_dice(&hand->runs, 3) ? BIAS_FINITE : (enum case_bias)throw_dice(&hand->runs, BIAS_KINDS);
}

/* Each in one case of three, so that most cases have several. */
static void pick_options(struct hand *hand, struct attention_case *c)
{
    static const int64_t reaches[] = {-1, 0, 1, 7, 30, 200};
    static const double softcaps[] = {0.5, 3, 30}, dropouts[] = {0.1, 0.5, 0.9};
    struct dice *kernels = &hand->kernels, *runs = &hand->runs;
    struct vkring_plan_params *p = &c->params;
    p->has_window = throw_dice(kernels, 3) == 0;
    if (p->has_window) {
        p->window_left = PICK(runs, reaches);
        p->window_right = PICK(runs, reaches);
    }
    p->segment_ids = throw_dice(kernels, 3) == 0;
    c->segments = throw_dice(runs, 2) ? SEGMENTS_SORTED : (enum case_segments)throw_dice(runs, SEGMENTS_KINDS);
    p->alibi = throw_dice(kernels, 3) == 0;
    p->sinks = throw_dice(kernels, 3) == 0;
    if (throw_dice(kernels, 3) == 0)
        p->softcap = PICK(runs, softcaps);
    if (throw_dice(kernels, 3) == 0)
        p->dropout = PICK(runs, dropouts);
    if (throw_dice(kernels, 3) == 0)
        pick_bias(hand, c);
}

/* In whole quads or not: kernels differ. */
static void pick_placement(struct hand *hand, struct tensor_placement *placement)
{
    const bool whole = throw_dice(&hand->kernels, 2);
    placement->order = (enum tensor_order)throw_dice(&hand->runs, ORDERS);
    placement->padding = whole ? throw_dice(&hand->runs, 3) * 4 : throw_dice(&hand->runs, 9);
    placement->offset_elements = whole ? throw_dice(&hand->runs, 3) * 4 : throw_dice(&hand->runs, 9);
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
}

/* Kernels know of rows that lie apart. */
static void pick_layout(struct hand *hand, struct vkring_plan_params *p)
{
    static const enum vkring_layout dense[] = {VKRING_LAYOUT_CONTIGUOUS, VKRING_LAYOUT_ZIGZAG, VKRING_LAYOUT_AUTO};
    p->layout = throw_dice(&hand->kernels, 4) == 0 ? VKRING_LAYOUT_STRIPED : PICK(&hand->runs, dense);
    p->has_key_layout = throw_dice(&hand->runs, 4) == 0;
    p->key_layout = PICK(&hand->runs, dense);
}

struct attention_case case_random(uint64_t seed, uint64_t index, uint32_t ranks, uint64_t *rows_room)
{
    const uint64_t stream = seed + ranks;
    struct hand hand = {.kernels.seed = ~(stream + 1000003 * (index / CASES_OF_KERNELS)), .runs.seed = stream + 1000003 * index};
    struct attention_case c = {.name = "random", .seed = hand.runs.seed};
    snprintf(c.again, sizeof(c.again), "VKRING_TEST_SEED=%" PRIu64 " VKRING_TEST_FIRST=%" PRIu64 " VKRING_TEST_CASES=1", seed, index);
    c.params.type = (enum vkring_type)throw_dice(&hand.kernels, 3);
    c.params.backward = throw_dice(&hand.kernels, 2);
    pick_dims(&hand.kernels, ranks, &c.params);
    pick_shape(&hand.runs, &c.params);
    if (throw_dice(&hand.kernels, 4))
        pick_options(&hand, &c);
    pick_causal(&hand, &c.params);
    pick_position(&hand.runs, &c.params);
    if (throw_dice(&hand.runs, 4) == 0)
        c.params.dispatch_seconds = 1e-6;
    pick_inputs(&hand.runs, &c);
    pick_placement(&hand, &c.placement);
    if (ranks > 1) {
        pick_cut(&hand.runs, ranks, rows_room, &c.params);
        pick_layout(&hand, &c.params);
    }
    return c;
}
