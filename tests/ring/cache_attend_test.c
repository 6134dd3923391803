/* SPDX-License-Identifier: MIT */
/* Prefill in pieces and decode step by step give what one pass over the whole sequence gives, whoever brings which rows. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ref/compare.h>

#include <cache/pass_probe.h>
#include <vk/device_speed.h>
#include <vkring/tune.h>

#include "cache_inputs.h"

static vkring_device *device, *splitting, *poor;
static vkring_comm *comm;

static const struct attend_case cases[] = {
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
    {.name = "a row at a time of heads with own keys, f32 of int8, splits",
     .on = &splitting,
     .steps = 12,
     .params = {.pass = VKRING_CACHE_PASS_QUERIES,
                .attention = {.batch = 1, .q_len = 12, .kv_len = 90, .heads = 4, .head_dim = 20, .causal = true},
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
    const bool attends_here = world_size > 1 && f->c->params.pass != VKRING_CACHE_PASS_KEYS;
    return world_agrees(good && (!attends_here || all_ranks_find_the_same_speeds(f->cache)));
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

/* As if each rank had guessed a token of every sequence: keys are read once, by one dispatch. */
START_TEST(queries_of_all_ranks_are_attended_together)
{
    struct fixture f = {.c = &cases[0], .dice = {.seed = 40}};
    const uint64_t batch = f.c->params.attention.batch;
    struct share share = {0};
    for (uint64_t sequence = 0; sequence < batch; sequence++)
        for (uint32_t rank = 0; rank < world_size; rank++) {
            share.rows[rank][sequence] = 1;
            share.before[rank][sequence] = share.total[sequence]++;
        }
    ck_assert(open_fixture(&f));
    bool good = true;
    for (int step = 0; good && step < 2; step++)
        good = world_agrees(append(&f, &share)) && world_agrees(attend(&f, &share));
    good = good && judge(&f) &&
           world_expect(f.cache->partial.arguments_used <= batch, "%" PRIu64 " dispatches for %" PRIu64 " sequences",
                        f.cache->partial.arguments_used, batch);
    close_fixture(&f);
    ck_assert(world_agrees(good));
}
END_TEST

int main(int argc, char **argv)
{
    const struct vk_limit_overrides splits = {.split_keys = 8}, lacks = {.split_keys = 8, .no_unified_memory = true, .not_coherent = true};
    Suite *suite = suite_create("attention to a cache");
    TCase *tcase = tcase_create("cases");
    vkring_device *devices[3];
    devices[0] = device = world_begin(&argc, &argv);
    devices[1] = splitting = test_device_open(&splits);
    devices[2] = poor = test_device_open(&lacks);
    for (int i = 0; i < 3; i++)
        world_loosen_order(devices[i]);
    comm = world_comm();
    tcase_add_loop_test(tcase, pieces_give_what_the_whole_gives, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tcase, queries_of_all_ranks_are_attended_together);
    suite_add_tcase(suite, tcase);
    return world_end(suite, devices, 3, &comm);
}
