/* SPDX-License-Identifier: MIT */
/*
 * What the ranks of a ring do, as pure data: the pieces that each task is cut into meet every kept pair once, packets and sums of gradients
 * get to where they are needed and home, and no step waits longer than theory says.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <base/checked.h>
#include <ring/backward.h>
#include <ring/piece.h>
#include <ring/schedule.h>

#include "../harness/dice.h"
#include "../harness/kept_pairs.h"
#include "../harness/suite.h"

static const enum vkring_layout kinds[] = {VKRING_LAYOUT_CONTIGUOUS, VKRING_LAYOUT_ZIGZAG, VKRING_LAYOUT_STRIPED};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static const uint32_t many_ranks[] = {1, 2, 3, 4, 5, 8, 13, 64, 257, 1000, 4096};
enum { MANY_RANKS = sizeof(many_ranks) / sizeof(many_ranks[0]) };

/* Small tiles, and few workgroups of a dispatch, so that all is cut in many ways. */
static struct vkring_device small_device(void)
{
    struct vkring_device device = {0};
    device.info.kind = VKRING_DEVICE_CPU;
    device.limits.max_workgroup_count[0] = 5;
    device.limits.max_workgroup_count[1] = 3;
    device.limits.max_workgroup_count[2] = 2;
    return device;
}

static const struct kernel_choice small_choice = {
    .workgroup_size = 4, .lanes_per_row = 1, .rows_per_lane = 2, .keys_per_step = 2, .keys_per_step_general = 1};

static uint64_t position_of(const struct layout_span *span, uint64_t local)
{
    return span->first + (local - span->local) * span->stride;
}

static uint32_t rank_at(const struct layout *layout, uint64_t index)
{
    return (uint32_t)(index % layout->ranks);
}

static uint32_t steps_of(const struct problem *problem, const struct layout *layout)
{
    uint32_t steps;
    ck_assert_int_eq(schedule_steps(problem, layout, &steps), VKRING_OK);
    return steps;
}

/* Small rings, pair by pair ------------------------------------------------------------------------------------------------ */

/* A ring of which every pair is looked at. Some tasks see it as rows and keys of query heads, some of key/value heads or those of a bias.
 */
struct small_ring {
    struct vkring_plan_params params;
    struct problem problem;
    struct layout layout;
    uint32_t steps;
    double dispatch_seconds;
    uint64_t query_rows[8], key_rows[8];
    bool *kept;         /* [q_len][kv_len] */
    unsigned char *met; /* [batch][heads][q_len][kv_len] */
};

static bool keeps(const struct problem *problem, uint64_t row, uint64_t key)
{
    const struct mask_block pair = {row, 1, key, 1, 1, 1};
    return mask_kept_keys(problem, &pair).end > 0;
}

static void cut_rows(struct dice *dice, uint64_t rows, uint32_t ranks, uint64_t *out_rows)
{
    uint64_t left = rows;
    for (uint32_t rank = 0; rank + 1 < ranks; rank++) {
        const uint64_t share = throw_dice(dice, 4) * rows / (2 * (uint64_t)ranks);
        out_rows[rank] = share < left ? share : left;
        left -= out_rows[rank];
    }
    out_rows[ranks - 1] = left;
}

static void pick_mask(struct dice *dice, struct vkring_plan_params *p)
{
    static const int64_t reaches[] = {-1, 0, 1, 7, 30};
    static const uint64_t blocks[] = {0, 1, 3, 16};
    p->causal = throw_dice(dice, 2);
    p->causal_block = p->causal ? PICK(dice, blocks) : 0;
    p->has_window = throw_dice(dice, 2);
    if (p->has_window) {
        p->window_left = PICK(dice, reaches);
        p->window_right = PICK(dice, reaches);
    }
    p->has_query_offset = throw_dice(dice, 2);
    p->query_offset = (int64_t)throw_dice(dice, 41) - 20;
}

static void make_tables(struct small_ring *ring)
{
    const struct problem *problem = &ring->problem;
    const uint64_t pairs = problem->q_len * problem->kv_len;
    ring->kept = calloc(pairs + 1, sizeof(*ring->kept));
    ring->met = calloc(problem->batch * problem->heads * pairs + 1, sizeof(*ring->met));
    ck_assert(ring->kept && ring->met);
    for (uint64_t pair = 0; pair < pairs; pair++)
        ring->kept[pair] = keeps(problem, pair / problem->kv_len, pair % problem->kv_len);
}

static void draw_ring(uint64_t index, struct small_ring *ring)
{
    static const uint64_t lengths[] = {0, 1, 2, 7, 33, 50, 170}; /* keys are cut at multiples of 64 */
    static const double seconds[] = {1e-9, 1e-7, 4e-7, 1e-6, 1};
    struct dice dice = {.seed = 1000003 * index + 5};
    struct vkring_plan_params *p = &ring->params;
    const uint32_t ranks = (uint32_t)throw_dice(&dice, 8) + 1;
    *p = (struct vkring_plan_params){
        .batch = 1 + throw_dice(&dice, 2), .heads = 4, .kv_heads = throw_dice(&dice, 2) ? 2 : 4, .head_dim = 8, .backward = true};
    p->q_len = PICK(&dice, lengths);
    p->kv_len = PICK(&dice, lengths);
    p->bias = (struct vkring_bias_params){
        .present = true, .per_batch = throw_dice(&dice, 2), .per_head = throw_dice(&dice, 2), .per_query = throw_dice(&dice, 2)};
    p->layout = kinds[index % KINDS];
    pick_mask(&dice, p);
    cut_rows(&dice, p->q_len, ranks, ring->query_rows);
    cut_rows(&dice, p->kv_len, ranks, ring->key_rows);
    p->query_rows_of_rank = throw_dice(&dice, 2) ? ring->query_rows : NULL;
    p->key_rows_of_rank = throw_dice(&dice, 2) ? ring->key_rows : NULL;
    ring->dispatch_seconds = PICK(&dice, seconds);
    ck_assert_int_eq(problem_resolve(p, &ring->problem), VKRING_OK);
    ck_assert_int_eq(layout_make(0, ranks, p, &ring->layout), VKRING_OK);
    ring->steps = steps_of(&ring->problem, &ring->layout);
    make_tables(ring);
}

/* Which pairs a kind of task is to meet. */
static bool is_wanted(const struct small_ring *ring, enum task_kind kind, uint64_t row, uint64_t key)
{
    return kind == TASK_BIAS_ROWS || ring->kept[row * ring->problem.kv_len + key];
}

static void mark(struct small_ring *ring, enum task_kind kind, const struct task *task, const struct piece *piece, bool own_is_query)
{
    const struct problem *problem = &ring->problem;
    const struct layout *layout = &ring->layout;
    const struct layout_span *queries = layout_span_of(&layout->queries, layout->rank, piece->query_span);
    const struct layout_span *keys = layout_span_of(&layout->keys, layout_origin(layout, task->step), piece->key_span);
    const struct tiling_box *box = &piece->box;
    const uint64_t rows = own_is_query ? box->rows : piece->others, others = own_is_query ? piece->others : box->rows;
    for (uint64_t b = box->first_batch; b < box->first_batch + box->batch; b++)
        for (uint64_t h = box->first_head; h < box->first_head + box->heads; h++)
            for (uint64_t i = 0; i < rows; i++)
                for (uint64_t j = 0; j < others; j++) {
                    const uint64_t row = position_of(queries, i + (own_is_query ? box->first_row : piece->other_first));
                    const uint64_t key = position_of(keys, j + (own_is_query ? piece->other_first : box->first_row));
                    if (is_wanted(ring, kind, row, key))
                        ring->met[((b * problem->heads + h) * problem->q_len + row) * problem->kv_len + key]++;
                }
}

static bool all_met_once(struct small_ring *ring, enum task_kind kind, uint64_t batch, uint64_t heads)
{
    const struct problem *problem = &ring->problem;
    bool good = true;
    for (uint64_t b = 0; b < problem->batch; b++)
        for (uint64_t h = 0; h < problem->heads; h++)
            for (uint64_t i = 0; i < problem->q_len; i++)
                for (uint64_t j = 0; j < problem->kv_len; j++) {
                    const bool wanted = b < batch && h < heads && is_wanted(ring, kind, i, j);
                    good = good && ring->met[((b * problem->heads + h) * problem->q_len + i) * problem->kv_len + j] == wanted;
                }
    memset(ring->met, 0, problem->batch * problem->heads * problem->q_len * problem->kv_len);
    return good;
}

/* Whether pieces of a box come in order: the first starts it, the last ends it, and none comes after that. */
struct box_story {
    bool begun, ended;
};

static bool tell(struct box_story *story, const struct piece *piece)
{
    const bool good = piece->first == !story->begun && !story->ended;
    story->begun = true;
    story->ended = piece->last;
    return good;
}

static void walk_queries(struct small_ring *ring, enum spirv_kernel which, enum task_kind kind)
{
    const struct vkring_device device = small_device();
    struct query_walk walk = {0};
    struct box_story stories[4096] = {{0}};
    bool good = true;
    query_walk_tile(&walk, &device, which, &ring->problem, &ring->layout, &small_choice, true, ring->dispatch_seconds);
    ck_assert_uint_le(walk.boxes, 4096);
    ck_assert_int_eq(query_walk_find_steps(&walk, &ring->problem, &ring->layout, ring->steps), VKRING_OK);
    for (uint32_t step = 0; walk.boxes > 0 && step < ring->steps; step++) {
        const struct task task = {.kind = kind, .step = step};
        struct piece_cursor at = {0};
        struct piece piece;
        while (!piece_is_done(&ring->layout, &task, &at)) {
            const uint64_t box = at.box;
            if (!piece_take_of_queries(&ring->problem, &ring->layout, &task, &walk, &at, &piece))
                continue;
            good = tell(&stories[box], &piece) && good;
            mark(ring, kind, &task, &piece, true);
        }
    }
    for (uint64_t box = 0; box < walk.boxes; box++)
        good = good && stories[box].ended;
    free(walk.box_steps);
    ck_assert(good);
}

/* Boxes of keys follow each other: each ends before the next begins. */
static void walk_keys(struct small_ring *ring, const struct task *task)
{
    const struct vkring_device device = small_device();
    const struct backward backward = {.choice = small_choice, .dispatch_seconds = ring->dispatch_seconds};
    struct piece_cursor at = {0};
    struct piece piece;
    struct box_story story = {0};
    uint64_t boxes = 0, ended = 0;
    bool good = true;
    for (uint32_t span = 0; span < ring->layout.keys.count; span++) {
        const uint64_t keys = piece_key_span(&ring->layout, task, span)->rows;
        const struct tiling tiling = backward_tiling(&backward, &device, &ring->problem, &ring->layout, task->kind, keys);
        boxes += keys ? piece_boxes_of(task, tiling.boxes).count : 0;
    }
    while (!piece_is_done(&ring->layout, task, &at)) {
        const uint64_t keys = piece_key_span(&ring->layout, task, at.key_span)->rows;
        struct tiling tiling = {0};
        if (keys)
            tiling = backward_tiling(&backward, &device, &ring->problem, &ring->layout, task->kind, keys);
        if (!piece_take_of_keys(&ring->problem, &ring->layout, task, &tiling, &at, &piece))
            continue;
        good = tell(&story, &piece) && good;
        mark(ring, task->kind, task, &piece, false);
        if (story.ended) {
            ended++;
            story = (struct box_story){0};
        }
    }
    ck_assert(good && !story.begun && ended == boxes);
}

static void walk_backward(struct small_ring *ring, enum task_kind kind, bool joint)
{
    struct program program = {0};
    ck_assert_int_eq(program_make_backward(&ring->problem, &ring->layout, ring->steps, joint, &program), VKRING_OK);
    for (uint64_t i = 0; i < program.count; i++)
        if (program.tasks[i].kind == kind)
            walk_keys(ring, &program.tasks[i]);
    program_free(&program);
}

static bool keys_meet_once(struct small_ring *ring, enum task_kind kind, bool joint, uint64_t batch, uint64_t heads)
{
    for (ring->layout.rank = 0; ring->layout.rank < ring->layout.ranks; ring->layout.rank++)
        walk_backward(ring, kind, joint);
    return all_met_once(ring, kind, batch, heads);
}

static bool queries_meet_once(struct small_ring *ring, enum spirv_kernel which, enum task_kind kind)
{
    for (ring->layout.rank = 0; ring->layout.rank < ring->layout.ranks; ring->layout.rank++)
        walk_queries(ring, which, kind);
    return all_met_once(ring, kind, ring->problem.batch, ring->problem.heads);
}

START_TEST(pieces_meet_every_kept_pair_once)
{
    for (uint64_t i = 0; i < 30; i++) {
        struct small_ring ring = {0};
        draw_ring(30 * (uint64_t)_i + i, &ring);
        const struct problem *problem = &ring.problem;
        const struct vkring_bias_params *bias = &problem->bias;
        bool good = queries_meet_once(&ring, SPIRV_FORWARD, TASK_FORWARD) && queries_meet_once(&ring, SPIRV_QUERY_GRADIENT, TASK_QUERY) &&
                    keys_meet_once(&ring, TASK_KEY, false, problem->batch, problem->kv_heads) &&
                    keys_meet_once(&ring, TASK_KEY, true, problem->batch, problem->kv_heads);
        /* where steps are left out, all of a bias per query is cleared before */
        if (!bias->per_query || ring.steps == ring.layout.ranks)
            good = good && keys_meet_once(&ring, bias->per_query ? TASK_BIAS_ROWS : TASK_BIAS_KEYS, i % 2,
                                          bias->per_batch ? problem->batch : 1, bias->per_head ? problem->heads : 1);
        ck_assert_msg(good, "ring %d: %u ranks, layout %d", 30 * _i + (int)i, ring.layout.ranks, (int)ring.layout.kind);
        layout_free(&ring.layout);
        free(ring.kept);
        free(ring.met);
    }
}
END_TEST

/* Large rings, by arithmetic ----------------------------------------------------------------------------------------------- */

/* Of odd lengths; uneven, with ranks that have none, if shares are. */
struct large_ring {
    struct vkring_plan_params params;
    struct problem problem;
    struct layout layout;
    uint64_t *rows;
};

static void make_large(struct large_ring *ring, enum vkring_layout kind, uint32_t ranks, bool uneven, int64_t window_left)
{
    const uint64_t each[] = {40, 0, 61, 40};
    uint64_t sum = 0;
    ring->rows = calloc(ranks, sizeof(*ring->rows));
    ck_assert_ptr_nonnull(ring->rows);
    for (uint32_t rank = 0; rank < ranks; rank++)
        sum += ring->rows[rank] = each[(rank * 7919u >> 3) % 4];
    ring->params = (struct vkring_plan_params){.batch = 1,
                                               .q_len = uneven ? sum : 37 * (uint64_t)ranks + 1,
                                               .kv_len = 41 * (uint64_t)ranks + 17,
                                               .heads = 1,
                                               .head_dim = 8,
                                               .causal = true,
                                               .has_window = true,
                                               .window_left = window_left,
                                               .window_right = -1,
                                               .query_rows_of_rank = uneven ? ring->rows : NULL,
                                               .layout = kind};
    ck_assert_int_eq(problem_resolve(&ring->params, &ring->problem), VKRING_OK);
    ck_assert_int_eq(layout_make(0, ranks, &ring->params, &ring->layout), VKRING_OK);
}

static void free_large(struct large_ring *ring)
{
    layout_free(&ring->layout);
    free(ring->rows);
}

/* That a rank's rows keep of all keys. */
static double pairs_of_rank(const struct large_ring *ring, uint32_t rank)
{
    const struct layout_span all = {.rows = ring->problem.kv_len, .stride = 1};
    double pairs = 0;
    for (uint32_t i = 0; i < ring->layout.queries.count; i++) {
        const struct mask_block block = layout_block(layout_span_of(&ring->layout.queries, rank, i), &all);
        pairs += mask_kept_pairs(&ring->problem, &block);
    }
    return pairs;
}

static double pairs_of_steps(const struct large_ring *ring, uint32_t rank, uint32_t steps)
{
    double pairs = 0;
    for (uint32_t step = 0; step < steps; step++)
        pairs += kept_pairs(&ring->problem, &ring->layout, rank, step);
    return pairs;
}

static double pairs_of_pieces(const struct large_ring *ring, uint32_t steps)
{
    const struct vkring_device device = small_device();
    const struct layout *layout = &ring->layout;
    struct query_walk walk = {0};
    double pairs = 0;
    query_walk_tile(&walk, &device, SPIRV_FORWARD, &ring->problem, layout, &small_choice, true, 1e-6);
    ck_assert_int_eq(query_walk_find_steps(&walk, &ring->problem, layout, steps), VKRING_OK);
    for (uint32_t step = 0; walk.boxes > 0 && step < steps; step++) {
        const struct task task = {.kind = TASK_FORWARD, .step = step};
        struct piece_cursor at = {0};
        struct piece piece;
        while (!piece_is_done(layout, &task, &at)) {
            if (!piece_take_of_queries(&ring->problem, layout, &task, &walk, &at, &piece))
                continue;
            const struct layout_span *queries = layout_span_of(&layout->queries, layout->rank, piece.query_span);
            const struct layout_span *keys = layout_span_of(&layout->keys, layout_origin(layout, step), piece.key_span);
            const struct mask_block block = {position_of(queries, piece.box.first_row),
                                             piece.box.rows,
                                             position_of(keys, piece.other_first),
                                             piece.others,
                                             queries->stride,
                                             keys->stride};
            pairs += mask_kept_pairs(&ring->problem, &block);
        }
    }
    free(walk.box_steps);
    return pairs;
}

static void check_large(enum vkring_layout kind, uint32_t ranks, bool uneven, int64_t window_left)
{
    struct large_ring ring;
    make_large(&ring, kind, ranks, uneven, window_left);
    const uint32_t steps = steps_of(&ring.problem, &ring.layout);
    for (uint64_t look = 0; look < 3; look++) {
        const uint32_t rank = ring.layout.rank = rank_at(&ring.layout, look * 2741);
        const double all = pairs_of_rank(&ring, rank);
        ck_assert_double_eq(pairs_of_steps(&ring, rank, steps), all);
        ck_assert_double_eq(pairs_of_pieces(&ring, steps), all);
    }
    free_large(&ring);
}

START_TEST(steps_meet_every_kept_pair_of_a_rank)
{
    const uint32_t ranks = many_ranks[_i];
    for (int kind = 0; kind < KINDS; kind++) {
        check_large(kinds[kind], ranks, false, -1);
        check_large(kinds[kind], ranks, true, -1);
        check_large(kinds[kind], ranks, true, 100);
    }
}
END_TEST

/* Routes ------------------------------------------------------------------------------------------------------------------- */

START_TEST(packets_come_from_the_rank_before)
{
    const struct layout layout = {.ranks = many_ranks[_i]};
    for (uint64_t look = 0; look < 200; look++) {
        const uint32_t rank = rank_at(&layout, look * 7919), step = rank_at(&layout, look * 104729);
        const struct layout next = {.rank = rank, .ranks = layout.ranks};
        ck_assert_uint_eq(layout_origin_of(&layout, rank, 0), rank);
        if (step + 1 < layout.ranks)
            ck_assert_uint_eq(layout_origin_of(&layout, layout_next(&next), step + 1), layout_origin_of(&layout, rank, step));
    }
}
END_TEST

/* A sum of gradients from where it begins to its packet's owner: every rank that met the packet adds to it, once. */
static bool comes_home(const struct layout *layout, uint32_t owner, uint32_t steps)
{
    uint32_t rank = layout_origin_of(layout, owner, layout->ranks - 1);
    for (uint32_t step = 1; step < steps; step++) {
        const uint32_t target = schedule_gradient_target(layout, rank, steps, step);
        if (layout_origin_of(layout, rank, step) != owner || schedule_gradient_owner(layout, rank, steps, step) != owner ||
            schedule_gradient_owner(layout, target, steps, step + 1) != owner ||
            schedule_gradient_source(layout, target, steps, step + 1) != rank)
            return false;
        rank = target;
    }
    return steps == 1 || rank == owner;
}

START_TEST(gradients_come_home)
{
    const struct layout layout = {.ranks = many_ranks[_i]};
    for (uint64_t look = 0; look < 60; look++) {
        const uint32_t owner = rank_at(&layout, look * 7919), steps = 1 + rank_at(&layout, look * 104729);
        ck_assert(comes_home(&layout, owner, steps));
        ck_assert(comes_home(&layout, owner, layout.ranks));
    }
}
END_TEST

/* As many hops as shards that the window reaches into. */
START_TEST(windows_stop_where_they_end)
{
    const uint32_t ranks = many_ranks[_i];
    static const uint64_t reaches[] = {0, 1, 15, 16, 17, 40, 1000};
    for (size_t i = 0; i < sizeof(reaches) / sizeof(reaches[0]); i++) {
        const uint64_t rows = 16 * (uint64_t)ranks;
        struct problem problem;
        struct layout layout;
        const struct vkring_plan_params params = {.batch = 1,
                                                  .q_len = rows,
                                                  .kv_len = rows,
                                                  .heads = 1,
                                                  .head_dim = 8,
                                                  .causal = true,
                                                  .has_window = true,
                                                  .window_left = (int64_t)reaches[i],
                                                  .window_right = -1,
                                                  .layout = VKRING_LAYOUT_AUTO};
        ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
        ck_assert_int_eq(layout_make(0, ranks, &params, &layout), VKRING_OK);
        ck_assert_int_eq(layout.kind, VKRING_LAYOUT_CONTIGUOUS);
        ck_assert_uint_eq(steps_of(&problem, &layout), min_u64(1 + divide_up(reaches[i], 16), ranks));
        layout_free(&layout);
    }
}
END_TEST

/* A stripe keeps of the packet of the rank s before it what lies s back. */
START_TEST(windows_of_stripes_reach_as_many_ranks_as_rows)
{
    const uint32_t ranks = many_ranks[_i];
    static const uint64_t reaches[] = {0, 1, 5, 100};
    for (size_t i = 0; i < sizeof(reaches) / sizeof(reaches[0]); i++) {
        struct large_ring ring;
        make_large(&ring, VKRING_LAYOUT_STRIPED, ranks, false, (int64_t)reaches[i]);
        ring.problem.query_offset = 0;
        ck_assert_uint_eq(steps_of(&ring.problem, &ring.layout), min_u64(1 + reaches[i], ranks));
        free_large(&ring);
    }
}
END_TEST

/* Balance ------------------------------------------------------------------------------------------------------------------ */

struct balance {
    double critical;   /* pairs of the slowest rank of each step, summed */
    double mean;       /* of the mean rank */
    double unevenness; /* the largest step over its mean, after step 0 */
};

static struct balance balance_of(enum vkring_layout kind, uint32_t ranks, uint64_t rows_of_rank)
{
    struct balance balance = {.unevenness = 1};
    struct problem problem;
    struct layout layout;
    const uint64_t rows = ranks * rows_of_rank;
    const struct vkring_plan_params params = {
        .batch = 1, .q_len = rows, .kv_len = rows, .heads = 1, .head_dim = 8, .causal = true, .layout = kind};
    ck_assert_int_eq(problem_resolve(&params, &problem), VKRING_OK);
    ck_assert_int_eq(layout_make(0, ranks, &params, &layout), VKRING_OK);
    for (uint32_t step = 0; step < ranks; step++) {
        double most = 0, all = 0;
        for (uint32_t rank = 0; rank < ranks; rank++) {
            const double pairs = kept_pairs(&problem, &layout, rank, step);
            most = fmax(most, pairs);
            all += pairs;
        }
        balance.critical += most;
        balance.mean += all / ranks;
        if (step > 0)
            balance.unevenness = fmax(balance.unevenness, most * ranks / all);
    }
    layout_free(&layout);
    return balance;
}

/*
 * Zigzag steps are even; those of stripes differ by the diagonal, so that the slowest has c(c + 1) / 2 of c rows each time; of contiguous
 * rows some rank has a whole square at every step but the first.
 */
START_TEST(steps_are_as_even_as_theory_says)
{
    const uint32_t ranks = many_ranks[_i];
    const double c = 12, triangle = c * (c + 1) / 2, others = (double)ranks - 1;
    const struct balance contiguous = balance_of(VKRING_LAYOUT_CONTIGUOUS, ranks, 12);
    const struct balance zigzag = balance_of(VKRING_LAYOUT_ZIGZAG, ranks, 12);
    const struct balance striped = balance_of(VKRING_LAYOUT_STRIPED, ranks, 12);
    ck_assert_double_eq(zigzag.unevenness, 1);
    ck_assert_double_eq_tol(zigzag.critical, zigzag.mean, 1e-9 * zigzag.mean);
    ck_assert_double_eq(zigzag.critical, triangle + others * c * c / 2);
    ck_assert_double_eq(striped.critical, triangle + others * triangle);
    ck_assert_double_le(striped.unevenness, (c + 1) / (c - 1));
    ck_assert_double_eq(contiguous.critical, triangle + others * c * c);
    ck_assert_double_eq_tol(contiguous.unevenness, ranks > 1 ? ranks : 1, 1e-9 * ranks);
}
END_TEST

/* In mask cells, of 48 rows on 4 ranks. */
START_TEST(critical_paths)
{
    ck_assert_double_eq(balance_of(VKRING_LAYOUT_CONTIGUOUS, 4, 12).critical, 510);
    ck_assert_double_eq(balance_of(VKRING_LAYOUT_STRIPED, 4, 12).critical, 312);
    ck_assert_double_eq(balance_of(VKRING_LAYOUT_ZIGZAG, 4, 12).critical, 294);
}
END_TEST

START_TEST(auto_is_what_it_says)
{
    for (int choice = 0; choice < 24; choice++) {
        const uint32_t ranks = choice & 1 ? 5 : 1;
        struct vkring_rank_rows rows;
        struct vkring_plan_params params = {.q_len = 48, .kv_len = 48, .causal = choice & 2, .layout = VKRING_LAYOUT_AUTO};
        params.has_window = choice & 4;
        params.window_left = choice / 8 - 1;
        params.window_right = -1;
        const bool zigzag = ranks > 1 && params.causal && (!params.has_window || params.window_left < 0);
        ck_assert_int_eq(vkring_rows_of_rank(&params, ranks, 0, &rows), VKRING_OK);
        ck_assert_int_eq(rows.layout, zigzag ? VKRING_LAYOUT_ZIGZAG : VKRING_LAYOUT_CONTIGUOUS);
    }
}
END_TEST

int main(void)
{
    enum { NOT_SO_MANY = MANY_RANKS - 2 }; /* where every rank is looked at in every step */
    Suite *suite = suite_create("schedule");
    TCase *pieces = tcase_create("pieces"), *routes = tcase_create("routes"), *balance = tcase_create("balance");
    tcase_add_loop_test(pieces, pieces_meet_every_kept_pair_once, 0, 10);
    tcase_add_loop_test(pieces, steps_meet_every_kept_pair_of_a_rank, 0, MANY_RANKS);
    tcase_add_loop_test(routes, packets_come_from_the_rank_before, 0, MANY_RANKS);
    tcase_add_loop_test(routes, gradients_come_home, 0, MANY_RANKS);
    tcase_add_loop_test(routes, windows_stop_where_they_end, 0, MANY_RANKS);
    tcase_add_loop_test(routes, windows_of_stripes_reach_as_many_ranks_as_rows, 0, NOT_SO_MANY);
    tcase_add_loop_test(balance, steps_are_as_even_as_theory_says, 0, NOT_SO_MANY);
    tcase_add_test(balance, critical_paths);
    tcase_add_test(balance, auto_is_what_it_says);
    suite_add_tcase(suite, pieces);
    suite_add_tcase(suite, routes);
    suite_add_tcase(suite, balance);
    return suite_run(suite);
}
