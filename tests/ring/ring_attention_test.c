/* SPDX-License-Identifier: MIT */
/* Attention around the ring, forward and backward: right on every rank, as exact as on one, and the same bits again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <base/clock.h>

#include "../harness/case_tensors.h"
#include "world.h"

/* The device as it is, and ones to which packets have to be uploaded: each rank has one, and neighbours have others. What takes longest is
 * to create kernels, of which every device has its own. */
enum { AS_IT_IS, NOT_UNIFIED, NOT_COHERENT, VARIANTS };
/* Up to so many ranks named cases run forward alone, too. */
#define RANKS_OF_EVERY_RUN 3
static vkring_device *device;
static vkring_comm *comm;

static const struct attention_case cases[] = {
    {.name = "plain", .params = {.batch = 2, .q_len = 200, .kv_len = 200, .heads = 2, .head_dim = 16}},
    {.name = "causal", .params = {.batch = 2, .q_len = 333, .kv_len = 333, .heads = 2, .head_dim = 16, .causal = true}},
    {.name = "zigzag",
     .params = {.batch = 2, .q_len = 333, .kv_len = 333, .heads = 2, .head_dim = 16, .causal = true, .layout = VKRING_LAYOUT_ZIGZAG}},
    {.name = "zigzag after a cache",
     .params =
         {.batch = 1, .q_len = 65, .kv_len = 333, .heads = 4, .kv_heads = 2, .head_dim = 16, .layout = VKRING_LAYOUT_AUTO, .causal = true}},
    {.name = "zigzag, fewer rows than ranks",
     .params = {.batch = 1, .q_len = 2, .kv_len = 3, .heads = 2, .head_dim = 16, .layout = VKRING_LAYOUT_ZIGZAG}},
    {.name = "zigzag, cut finely",
     .params =
         {.batch = 2, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 16, .layout = VKRING_LAYOUT_ZIGZAG, .dispatch_seconds = 1e-9}},
    {.name = "after a cache",
     .params = {.batch = 1, .q_len = 65, .kv_len = 333, .heads = 4, .kv_heads = 2, .head_dim = 16, .causal = true}},
    {.name = "fewer rows than ranks", .params = {.batch = 1, .q_len = 2, .kv_len = 3, .heads = 2, .head_dim = 16}},
    {.name = "one row", .params = {.batch = 1, .q_len = 1, .kv_len = 1, .heads = 2, .head_dim = 16, .causal = true}},
    {.name = "one query", .params = {.batch = 1, .q_len = 1, .kv_len = 127, .heads = 2, .head_dim = 16}},
    {.name = "one key", .params = {.batch = 1, .q_len = 127, .kv_len = 1, .heads = 2, .head_dim = 16}},
    {.name = "no queries", .params = {.batch = 1, .q_len = 0, .kv_len = 127, .heads = 2, .head_dim = 16}},
    {.name = "no keys", .params = {.batch = 1, .q_len = 127, .kv_len = 0, .heads = 2, .head_dim = 16}},
    {.name = "no batch", .params = {.batch = 0, .q_len = 127, .kv_len = 127, .heads = 2, .head_dim = 16}},
    {.name = "no batch, a bias that all share",
     .params = {.batch = 0, .q_len = 127, .kv_len = 127, .heads = 2, .head_dim = 16, .bias = {.present = true, .per_head = true}}},
    {.name = "first rows keep nothing",
     .params = {.batch = 1,
                .q_len = 127,
                .kv_len = 127,
                .heads = 2,
                .head_dim = 16,
                .causal = true,
                .has_query_offset = true,
                .query_offset = -50}},
    {.name = "nothing kept",
     .params = {.batch = 1,
                .q_len = 127,
                .kv_len = 127,
                .heads = 2,
                .head_dim = 16,
                .causal = true,
                .has_query_offset = true,
                .query_offset = INT64_MIN}},
    {.name = "block gaps", .inputs = INPUTS_BLOCK_GAPS, .params = {.batch = 1, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 16}},
    {.name = "big logits", .inputs = INPUTS_BIG_LOGITS, .params = {.batch = 1, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 16}},
    {.name = "huge key", .inputs = INPUTS_HUGE_KEY, .params = {.batch = 1, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 16}},
    {.name = "values one", .inputs = INPUTS_VALUES_ONE, .params = {.batch = 1, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 16}},
    {.name = "one-hot", .inputs = INPUTS_ONE_HOT, .params = {.batch = 1, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 16}},
    {.name = "many small chunks",
     .params = {.batch = 2, .q_len = 63, .kv_len = 127, .heads = 2, .head_dim = 16, .value_dim = 3, .chunk_bytes = 48}},
    {.name = "chunks of one byte", .params = {.batch = 1, .q_len = 7, .kv_len = 15, .heads = 1, .head_dim = 4, .chunk_bytes = 1}},
    {.name = "cut finely",
     .params = {.batch = 2, .q_len = 127, .kv_len = 333, .heads = 2, .head_dim = 16, .causal = true, .dispatch_seconds = 1e-9}},
    {.name = "f16, padded",
     .placement = {ORDER_PADDED, .padding = 3},
     .params = {.type = VKRING_TYPE_F16,
                .batch = 2,
                .q_len = 65,
                .kv_len = 200,
                .heads = 4,
                .kv_heads = 1,
                .head_dim = 33,
                .value_dim = 7,
                .causal = true}},
    {.name = "bf16, heads before rows",
     .placement = {ORDER_HEADS_FIRST, .offset_elements = 1},
     .params = {.type = VKRING_TYPE_BF16, .batch = 2, .q_len = 65, .kv_len = 200, .heads = 2, .head_dim = 16}},
    {.name = "f32, padded oddly",
     .placement = {ORDER_PADDED, .padding = 1},
     .params = {.batch = 2, .q_len = 65, .kv_len = 200, .heads = 2, .head_dim = 16, .causal = true}},
    {.name = "copied by head",
     .params = {.batch = 2,
                .q_len = 127,
                .kv_len = 333,
                .heads = 4,
                .kv_heads = 2,
                .head_dim = 16,
                .causal = true,
                .layout = VKRING_LAYOUT_ZIGZAG,
                .kernels = "copy_worth_rows=1"}},
    {.name = "striped",
     .params = {.batch = 2, .q_len = 333, .kv_len = 333, .heads = 2, .head_dim = 16, .causal = true, .layout = VKRING_LAYOUT_STRIPED}},
    {.name = "striped, fewer rows than ranks",
     .params = {.batch = 1, .q_len = 2, .kv_len = 3, .heads = 2, .head_dim = 16, .causal = true, .layout = VKRING_LAYOUT_STRIPED}},
};

static bool can_run(const struct attention_case *c)
{
    return case_is_supported(c, device->limits.storage_16bit);
}

static int variant_of_rank(void)
{
    return (int)((world_rank + world_size) % VARIANTS);
}

static bool passes_everywhere(const struct attention_case *c)
{
    return world_agrees(world_expect(case_passes(c, device, comm), "on device variant %d", variant_of_rank()));
}

START_TEST(a_named_case)
{
    struct attention_case c = cases[_i];
    c.seed = (uint64_t)_i;
    c.params.timeout_seconds = 300;
    if (!can_run(&c))
        return;
    if (world_size <= RANKS_OF_EVERY_RUN)
        ck_assert_msg(passes_everywhere(&c), "%s", c.name);
    c.params.backward = c.inputs != INPUTS_VALUES_ONE; /* whose gradients are nothing but rounding */
    ck_assert_msg(passes_everywhere(&c), "%s", c.name);
}
END_TEST

/* All of the keys and of the queries, each on one rank, any number of ranks apart. */
START_TEST(one_rank_holds_all)
{
    uint64_t queries[64] = {0}, keys[64] = {0};
    struct attention_case c = {.name = "one rank holds all",
                               .seed = 3,
                               .params = {.batch = 1, .q_len = 127, .kv_len = 200, .heads = 2, .head_dim = 16, .causal = true}};
    c.params.query_rows_of_rank = queries;
    c.params.key_rows_of_rank = keys;
    c.params.timeout_seconds = 300;
    c.params.backward = true;
    queries[_i] = c.params.q_len;
    keys[2 * (uint32_t)_i % world_size] = c.params.kv_len;
    ck_assert(passes_everywhere(&c));
}
END_TEST

START_TEST(a_random_case)
{
    uint64_t rows[2 * 64];
    struct attention_case c = case_random(environment_number("VKRING_TEST_SEED", 2026), (uint64_t)_i, world_size, rows);
    c.params.timeout_seconds = 300;
    if (can_run(&c))
        ck_assert_msg(passes_everywhere(&c), "case %d", _i);
}
END_TEST

/* Of a tensor of this rank, and of the same rows of a result that has all of them. */
struct error_squares {
    double own, whole;
};

static struct error_squares error_squares(const struct attention_case *c, enum case_tensor tensor, const double *reference,
                                          const struct case_result *own, const float *mine, const float *whole)
{
    const struct case_slice slice = case_slice(c, &own->info, tensor);
    const uint64_t count = case_slice_count(c, &own->info, tensor);
    double *exact = malloc((count + 1) * sizeof(*exact));
    float *part = malloc((count + 1) * sizeof(*part));
    struct error_squares squares = {0};
    if (!exact || !part)
        abort();
    case_take_slice(&slice, sizeof(*exact), reference, exact);
    case_take_slice(&slice, sizeof(*part), whole, part);
    for (uint64_t i = 0; i < count; i++) {
        squares.own += pow((double)mine[i] - exact[i], 2);
        squares.whole += pow((double)part[i] - exact[i], 2);
    }
    free(exact);
    free(part);
    return squares;
}

static bool grows(const struct attention_case *c, enum case_tensor tensor, const struct error_squares *squares)
{
    const double one = sqrt(world_sum(squares->whole)), many = sqrt(world_sum(squares->own));
    return !world_expect(many <= 1.05 * one, "%s, type %d: error %.4g on %u ranks, %.4g on one", case_tensor_name(tensor),
                         (int)c->params.type, many, world_size, one);
}

static void add_every_option(struct attention_case *c)
{
    c->bias = BIAS_MASKS_SOME;
    c->params.causal_block = 3;
    c->params.has_window = true;
    c->params.window_left = 300;
    c->params.window_right = 8;
    c->params.softcap = 3;
    c->params.alibi = true;
    c->params.sinks = true;
    c->params.segment_ids = true;
    c->params.dropout = 0.2;
    c->params.bias = (struct vkring_bias_params){.present = true, .per_head = true};
}

/* Of all tensors but the few numbers of sinks, or of these alone. */
static void expect_no_growth(const struct attention_case *c, bool sinks)
{
    struct case_data data = {0};
    struct case_result alone = {0}, around = {0};
    if (!can_run(c))
        return;
    bool ran = case_make_data(c, &data) && case_run(c, device, NULL, &data, &alone);
    ran = world_agrees(ran) && case_run(c, device, comm, &data, &around);
    ran = world_agrees(ran) && case_refer(c, &data, &around.info.rows);
    ck_assert(world_agrees(ran));
    struct error_squares squares = error_squares(c, OUTPUT, data.output, &around, around.output, alone.output);
    bool good = !grows(c, OUTPUT, &squares);
    for (int g = 0; g < GRADIENTS; g++) {
        const enum case_tensor tensor = QUERY_GRAD + (enum case_tensor)g;
        if (!case_has(c, tensor) || (tensor == SINK_GRAD) != sinks)
            continue;
        squares = error_squares(c, tensor, data.gradients[g], &around, around.gradients[g], alone.gradients[g]);
        good = !grows(c, tensor, &squares) && good;
    }
    ck_assert(good);
    case_free_result(&alone);
    case_free_result(&around);
    case_free_data(&data);
}

/*
 * Of each type: full, causal, with every option, and these zigzag; and causal stripes of one type. Many heads of few dimensions: compilers
 * of CPUs take seconds for many.
 */
START_TEST(the_error_does_not_grow_with_the_ring)
{
    struct attention_case c = {.name = "error growth",
                               .seed = 77,
                               .params = {.type = (enum vkring_type)(_i % 3),
                                          .batch = 1,
                                          .q_len = 512,
                                          .kv_len = 512,
                                          .heads = 16,
                                          .head_dim = 16,
                                          .causal = _i >= 3,
                                          .backward = true,
                                          .timeout_seconds = 300}};
    if (_i / 3 == 2 || _i / 3 == 4)
        add_every_option(&c);
    if (_i >= 9)
        c.params.layout = _i >= 15 ? VKRING_LAYOUT_STRIPED : VKRING_LAYOUT_ZIGZAG;
    expect_no_growth(&c, false);
}
END_TEST

/* Of as many heads as make an error that is not luck. */
START_TEST(the_error_of_sinks_does_not_grow_with_the_ring)
{
    const struct attention_case c = {.name = "error growth of sinks",
                                     .seed = 78,
                                     .params = {.type = (enum vkring_type)_i,
                                                .batch = 1,
                                                .q_len = 60,
                                                .kv_len = 60,
                                                .heads = 2048,
                                                .head_dim = 4,
                                                .sinks = true,
                                                .backward = true,
                                                .timeout_seconds = 300}};
    expect_no_growth(&c, true);
}
END_TEST

/* Also when ranks come late, each at another time. */
START_TEST(the_same_bits_again)
{
    struct attention_case c = {.name = "repeated",
                               .seed = 8,
                               .params = {.batch = 2,
                                          .q_len = 200,
                                          .kv_len = 333,
                                          .heads = 2,
                                          .head_dim = 16,
                                          .causal = true,
                                          .sinks = true,
                                          .bias = {.present = true, .per_head = true},
                                          .backward = true,
                                          .chunk_bytes = 1000,
                                          .timeout_seconds = 300}};
    struct case_data data = {0};
    struct case_result results[4] = {0};
    vkring_plan *plan = NULL;
    ck_assert(world_agrees(case_make_data(&c, &data)));
    ck_assert(world_agrees(vkring_plan_create(device, comm, &c.params, &plan) == VKRING_OK));
    bool same = true;
    for (int i = 0; i < 4; i++) {
        clock_sleep(i == 0 ? 0 : 0.05 * ((world_rank * 3 + (uint32_t)i) % 4));
        same = world_agrees(case_run_plan(&c, device, plan, &data, &results[i]));
        ck_assert(same);
    }
    for (int i = 1; i < 4; i++)
        same = same && case_same_bits(&c, &results[0], &results[i]);
    vkring_plan_destroy(&plan);
    for (int i = 0; i < 4; i++)
        case_free_result(&results[i]);
    case_free_data(&data);
    ck_assert(world_agrees(same));
}
END_TEST

/* Of keys and values, and of their gradients. */
static uint64_t packet_bytes(const struct attention_case *c, uint64_t rows)
{
    return rows * c->params.batch * c->params.heads * (c->params.head_dim + c->params.head_dim) * sizeof(float);
}

static bool expect_bytes(const char *what, uint64_t bytes, uint64_t payload, uint64_t packets)
{
    return world_expect(bytes >= payload && bytes <= payload + 128 * packets, "%s %llu bytes, not %llu in %llu packets", what,
                        (unsigned long long)bytes, (unsigned long long)payload, (unsigned long long)packets);
}

/*
 * All packets but the last one pass through: those of all ranks but the next are sent, of all but this one received. Gradients of all keys
 * but this rank's are sent, and of all but those of the rank before received, as those begin here.
 */
START_TEST(stats_count_what_moved)
{
    struct attention_case c = {
        .name = "stats",
        .seed = 9,
        .params = {.batch = 2, .q_len = 100, .kv_len = 333, .heads = 2, .head_dim = 16, .backward = _i == 1, .timeout_seconds = 300}};
    struct case_data data = {0};
    struct case_result result = {0};
    ck_assert(world_agrees(case_make_data(&c, &data) && case_run(&c, device, comm, &data, &result)));
    const struct vkring_run_stats *s = &result.stats;
    const uint64_t kv_len = c.params.kv_len, own = result.info.rows.key_rows, hops = world_size - 1;
    const uint64_t next = (world_rank + 1) % world_size, before = (world_rank + hops) % world_size;
    const uint64_t next_rows = kv_len * (next + 1) / world_size - kv_len * next / world_size;
    const uint64_t rows_before = kv_len * (before + 1) / world_size - kv_len * before / world_size;
    uint64_t sent = packet_bytes(&c, kv_len - next_rows), received = packet_bytes(&c, kv_len - own);
    if (c.params.backward && world_size > 1) {
        sent += packet_bytes(&c, kv_len - own);
        received += packet_bytes(&c, kv_len - rows_before);
    }
    const double flop = 4.0 * 2 * 2 * (double)result.info.rows.query_rows * 333 * 16 * (c.params.backward ? 2.5 : 1);
    bool good =
        expect_bytes("sent", s->sent_bytes, sent, 2 * hops) && expect_bytes("received", s->received_bytes, received, 2 * hops) &&
        world_expect(s->steps == world_size, "%u steps", s->steps) && world_expect(s->flop == flop, "%g flop", s->flop) &&
        world_expect(s->total_seconds >= s->exposed_wait_seconds && s->total_seconds >= s->transfer_seconds, "seconds do not add up");
    case_free_result(&result);
    case_free_data(&data);
    ck_assert(world_agrees(good));
}
END_TEST

/* A window that reaches back by less than a rank's rows needs the packet of one neighbour, whatever the number of ranks. */
START_TEST(a_window_moves_packets_as_far_as_it_reaches)
{
    struct attention_case c = {.name = "window",
                               .seed = 10,
                               .params = {.batch = 1,
                                          .q_len = 60 * world_size,
                                          .kv_len = 60 * world_size,
                                          .heads = 2,
                                          .head_dim = 16,
                                          .causal = true,
                                          .layout = VKRING_LAYOUT_AUTO,
                                          .has_window = true,
                                          .window_left = (int64_t[]){0, 50, 61}[_i % 3],
                                          .backward = _i >= 3,
                                          .window_right = -1,
                                          .timeout_seconds = 300}};
    const uint32_t reached = (uint32_t)_i % 3 + 1, needed = reached < world_size ? reached : world_size;
    struct case_data data = {0};
    struct case_result result = {0};
    ck_assert(passes_everywhere(&c));
    ck_assert(world_agrees(case_make_data(&c, &data) && case_run(&c, device, comm, &data, &result)));
    const uint64_t hops = (needed - 1) * (c.params.backward ? 2 : 1);
    bool good =
        world_expect(result.stats.steps == needed, "%u steps", result.stats.steps) &&
        expect_bytes("sent", result.stats.sent_bytes, hops * packet_bytes(&c, 60), hops) &&
        world_expect((result.info.packet_bytes > 0) == (hops > 0), "packet of %llu bytes", (unsigned long long)result.info.packet_bytes);
    case_free_result(&result);
    case_free_data(&data);
    ck_assert(world_agrees(good));
}
END_TEST

static vkring_device *open_variant(void)
{
    const struct vk_limit_overrides overrides[VARIANTS] = {
        [NOT_UNIFIED] = {.no_unified_memory = true},
        [NOT_COHERENT] = {.no_unified_memory = world_rank % 2 == 0, .not_coherent = true, .no_transfer_queue = true},
    };
    vkring_device *opened = test_device_open(&overrides[variant_of_rank()]);
    if (variant_of_rank() != AS_IT_IS)
        world_loosen_order(opened);
    return opened;
}

int main(int argc, char **argv)
{
    Suite *suite = suite_create("ring attention");
    TCase *named = tcase_create("named"), *drawn = tcase_create("random"), *exact = tcase_create("exact");
    world_begin_without_device(&argc, &argv);
    device = open_variant();
    comm = world_comm();
    world_share_reference();
    tcase_add_loop_test(named, a_named_case, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_loop_test(named, one_rank_holds_all, 0, (int)world_size);
    int first = (int)environment_number("VKRING_TEST_FIRST", 0);
    const uint64_t usual = world_size > 3 ? 15 : 30; /* more ranks take longer, and meet nothing else */
    tcase_add_loop_test(drawn, a_random_case, first, first + (int)environment_number("VKRING_TEST_CASES", usual));
    tcase_add_loop_test(exact, the_error_does_not_grow_with_the_ring, 0, 16);
    tcase_add_loop_test(exact, the_error_of_sinks_does_not_grow_with_the_ring, 0, 3);
    tcase_add_test(exact, the_same_bits_again);
    tcase_add_loop_test(exact, stats_count_what_moved, 0, 2);
    tcase_add_loop_test(exact, a_window_moves_packets_as_far_as_it_reaches, 0, 6);
    suite_add_tcase(suite, named);
    suite_add_tcase(suite, drawn);
    suite_add_tcase(suite, exact);
    return world_end(suite, &device, 1, &comm);
}
