/* SPDX-License-Identifier: MIT */
/* What a cache stores is what was appended, whoever brought it. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cache_appends.h"

static vkring_device *device, *poor;
static vkring_comm *comm;

static const struct {
    const char *name;
    bool poor;
    uint64_t padding;
    struct vkring_cache_params params;
} stored[] = {
    /* the first times the device and the link, as any cache that chooses the way of rows by itself */
    {"f32",
     false,
     0,
     {.attention = {.batch = 3,
                    .q_len = 40,
                    .kv_len = 150,
                    .heads = 4,
                    .kv_heads = 2,
                    .head_dim = 16,
                    .segment_ids = true,
                    .bias = {.present = true, .per_head = true}}}},
    {"f32, strided, poor",
     true,
     4,
     {.attention = {.batch = 2, .q_len = 30, .kv_len = 90, .heads = 2, .head_dim = 20, .value_dim = 64},
      .pass = VKRING_CACHE_PASS_QUERIES}},
    {"f16, odd heads",
     false,
     1,
     {.attention =
          {.type = VKRING_TYPE_F16, .batch = 2, .q_len = 30, .kv_len = 90, .heads = 3, .head_dim = 5, .value_dim = 8, .segment_ids = true},
      .pass = VKRING_CACHE_PASS_QUERIES}},
    {"bf16",
     true,
     0,
     {.attention = {.type = VKRING_TYPE_BF16, .batch = 4, .q_len = 5, .kv_len = 200, .heads = 1, .head_dim = 8},
      .pass = VKRING_CACHE_PASS_QUERIES}},
    {"f32 as int8, wide heads",
     false,
     0,
     {.attention = {.batch = 2, .q_len = 30, .kv_len = 90, .heads = 4, .kv_heads = 2, .head_dim = 256, .value_dim = 12},
      .storage = VKRING_CACHE_INT8,
      .pass = VKRING_CACHE_PASS_QUERIES}},
    {"f16 as int8, odd heads, poor",
     true,
     3,
     {.attention = {.type = VKRING_TYPE_F16, .batch = 2, .q_len = 30, .kv_len = 90, .heads = 9, .head_dim = 7, .value_dim = 130},
      .storage = VKRING_CACHE_INT8,
      .pass = VKRING_CACHE_PASS_QUERIES}},
    {"bf16 as int8",
     false,
     0,
     {.attention = {.type = VKRING_TYPE_BF16, .batch = 1, .q_len = 60, .kv_len = 400, .heads = 2, .head_dim = 32},
      .storage = VKRING_CACHE_INT8,
      .pass = VKRING_CACHE_PASS_QUERIES}},
};

/* Truncates now and then, some sequences more than others. */
static bool forget_some(struct dice *dice, vkring_cache *cache, struct cache_model *model)
{
    uint64_t lengths[MOST_BATCH];
    if (throw_dice(dice, 8) == 0) {
        memset(model->lengths, 0, model->params.attention.batch * sizeof(*model->lengths));
        return world_expect(vkring_cache_reset(cache) == VKRING_OK, "%s", vkring_last_error()->message);
    }
    for (uint64_t sequence = 0; sequence < model->params.attention.batch; sequence++) {
        lengths[sequence] = throw_dice(dice, 2) ? model->lengths[sequence] : throw_dice(dice, model->lengths[sequence] + 1);
        model->lengths[sequence] = lengths[sequence];
    }
    return world_expect(vkring_cache_truncate(cache, lengths) == VKRING_OK, "%s", vkring_last_error()->message);
}

/* Of an append: the rows that are stored elsewhere, and what is said beside them. */
static bool sends_no_more_than_its_rows(const vkring_cache *cache, const struct cache_model *model, const struct split *split,
                                        uint64_t sent)
{
    const struct vkring_plan_params *p = &model->params.attention;
    const uint64_t row_bytes =
        (model->dims[CACHE_KEYS] + model->dims[CACHE_VALUES]) * vkring_type_bytes(p->type) + (p->segment_ids ? sizeof(int32_t) : 0);
    const uint64_t words_bytes = (4 + 2 * p->batch) * sizeof(uint64_t), seals_bytes = 4 * COMM_REFUSAL_BYTES;
    uint64_t rows = 0;
    for (uint64_t sequence = 0; sequence < p->batch; sequence++) {
        const uint64_t first = model->lengths[sequence] - split->total[sequence] + split->before[world_rank][sequence];
        for (uint64_t i = 0; i < split->rows[world_rank][sequence]; i++)
            rows += (first + i) % world_size != cache->rank;
    }
    return world_expect(sent >= rows * row_bytes && sent <= rows * row_bytes + (world_size - 1) * (words_bytes + seals_bytes),
                        "%" PRIu64 " bytes are sent for %" PRIu64 " rows of %" PRIu64, sent, rows, row_bytes);
}

static bool append_and_count(vkring_cache *cache, struct cache_model *model, const struct split *split, uint64_t padding)
{
    struct vkring_cache_info before, after;
    vkring_cache_get_info(cache, &before);
    bool good = append_well(cache, model, split, padding);
    vkring_cache_get_info(cache, &after);
    return good && sends_no_more_than_its_rows(cache, model, split, after.append_sent_bytes - before.append_sent_bytes);
}

START_TEST(what_is_appended_is_stored)
{
    vkring_cache *cache = NULL;
    struct cache_model model;
    struct dice dice = {.seed = 100 + (uint64_t)_i};
    vkring_device *on = stored[_i].poor ? poor : device;
    bool good = true;
    if (stored[_i].params.attention.type != VKRING_TYPE_F32 && !world_agrees(on->limits.storage_16bit))
        return;
    ck_assert(open_cache(on, comm, &stored[_i].params, &cache, &model));
    for (int step = 0; good && step < 24; step++) {
        const struct split split = random_split(&dice, &model);
        good = append_and_count(cache, &model, &split, stored[_i].padding);
        if (good && throw_dice(&dice, 4) == 0)
            good = forget_some(&dice, cache, &model);
        if (step % 4 == 3)
            good = good && world_expect(cache_model_matches(&model, cache), "%s: after %d steps", stored[_i].name, step + 1);
        good = world_agrees(good);
    }
    close_cache(&cache, &model);
    ck_assert(good);
}
END_TEST

/* More than goes to other ranks, or to the device, at a time. */
START_TEST(rows_beyond_a_piece_are_stored)
{
    const struct vkring_cache_params params = {
        .attention = {.batch = 2, .q_len = 45, .kv_len = 100, .heads = 64, .head_dim = 256, .value_dim = 100},
        .pass = VKRING_CACHE_PASS_QUERIES};
    vkring_cache *cache = NULL;
    struct cache_model model;
    struct split split = {0};
    ck_assert(open_cache(device, comm, &params, &cache, &model));
    for (uint64_t sequence = 0; sequence < params.attention.batch; sequence++)
        for (uint32_t rank = 0; rank < world_size; rank++)
            add_rows(&split, rank, sequence, rank == world_size / 2 ? 40 - sequence : rank % 2);
    const bool good = append_well(cache, &model, &split, 0) && cache_model_matches(&model, cache);
    ck_assert_uint_lt(cache->store.size.rows, 40);
    close_cache(&cache, &model);
    ck_assert(world_agrees(good));
}
END_TEST

/* Of rows that take so much that a rank gives two at a time: one gets more than that of all, in the first call rank 0. */
START_TEST(rows_that_all_go_to_one_rank_are_stored)
{
    const struct vkring_cache_params params = {
        .attention = {.batch = 4, .q_len = 1, .kv_len = 8, .heads = 256, .head_dim = 256, .value_dim = 100, .segment_ids = true},
        .pass = VKRING_CACHE_PASS_KEYS};
    vkring_cache *cache = NULL;
    struct cache_model model;
    struct split split = {0};
    bool good = true;
    ck_assert(open_cache(device, comm, &params, &cache, &model));
    for (uint64_t sequence = 0; sequence < params.attention.batch; sequence++)
        for (uint32_t rank = 0; rank < world_size; rank++)
            add_rows(&split, rank, sequence, rank == (sequence > 0 ? (sequence - 1) % world_size : 0));
    for (int step = 0; good && step < 2; step++)
        good = world_agrees(append_well(cache, &model, &split, 0));
    good = good && cache_model_matches(&model, cache);
    close_cache(&cache, &model);
    ck_assert(world_agrees(good));
}
END_TEST

START_TEST(what_is_not_finite_stays_so_in_integers)
{
    const struct vkring_cache_params params = {.attention = {.batch = 1, .q_len = 4 * MOST_RANKS, .kv_len = 64, .heads = 1, .head_dim = 8},
                                               .storage = VKRING_CACHE_INT8,
                                               .pass = VKRING_CACHE_PASS_QUERIES};
    const float odd[4] = {INFINITY, -INFINITY, NAN, 0};
    const struct split split = even_split(1, 4);
    struct vkring_tensor tensor = {0};
    float rows[4][8] = {{0}}, scales[64];
    vkring_cache *cache = NULL;
    struct cache_model model;
    ck_assert(open_cache(device, comm, &params, &cache, &model));
    for (int row = 0; row < 4; row++) {
        for (int i = 0; i < 8; i++)
            rows[row][i] = row == 3 ? 0 : (float)i;
        rows[row][row] = odd[row];
    }
    bool good = vkring_buffer_create(device, sizeof(rows), &tensor.buffer) == VKRING_OK &&
                vkring_buffer_upload(tensor.buffer, 0, rows, sizeof(rows)) == VKRING_OK;
    good = good &&
           vkring_cache_append(cache, &(struct vkring_cache_append_io){.rows = split.rows[world_rank], .key = tensor, .value = tensor}) ==
               VKRING_OK &&
           vkring_buffer_download(cache->key.scales, 0, scales, cache->key.scales->size_bytes) == VKRING_OK;
    for (uint64_t position = world_rank; good && position < 4 * world_size; position += world_size) {
        const float scale = scales[position / world_size];
        good =
            world_expect(position % 4 == 3 ? scale == 0 : !isfinite(scale), "the scale at position %d is %g", (int)position, (double)scale);
    }
    vkring_buffer_destroy(&tensor.buffer);
    close_cache(&cache, &model);
    ck_assert(world_agrees(good));
}
END_TEST

/* A million positions of which one rank brings all. */
START_TEST(ranks_hold_the_same_but_for_one_row)
{
    enum { PIECES = 4, PIECE_ROWS = 250001 };
    const struct vkring_cache_params params = {
        .attention = {.batch = 1, .q_len = PIECE_ROWS, .kv_len = PIECES * PIECE_ROWS, .heads = 1, .head_dim = 1},
        .pass = VKRING_CACHE_PASS_QUERIES};
    vkring_cache *cache = NULL;
    struct cache_model model;
    struct vkring_cache_info info;
    bool good = true;
    if (world_size != 4)
        return;
    ck_assert(open_cache(device, comm, &params, &cache, &model));
    for (uint32_t piece = 0; good && piece < PIECES; piece++) {
        struct split split = {0};
        for (uint32_t rank = 0; rank < world_size; rank++)
            add_rows(&split, rank, 0, rank == piece ? PIECE_ROWS : 0);
        good = world_agrees(append_well(cache, &model, &split, 0));
        vkring_cache_get_info(cache, &info);
        const uint64_t all = (piece + 1) * (uint64_t)PIECE_ROWS;
        good = good && world_expect(info.own_rows >= all / 4 && info.own_rows <= all / 4 + 1, "%" PRIu64 " of %" PRIu64 " rows",
                                    info.own_rows, all);
    }
    good = good && cache_model_matches(&model, cache);
    close_cache(&cache, &model);
    ck_assert(world_agrees(good));
}
END_TEST

START_TEST(memory_is_as_measured)
{
    const struct vkring_cache_params *params = &stored[_i / 2 ? 4 : 0].params;
    vkring_device *on = _i % 2 ? poor : device;
    struct vkring_memory_use before, with_cache, after;
    struct vkring_cache_memory measured;
    struct vkring_cache_info info;
    struct cache_model model;
    vkring_cache *cache = NULL;
    bool good = world_expect(vkring_cache_measure(on, comm, params, &measured) == VKRING_OK, "%s", vkring_last_error()->message);
    vkring_device_get_memory_use(on, &before);
    ck_assert(open_cache(on, comm, params, &cache, &model));
    vkring_device_get_memory_use(on, &with_cache);
    vkring_cache_get_info(cache, &info);
    const uint64_t pinned = with_cache.host_bytes - before.host_bytes;
    good = good && world_expect(memcmp(&measured, &info.memory, sizeof(measured)) == 0, "another is taken than was measured") &&
           world_expect(with_cache.device_bytes - before.device_bytes == measured.device_bytes, "%" PRIu64 " bytes are taken, not %" PRIu64,
                        with_cache.device_bytes - before.device_bytes, measured.device_bytes) &&
           world_expect(pinned <= measured.host_bytes, "%" PRIu64 " bytes are pinned of %" PRIu64, pinned, measured.host_bytes) &&
           world_expect(cache->key.elements->allocated_bytes + cache->key.scales->allocated_bytes + cache->value.elements->allocated_bytes +
                                cache->value.scales->allocated_bytes + cache->ids->allocated_bytes ==
                            measured.storage_bytes,
                        "storage takes more or less");
    close_cache(&cache, &model);
    vkring_device_get_memory_use(on, &after);
    good = good && world_expect(after.device_bytes == before.device_bytes && after.host_bytes == before.host_bytes, "memory is lost");
    ck_assert(world_agrees(good));
}
END_TEST

int main(int argc, char **argv)
{
    const struct vk_limit_overrides overrides = {.max_workgroup_count = 6, .no_unified_memory = true, .not_coherent = true};
    Suite *suite = suite_create("cache storage");
    TCase *tcase = tcase_create("cache");
    vkring_device *devices[2] = {world_begin(&argc, &argv), test_device_open(&overrides)};
    device = devices[0];
    poor = devices[1];
    world_loosen_order(poor);
    comm = world_comm();
    tcase_add_loop_test(tcase, what_is_appended_is_stored, 0, sizeof(stored) / sizeof(stored[0]));
    tcase_add_test(tcase, rows_beyond_a_piece_are_stored);
    tcase_add_test(tcase, rows_that_all_go_to_one_rank_are_stored);
    tcase_add_test(tcase, what_is_not_finite_stays_so_in_integers);
    tcase_add_test(tcase, ranks_hold_the_same_but_for_one_row);
    tcase_add_loop_test(tcase, memory_is_as_measured, 0, 4);
    suite_add_tcase(suite, tcase);
    return world_end(suite, devices, 2, &comm);
}
