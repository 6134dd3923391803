/* SPDX-License-Identifier: MIT */
/* What a cache stores is what was appended, whoever brought it, and what a call that fails leaves behind. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <base/clock.h>

#include "../harness/cache_model.h"
#include "../harness/dice.h"
#include "lossy_comm.h"
#include "world.h"

enum { MOST_BATCH = 4, MOST_RANKS = 8 };

static vkring_device *device, *poor;
static vkring_comm *comm;

/* New rows of each sequence, and how many of them each rank brings. */
struct split {
    uint64_t total[MOST_BATCH], rows[MOST_RANKS][MOST_BATCH], before[MOST_RANKS][MOST_BATCH];
};

static void add_rows(struct split *split, uint32_t rank, uint64_t sequence, uint64_t rows)
{
    split->before[rank][sequence] = split->total[sequence];
    split->rows[rank][sequence] = rows;
    split->total[sequence] += rows;
}

/* Rank after rank the same number of each sequence. */
static struct split even_split(uint64_t batch, uint64_t rows)
{
    struct split split = {0};
    for (uint64_t sequence = 0; sequence < batch; sequence++)
        for (uint32_t rank = 0; rank < world_size; rank++)
            add_rows(&split, rank, sequence, rows);
    return split;
}

static struct split random_split(struct dice *dice, const struct cache_model *model)
{
    const struct vkring_plan_params *p = &model->params.attention;
    struct split split = {0};
    for (uint64_t sequence = 0; sequence < p->batch; sequence++) {
        const uint64_t room = p->kv_len - model->lengths[sequence], most = room < p->q_len ? room : p->q_len;
        uint64_t left = throw_dice(dice, 3) ? throw_dice(dice, most + 1) : throw_dice(dice, 2) && most;
        for (uint32_t rank = 0; rank < world_size; rank++) {
            const uint64_t rows = rank + 1 == world_size ? left : throw_dice(dice, left + 1);
            add_rows(&split, rank, sequence, rows);
            left -= rows;
        }
    }
    return split;
}

/* Not for a rank that is to be refused. */
static enum vkring_status append(vkring_cache *cache, struct cache_model *model, const struct split *split, uint64_t padding)
{
    struct vkring_tensor tensors[CACHE_SIDES] = {0};
    enum vkring_status status = VKRING_ERROR_OUT_OF_HOST_MEMORY;
    bool placed = true;
    cache_model_draw(model, split->total);
    for (enum cache_side side = 0; side < CACHE_SIDES; side++)
        placed =
            cache_model_place(model, cache->device, side, split->before[world_rank], split->rows[world_rank], padding, &tensors[side]) &&
            placed;
    if (placed)
        status = vkring_cache_append(cache, split->rows[world_rank], &tensors[CACHE_KEYS], &tensors[CACHE_VALUES]);
    if (status == VKRING_OK)
        cache_model_keep(model, split->total);
    for (enum cache_side side = 0; side < CACHE_SIDES; side++)
        vkring_buffer_destroy(&tensors[side].buffer);
    return status;
}

static bool append_well(vkring_cache *cache, struct cache_model *model, const struct split *split, uint64_t padding)
{
    return world_expect(append(cache, model, split, padding) == VKRING_OK, "%s", vkring_last_error()->message);
}

/* Collective. */
static bool open_cache(vkring_device *on, vkring_comm *with, const struct vkring_cache_params *params, vkring_cache **out_cache,
                       struct cache_model *out_model)
{
    bool opened = world_expect(cache_model_create(params, 7, out_model), "no memory") &&
                  world_expect(vkring_cache_create(on, with, params, out_cache) == VKRING_OK, "%s", vkring_last_error()->message);
    return world_agrees(opened);
}

static void close_cache(vkring_cache **cache, struct cache_model *model)
{
    vkring_cache_destroy(cache);
    cache_model_destroy(model);
}

/* Storage ----------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool poor;
    uint64_t padding;
    struct vkring_cache_params params;
} stored[] = {
    {"f32", false, 0, {.attention = {.batch = 3, .q_len = 40, .kv_len = 150, .heads = 4, .kv_heads = 2, .head_dim = 16}}},
    {"f32, strided, poor", true, 4, {.attention = {.batch = 2, .q_len = 30, .kv_len = 90, .heads = 2, .head_dim = 20, .value_dim = 64}}},
    {"f16, odd heads",
     false,
     1,
     {.attention = {.type = VKRING_TYPE_F16, .batch = 2, .q_len = 30, .kv_len = 90, .heads = 3, .head_dim = 5, .value_dim = 8}}},
    {"bf16", true, 0, {.attention = {.type = VKRING_TYPE_BF16, .batch = 4, .q_len = 5, .kv_len = 200, .heads = 1, .head_dim = 8}}},
    {"f32 as int8, wide heads",
     false,
     0,
     {.attention = {.batch = 2, .q_len = 30, .kv_len = 90, .heads = 4, .kv_heads = 2, .head_dim = 256, .value_dim = 12},
      .storage = VKRING_CACHE_INT8}},
    {"f16 as int8, odd heads, poor",
     true,
     3,
     {.attention = {.type = VKRING_TYPE_F16, .batch = 2, .q_len = 30, .kv_len = 90, .heads = 9, .head_dim = 7, .value_dim = 130},
      .storage = VKRING_CACHE_INT8}},
    {"bf16 as int8",
     false,
     0,
     {.attention = {.type = VKRING_TYPE_BF16, .batch = 1, .q_len = 60, .kv_len = 400, .heads = 2, .head_dim = 32},
      .storage = VKRING_CACHE_INT8}},
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
        good = append_well(cache, &model, &split, stored[_i].padding);
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
        .attention = {.batch = 2, .q_len = 45, .kv_len = 100, .heads = 64, .head_dim = 256, .value_dim = 100}};
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

START_TEST(what_is_not_finite_stays_so_in_integers)
{
    const struct vkring_cache_params params = {.attention = {.batch = 1, .q_len = 4 * MOST_RANKS, .kv_len = 64, .heads = 1, .head_dim = 8},
                                               .storage = VKRING_CACHE_INT8};
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
    good = good && vkring_cache_append(cache, split.rows[world_rank], &tensor, &tensor) == VKRING_OK &&
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
        .attention = {.batch = 1, .q_len = PIECE_ROWS, .kv_len = PIECES * PIECE_ROWS, .heads = 1, .head_dim = 1}};
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
                                cache->value.scales->allocated_bytes ==
                            measured.storage_bytes,
                        "storage takes more or less");
    close_cache(&cache, &model);
    vkring_device_get_memory_use(on, &after);
    good = good && world_expect(after.device_bytes == before.device_bytes && after.host_bytes == before.host_bytes, "memory is lost");
    ck_assert(world_agrees(good));
}
END_TEST

/* Calls that are refused ---------------------------------------------------------------------------------------------------- */

static const struct vkring_cache_params small = {
    .attention = {.batch = 2, .q_len = 16, .kv_len = 48, .heads = 2, .head_dim = 8, .timeout_seconds = 60}};

static bool is_refused(enum vkring_status status, enum vkring_status wanted, const char *word)
{
    return world_expect(status == wanted && strstr(vkring_last_error()->message, word), "status %d, not %d: %s", status, wanted,
                        vkring_last_error()->message);
}

/* Nothing has changed, and the next call is as good as any. */
static bool still_works(vkring_cache *cache, struct cache_model *model)
{
    const struct split split = even_split(2, 1);
    bool works = cache_model_matches(model, cache);
    works = world_agrees(works) && append_well(cache, model, &split, 0);
    return world_agrees(works) && world_agrees(cache_model_matches(model, cache));
}

START_TEST(a_full_cache_stays_as_it_is)
{
    vkring_cache *cache = NULL;
    struct cache_model model;
    struct split split = even_split(2, 3);
    uint64_t shorter[2];
    ck_assert(open_cache(device, comm, &small, &cache, &model));
    bool good = true;
    while (good && model.lengths[1] + split.total[1] <= small.attention.kv_len)
        good = append_well(cache, &model, &split, 0);
    split.total[0] = 0;
    for (uint32_t rank = 0; rank < world_size; rank++)
        split.rows[rank][0] = 0;
    good = good && is_refused(append(cache, &model, &split, 0), VKRING_ERROR_CACHE_FULL, "sequence 1");
    good = world_agrees(good) && world_agrees(cache_model_matches(&model, cache));
    shorter[0] = model.lengths[0] -= 5;
    shorter[1] = model.lengths[1] -= 7;
    good = good && world_expect(vkring_cache_truncate(cache, shorter) == VKRING_OK, "not truncated");
    good = good && still_works(cache, &model);
    close_cache(&cache, &model);
    ck_assert(world_agrees(good));
}
END_TEST

START_TEST(more_rows_than_a_call_may_have_are_refused_everywhere)
{
    vkring_cache *cache = NULL;
    struct cache_model model;
    struct split split = {0};
    for (uint32_t rank = 0; rank < world_size; rank++)
        add_rows(&split, rank, 1, rank == 0 ? 17 : 0);
    ck_assert(open_cache(device, comm, &small, &cache, &model));
    bool good = is_refused(append(cache, &model, &split, 0), VKRING_ERROR_INVALID_ARGUMENT, "q_len");
    good = world_agrees(good) && still_works(cache, &model);
    close_cache(&cache, &model);
    ck_assert(world_agrees(good));
}
END_TEST

START_TEST(a_bad_tensor_on_one_rank_is_refused_everywhere)
{
    const uint32_t culprit = _i ? world_size - 1 : 0;
    const uint64_t rows[2] = {1, 1};
    vkring_cache *cache = NULL;
    struct cache_model model;
    struct vkring_tensor small_tensor = {0}, tensor = {0};
    ck_assert(open_cache(device, comm, &small, &cache, &model));
    bool good = vkring_buffer_create(device, 4096, &tensor.buffer) == VKRING_OK &&
                vkring_buffer_create(device, 60, &small_tensor.buffer) == VKRING_OK;
    const double begin = clock_seconds();
    const enum vkring_status status = vkring_cache_append(cache, rows, &tensor, world_rank == culprit ? &small_tensor : &tensor);
    if (world_rank == culprit)
        good = is_refused(status, VKRING_ERROR_INVALID_ARGUMENT, "value") && good;
    else
        good = is_refused(status, VKRING_ERROR_PEER, "refused") && world_expect(vkring_last_error()->rank == culprit, "another is named") &&
               good;
    good = world_expect(clock_seconds() - begin < 10, "it took long") && good;
    vkring_buffer_destroy(&tensor.buffer);
    vkring_buffer_destroy(&small_tensor.buffer);
    good = world_agrees(good) && still_works(cache, &model);
    close_cache(&cache, &model);
    ck_assert(world_agrees(good));
}
END_TEST

START_TEST(a_rank_that_did_not_truncate_is_found)
{
    const uint32_t culprit = _i ? world_size - 1 : 0;
    const struct split split = even_split(2, 2);
    const uint64_t shorter[2] = {2 * world_size, 1}, longer[2] = {2 * world_size, 2 * world_size + 1};
    vkring_cache *cache = NULL;
    struct cache_model model;
    if (world_size == 1)
        return;
    ck_assert(open_cache(device, comm, &small, &cache, &model));
    bool good =
        append_well(cache, &model, &split, 0) && is_refused(vkring_cache_truncate(cache, longer), VKRING_ERROR_INVALID_ARGUMENT, "rows");
    if (world_rank != culprit)
        good = good && vkring_cache_truncate(cache, shorter) == VKRING_OK;
    good = good && is_refused(append(cache, &model, &split, 0), VKRING_ERROR_MISMATCH, "length of sequence 1");
    good = good && vkring_cache_truncate(cache, shorter) == VKRING_OK;
    model.lengths[1] = 1;
    good = world_agrees(good) && still_works(cache, &model);
    close_cache(&cache, &model);
    ck_assert(world_agrees(good));
}
END_TEST

START_TEST(another_cache_on_one_rank_is_found)
{
    vkring_cache *caches[2] = {0};
    struct cache_model models[2];
    const struct split split = even_split(2, 1);
    const int mine = world_rank == world_size - 1;
    if (world_size == 1)
        return;
    for (int i = 0; i < 2; i++)
        ck_assert(open_cache(device, comm, &small, &caches[i], &models[i]));
    bool good = is_refused(append(caches[mine], &models[mine], &split, 0), VKRING_ERROR_MISMATCH, "which cache");
    for (int i = 0; i < 2; i++) {
        good = world_agrees(good) && still_works(caches[i], &models[i]);
        close_cache(&caches[i], &models[i]);
    }
    ck_assert(world_agrees(good));
}
END_TEST

/* Creation ------------------------------------------------------------------------------------------------------------------ */

static void change_kv_len(struct vkring_cache_params *params)
{
    params->attention.kv_len++;
}

static void change_storage(struct vkring_cache_params *params)
{
    params->storage = VKRING_CACHE_INT8;
}

static void change_pass(struct vkring_cache_params *params)
{
    params->pass = VKRING_CACHE_PASS_QUERIES;
}

static void spoil_heads(struct vkring_cache_params *params)
{
    params->attention.kv_heads = 3;
}

static void spoil_layout(struct vkring_cache_params *params)
{
    params->attention.layout = VKRING_LAYOUT_STRIPED;
}

static void spoil_key_layout(struct vkring_cache_params *params)
{
    params->attention.has_key_layout = true;
}

static void ask_for_bias(struct vkring_cache_params *params)
{
    params->attention.bias.present = true;
}

static const struct {
    void (*change)(struct vkring_cache_params *params);
    enum vkring_status there, elsewhere;
    const char *word;
} odd_params[] = {
    {change_kv_len, VKRING_ERROR_MISMATCH, VKRING_ERROR_MISMATCH, "kv_len"},
    {change_storage, VKRING_ERROR_MISMATCH, VKRING_ERROR_MISMATCH, "storage"},
    {change_pass, VKRING_ERROR_MISMATCH, VKRING_ERROR_MISMATCH, "pass"},
    {spoil_heads, VKRING_ERROR_INVALID_ARGUMENT, VKRING_ERROR_PEER, "kv_heads"},
    {spoil_layout, VKRING_ERROR_INVALID_ARGUMENT, VKRING_ERROR_PEER, "layout"},
    {spoil_key_layout, VKRING_ERROR_INVALID_ARGUMENT, VKRING_ERROR_PEER, "layout"},
    {ask_for_bias, VKRING_ERROR_UNSUPPORTED, VKRING_ERROR_PEER, "bias"},
};

START_TEST(ranks_agree_on_what_is_made)
{
    const uint32_t odd_one = world_size - 1;
    struct vkring_cache_params params = small;
    vkring_cache *cache = NULL;
    if (world_size == 1 && odd_params[_i].there == VKRING_ERROR_MISMATCH)
        return;
    if (world_rank == odd_one)
        odd_params[_i].change(&params);
    const enum vkring_status status = vkring_cache_create(device, comm, &params, &cache);
    const bool here = world_rank == odd_one || odd_params[_i].elsewhere == odd_params[_i].there;
    const bool good = world_expect(!cache, "there is a cache") &&
                      is_refused(status, here ? odd_params[_i].there : odd_params[_i].elsewhere, here ? odd_params[_i].word : "rank");
    vkring_cache_destroy(&cache);
    ck_assert(world_agrees(good));
}
END_TEST

START_TEST(a_rank_without_memory_is_named)
{
    const struct vk_limit_overrides overrides = {.max_buffer_bytes = 2048};
    const uint32_t culprit = world_size - 1;
    vkring_device *own = world_rank == culprit ? test_device_open(&overrides) : device;
    vkring_cache *cache = NULL;
    const enum vkring_status status = vkring_cache_create(own, comm, &small, &cache);
    bool good = world_expect(!cache, "there is a cache") &&
                is_refused(status, world_rank == culprit ? VKRING_ERROR_OUT_OF_DEVICE_MEMORY : VKRING_ERROR_PEER, "");
    if (own != device)
        vkring_device_destroy(&own);
    ck_assert(world_agrees(good));
}
END_TEST

/* Faults ---------------------------------------------------------------------------------------------------------------------- */

enum { TIMEOUT = 1 };

struct stage {
    vkring_comm *inner, *comm;
    struct lossy_rules rules;
    vkring_cache *cache;
    struct cache_model model;
};

/* With one good call, so that nothing is left to compile or to connect; only then the deadline is short. */
static bool set_stage(struct stage *stage)
{
    const struct split split = even_split(2, 1);
    *stage = (struct stage){.inner = world_comm(), .rules = {.good_sends = UINT64_MAX}};
    bool set = lossy_comm_create(stage->inner, &stage->rules, &stage->comm) == VKRING_OK;
    set = world_agrees(set) && open_cache(device, stage->comm, &small, &stage->cache, &stage->model);
    set = world_agrees(set) && append_well(stage->cache, &stage->model, &split, 0);
    if (world_agrees(set))
        stage->cache->timeout_seconds = TIMEOUT;
    return set;
}

/* Destroying never waits for a peer. */
static bool clear_stage(struct stage *stage)
{
    const double begin = clock_seconds();
    close_cache(&stage->cache, &stage->model);
    vkring_comm_destroy(&stage->comm);
    vkring_comm_destroy(&stage->inner);
    return world_expect(clock_seconds() - begin < 1, "destroying took %.1f s", clock_seconds() - begin);
}

/* The cache can only be destroyed, and says so. */
static bool is_lost(struct stage *stage)
{
    struct vkring_cache_info info;
    const struct split split = even_split(2, 1);
    vkring_cache_get_info(stage->cache, &info);
    return world_expect(info.lost, "the cache is not lost") &&
           is_refused(append(stage->cache, &stage->model, &split, 0), VKRING_ERROR_INVALID_ARGUMENT, "broke off") &&
           is_refused(vkring_cache_reset(stage->cache), VKRING_ERROR_INVALID_ARGUMENT, "broke off");
}

/* Every other rank is back about its deadline, and names the culprit. */
static bool is_named(enum vkring_status status, enum vkring_status wanted, uint32_t culprit, double seconds)
{
    return world_expect(status == wanted || status == VKRING_ERROR_PEER, "status %d: %s", status, vkring_last_error()->message) &&
           world_expect(vkring_last_error()->rank == culprit, "rank %u is named: %s", vkring_last_error()->rank,
                        vkring_last_error()->message) &&
           world_expect(seconds < TIMEOUT + 2, "it took %.1f s", seconds);
}

/* Deadlines take their time. */
static bool is_worth_waiting(void)
{
    return world_size == 3 || world_size == 5;
}

START_TEST(a_silent_rank_is_named)
{
    const uint32_t culprit = world_size - 1;
    const struct split split = even_split(2, 1);
    struct stage stage;
    if (!is_worth_waiting())
        return;
    ck_assert(set_stage(&stage));
    bool good = true;
    const double begin = clock_seconds();
    if (world_rank == culprit)
        clock_sleep(TIMEOUT + 1);
    else
        good = is_named(append(stage.cache, &stage.model, &split, 0), VKRING_ERROR_TIMEOUT, culprit, clock_seconds() - begin);
    if (world_rank == culprit)
        good = world_expect(append(stage.cache, &stage.model, &split, 0) != VKRING_OK, "it goes on alone");
    good = is_lost(&stage) && good;
    good = clear_stage(&stage) && good;
    ck_assert(world_agrees(good));
}
END_TEST

/* It dies with its rows: what it said of them has arrived. */
START_TEST(a_rank_that_dies_among_rows_is_named)
{
    const uint32_t culprit = world_size - 1;
    const struct split split = even_split(2, 1);
    struct stage stage;
    if (!is_worth_waiting())
        return;
    ck_assert(set_stage(&stage));
    if (world_rank == culprit) {
        stage.rules.lose = true;
        stage.rules.good_sends = stage.rules.sends + world_size - 1;
    }
    const double begin = clock_seconds();
    const enum vkring_status status = append(stage.cache, &stage.model, &split, 0);
    bool good = world_rank == culprit || (is_named(status, VKRING_ERROR_TIMEOUT, culprit, clock_seconds() - begin) && is_lost(&stage));
    good = clear_stage(&stage) && good;
    ck_assert(world_agrees(good));
}
END_TEST

START_TEST(spoilt_rows_are_found)
{
    const uint32_t culprit = world_size - 1;
    const struct split split = even_split(2, 1);
    struct stage stage;
    if (world_size == 1)
        return;
    ck_assert(set_stage(&stage));
    if (world_rank == culprit) {
        stage.rules.spoil = true;
        stage.rules.good_sends = stage.rules.sends + world_size - 1;
    }
    const double begin = clock_seconds();
    const enum vkring_status status = append(stage.cache, &stage.model, &split, 0);
    bool good = true;
    if (world_rank == 0) /* its right neighbour gets the first message */
        good = is_named(status, VKRING_ERROR_PEER, culprit, clock_seconds() - begin) && is_lost(&stage);
    good = clear_stage(&stage) && good;
    ck_assert(world_agrees(good));
}
END_TEST

static PFN_vkQueueSubmit2 submit;
static int good_submits;

static VKAPI_ATTR VkResult VKAPI_CALL submit_at_first(VkQueue queue, uint32_t count, const VkSubmitInfo2 *infos, VkFence fence)
{
    return good_submits-- > 0 ? submit(queue, count, infos, fence) : VK_ERROR_OUT_OF_HOST_MEMORY;
}

/* Before its rows left, others hear of it at once; after that, in their next call. */
START_TEST(a_rank_whose_device_fails_is_named)
{
    const uint32_t culprit = world_size - 1;
    const struct split split = even_split(2, 1);
    struct stage stage;
    bool good = true;
    if (world_size == 1 && _i > 0)
        return;
    ck_assert(set_stage(&stage));
    submit = device->fn.vkQueueSubmit2;
    good_submits = _i;
    if (world_rank == culprit)
        device->fn.vkQueueSubmit2 = submit_at_first;
    const double begin = clock_seconds();
    enum vkring_status status = append(stage.cache, &stage.model, &split, 0);
    if (world_rank != culprit && _i > 0)
        good = world_expect(status == VKRING_OK, "rows that are there are not stored");
    if (world_rank != culprit && _i > 0)
        status = append(stage.cache, &stage.model, &split, 0);
    if (world_rank == culprit)
        good = is_refused(status, VKRING_ERROR_OUT_OF_HOST_MEMORY, "vkQueueSubmit2");
    else
        good = is_named(status, VKRING_ERROR_PEER, culprit, clock_seconds() - begin) && good;
    good = world_expect(clock_seconds() - begin < TIMEOUT, "it took %.1f s", clock_seconds() - begin) && good;
    device->fn.vkQueueSubmit2 = submit;
    good = is_lost(&stage) && good;
    good = clear_stage(&stage) && good;
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
    comm = world_comm();
    tcase_add_loop_test(tcase, what_is_appended_is_stored, 0, sizeof(stored) / sizeof(stored[0]));
    tcase_add_test(tcase, rows_beyond_a_piece_are_stored);
    tcase_add_test(tcase, what_is_not_finite_stays_so_in_integers);
    tcase_add_test(tcase, ranks_hold_the_same_but_for_one_row);
    tcase_add_loop_test(tcase, memory_is_as_measured, 0, 4);
    tcase_add_test(tcase, a_full_cache_stays_as_it_is);
    tcase_add_test(tcase, more_rows_than_a_call_may_have_are_refused_everywhere);
    tcase_add_loop_test(tcase, a_bad_tensor_on_one_rank_is_refused_everywhere, 0, 2);
    tcase_add_loop_test(tcase, a_rank_that_did_not_truncate_is_found, 0, 2);
    tcase_add_test(tcase, another_cache_on_one_rank_is_found);
    tcase_add_loop_test(tcase, ranks_agree_on_what_is_made, 0, sizeof(odd_params) / sizeof(odd_params[0]));
    tcase_add_test(tcase, a_rank_without_memory_is_named);
    tcase_add_test(tcase, a_silent_rank_is_named);
    tcase_add_test(tcase, a_rank_that_dies_among_rows_is_named);
    tcase_add_test(tcase, spoilt_rows_are_found);
    tcase_add_loop_test(tcase, a_rank_whose_device_fails_is_named, 0, 2);
    suite_add_tcase(suite, tcase);
    return world_end(suite, devices, 2, &comm);
}
