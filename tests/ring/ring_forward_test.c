/* SPDX-License-Identifier: MIT */
/* Attention around the ring: right on every rank, as exact as on one, and the same bits again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <base/clock.h>

#include "world.h"

/* The device as it is, and ones to which packets have to be uploaded. */
enum { AS_IT_IS, NOT_UNIFIED, NOT_COHERENT, DEVICES };
static vkring_device *devices[DEVICES];
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
};

static bool can_run(const struct attention_case *c)
{
    return case_is_supported(c, devices[AS_IT_IS]->limits.storage_16bit);
}

static bool passes_on(const struct attention_case *c, int device)
{
    return world_agrees(world_expect(case_passes(c, devices[device], comm), "on device variant %d", device));
}

START_TEST(a_named_case)
{
    struct attention_case c = cases[_i];
    c.seed = (uint64_t)_i;
    c.params.timeout_seconds = 300;
    if (!can_run(&c))
        return;
    ck_assert_msg(passes_on(&c, AS_IT_IS), "%s", c.name);
    ck_assert_msg(passes_on(&c, NOT_UNIFIED + _i % 2), "%s", c.name);
}
END_TEST

/* All of the keys, or of the queries, on one rank. */
START_TEST(one_rank_holds_all)
{
    uint64_t queries[64] = {0}, keys[64] = {0};
    struct attention_case c = {.name = "one rank holds all",
                               .seed = 3,
                               .params = {.batch = 1, .q_len = 127, .kv_len = 200, .heads = 2, .head_dim = 16, .causal = true}};
    c.params.query_rows_of_rank = queries;
    c.params.key_rows_of_rank = keys;
    c.params.timeout_seconds = 300;
    queries[(uint32_t)_i / world_size] = c.params.q_len;
    keys[(uint32_t)_i % world_size] = c.params.kv_len;
    ck_assert(passes_on(&c, _i % DEVICES));
}
END_TEST

START_TEST(a_random_case)
{
    uint64_t rows[2 * 64];
    struct attention_case c = case_random(environment_number("VKRING_TEST_SEED", 2026), (uint64_t)_i, world_size, rows);
    c.params.timeout_seconds = 300;
    if (can_run(&c))
        ck_assert_msg(passes_on(&c, _i % DEVICES), "case %d", _i);
}
END_TEST

/* Of output row `row` of a result, which is row `query` of the sequence. */
static double row_squares(const struct attention_case *c, const struct case_data *data, const struct case_result *result, uint64_t row,
                          uint64_t query)
{
    const uint64_t width = c->params.heads * c->params.head_dim;
    double squares = 0;
    for (uint64_t b = 0; b < c->params.batch; b++)
        for (uint64_t i = 0; i < width; i++) {
            double error = (double)result->output[(b * result->info.rows.query_rows + row) * width + i] -
                           data->output[(b * c->params.q_len + query) * width + i];
            squares += error * error;
        }
    return squares;
}

/* The errors of this rank's rows: of its own result, and of one that has all rows. */
static void error_squares(const struct attention_case *c, const struct case_data *data, const struct case_result *own,
                          const struct case_result *whole, double *out_own, double *out_whole)
{
    uint64_t row = 0;
    *out_own = *out_whole = 0;
    for (int span = 0; span < VKRING_SPANS; span++)
        for (uint64_t i = 0; i < own->info.rows.query_spans[span].rows; i++, row++) {
            const uint64_t query = own->info.rows.query_spans[span].first + i;
            *out_own += row_squares(c, data, own, row, query);
            *out_whole += row_squares(c, data, whole, query, query);
        }
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

/* Of each type: full, causal, with every option, and these zigzag. */
START_TEST(the_error_does_not_grow_with_the_ring)
{
    struct attention_case c = {.name = "error growth",
                               .seed = 77,
                               .params = {.type = (enum vkring_type)(_i % 3),
                                          .batch = 1,
                                          .q_len = 512,
                                          .kv_len = 512,
                                          .heads = 4,
                                          .head_dim = 64,
                                          .causal = _i >= 3,
                                          .timeout_seconds = 300}};
    struct case_data data = {0};
    struct case_result alone = {0}, around = {0};
    if (_i / 3 == 2 || _i / 3 == 4)
        add_every_option(&c);
    if (_i >= 9)
        c.params.layout = VKRING_LAYOUT_ZIGZAG;
    if (!can_run(&c))
        return;
    bool ran = case_make_data(&c, &data) && case_run(&c, devices[AS_IT_IS], NULL, &data, &alone);
    ran = world_agrees(ran) && case_run(&c, devices[AS_IT_IS], comm, &data, &around);
    ran = world_agrees(ran) && case_refer(&c, &data, &around.info.rows);
    ck_assert(world_agrees(ran));
    double own, whole;
    error_squares(&c, &data, &around, &alone, &own, &whole);
    double one = sqrt(world_sum(whole)), many = sqrt(world_sum(own));
    ck_assert_msg(many <= 1.05 * one, "type %d: error %.4g on %u ranks, %.4g on one", _i % 3, many, world_size, one);
    case_free_result(&alone);
    case_free_result(&around);
    case_free_data(&data);
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
                                          .chunk_bytes = 1000,
                                          .timeout_seconds = 300}};
    struct case_data data = {0};
    struct case_result results[4] = {0};
    vkring_plan *plan = NULL;
    ck_assert(world_agrees(case_make_data(&c, &data)));
    ck_assert(world_agrees(vkring_plan_create(devices[_i], comm, &c.params, &plan) == VKRING_OK));
    bool same = true;
    for (int i = 0; i < 4; i++) {
        clock_sleep(i == 0 ? 0 : 0.05 * ((world_rank * 3 + (uint32_t)i) % 4));
        same = world_agrees(case_run_plan(&c, devices[_i], plan, &data, &results[i]));
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

static uint64_t packet_bytes(const struct attention_case *c, uint64_t rows)
{
    return rows * c->params.batch * c->params.heads * (c->params.head_dim + c->params.head_dim) * sizeof(float);
}

START_TEST(stats_count_what_moved)
{
    struct attention_case c = {.name = "stats",
                               .seed = 9,
                               .params = {.batch = 2, .q_len = 100, .kv_len = 333, .heads = 2, .head_dim = 16, .timeout_seconds = 300}};
    struct case_data data = {0};
    struct case_result result = {0};
    ck_assert(world_agrees(case_make_data(&c, &data) && case_run(&c, devices[AS_IT_IS], comm, &data, &result)));
    const struct vkring_run_stats *s = &result.stats;
    /* all packets but the last one pass through: those of all ranks but the next are sent, of all but this one received */
    uint64_t next = (world_rank + 1) % world_size;
    uint64_t next_rows = c.params.kv_len * (next + 1) / world_size - c.params.kv_len * next / world_size;
    uint64_t sent = packet_bytes(&c, c.params.kv_len - next_rows), received = packet_bytes(&c, c.params.kv_len - result.info.rows.key_rows);
    uint64_t headers = 128 * (world_size - 1);
    bool good =
        world_expect(s->sent_bytes >= sent && s->sent_bytes <= sent + headers, "sent %llu of %llu", (unsigned long long)s->sent_bytes,
                     (unsigned long long)sent) &&
        world_expect(s->received_bytes >= received && s->received_bytes <= received + headers, "received %llu of %llu",
                     (unsigned long long)s->received_bytes, (unsigned long long)received) &&
        world_expect(s->steps == world_size, "%u steps", s->steps) &&
        world_expect(s->flop == 4.0 * 2 * 2 * (double)result.info.rows.query_rows * 333 * 16, "%g flop", s->flop) &&
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
                                          .window_left = (int64_t[]){0, 50, 61}[_i],
                                          .window_right = -1,
                                          .timeout_seconds = 300}};
    const uint32_t needed = (uint32_t)_i + 1 < world_size ? (uint32_t)_i + 1 : world_size;
    struct case_data data = {0};
    struct case_result result = {0};
    ck_assert(passes_on(&c, _i % DEVICES));
    ck_assert(world_agrees(case_make_data(&c, &data) && case_run(&c, devices[AS_IT_IS], comm, &data, &result)));
    const uint64_t hops = needed - 1, bytes = hops * packet_bytes(&c, 60), sent = result.stats.sent_bytes;
    bool good =
        world_expect(result.stats.steps == needed, "%u steps", result.stats.steps) &&
        world_expect(sent >= bytes && sent <= bytes + 128 * hops, "sent %llu of %llu", (unsigned long long)sent,
                     (unsigned long long)bytes) &&
        world_expect((result.info.packet_bytes > 0) == (hops > 0), "packet of %llu bytes", (unsigned long long)result.info.packet_bytes);
    case_free_result(&result);
    case_free_data(&data);
    ck_assert(world_agrees(good));
}
END_TEST

static void open_devices(vkring_device *device)
{
    const struct vk_limit_overrides not_unified = {.no_unified_memory = true};
    const struct vk_limit_overrides not_coherent = {
        .no_unified_memory = world_rank % 2 == 0, .not_coherent = true, .no_transfer_queue = true};
    devices[AS_IT_IS] = device;
    devices[NOT_UNIFIED] = test_device_open(&not_unified);
    devices[NOT_COHERENT] = test_device_open(&not_coherent);
}

int main(int argc, char **argv)
{
    Suite *suite = suite_create("ring forward");
    TCase *named = tcase_create("named"), *drawn = tcase_create("random"), *exact = tcase_create("exact");
    open_devices(world_begin(&argc, &argv));
    comm = world_comm();
    tcase_add_loop_test(named, a_named_case, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_loop_test(named, one_rank_holds_all, 0, (int)(world_size * world_size));
    int first = (int)environment_number("VKRING_TEST_FIRST", 0);
    tcase_add_loop_test(drawn, a_random_case, first, first + (int)environment_number("VKRING_TEST_CASES", 24));
    tcase_add_loop_test(exact, the_error_does_not_grow_with_the_ring, 0, 15);
    tcase_add_loop_test(exact, the_same_bits_again, 0, DEVICES);
    tcase_add_test(exact, stats_count_what_moved);
    tcase_add_loop_test(exact, a_window_moves_packets_as_far_as_it_reaches, 0, 3);
    suite_add_tcase(suite, named);
    suite_add_tcase(suite, drawn);
    suite_add_tcase(suite, exact);
    return world_end(suite, devices, DEVICES, &comm);
}
