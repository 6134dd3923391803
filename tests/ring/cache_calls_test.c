/* SPDX-License-Identifier: MIT */
/* Calls of a cache that are refused leave it as it was, on every rank; ranks agree on what is made. */
#include <string.h>

#include <base/clock.h>

#include "cache_appends.h"

static vkring_device *device;
static vkring_comm *comm;

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
    good = good && is_refused(append_split(cache, &model, &split, 0), VKRING_ERROR_CACHE_FULL, "sequence 1");
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
    bool good = is_refused(append_split(cache, &model, &split, 0), VKRING_ERROR_INVALID_ARGUMENT, "q_len");
    good = world_agrees(good) && still_works(cache, &model);
    close_cache(&cache, &model);
    ck_assert(world_agrees(good));
}
END_TEST

/* Rows without ids where there are segments, or a value that is not there. */
START_TEST(a_bad_tensor_on_one_rank_is_refused_everywhere)
{
    const uint32_t culprit = _i % 2 ? world_size - 1 : 0;
    const bool is_id = _i / 2;
    const uint64_t rows[2] = {1, 1};
    struct vkring_cache_params params = small;
    vkring_cache *cache = NULL;
    struct cache_model model;
    struct vkring_tensor small_tensor = {0}, tensor = {0};
    params.attention.segment_ids = is_id;
    ck_assert(open_cache(device, comm, &params, &cache, &model));
    bool good = vkring_buffer_create(device, 4096, &tensor.buffer) == VKRING_OK &&
                vkring_buffer_create(device, is_id ? 4 : 60, &small_tensor.buffer) == VKRING_OK;
    struct vkring_cache_append_io io = {.rows = rows, .key = tensor, .value = tensor, .segment_ids = tensor};
    if (world_rank == culprit)
        *(is_id ? &io.segment_ids : &io.value) = small_tensor;
    const double begin = clock_seconds();
    const enum vkring_status status = vkring_cache_append(cache, &io);
    if (world_rank == culprit)
        good = is_refused(status, VKRING_ERROR_INVALID_ARGUMENT, is_id ? "segment_ids" : "value") && good;
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
    good = good && is_refused(append_split(cache, &model, &split, 0), VKRING_ERROR_MISMATCH, "length of sequence 1");
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
    bool good = is_refused(append_split(caches[mine], &models[mine], &split, 0), VKRING_ERROR_MISMATCH, "which cache");
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

static void ask_for_segments(struct vkring_cache_params *params)
{
    params->attention.segment_ids = true;
}

static void ask_for_long_bias(struct vkring_cache_params *params)
{
    params->attention.kv_len = (uint64_t)1 << 24;
    params->attention.bias.present = true;
}

/* More than travels with a query. */
static void ask_for_wide_bias(struct vkring_cache_params *params)
{
    params->attention.kv_len = (uint64_t)1 << 23;
    params->attention.bias = (struct vkring_bias_params){.present = true, .per_head = true, .per_query = true};
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
    {ask_for_bias, VKRING_ERROR_MISMATCH, VKRING_ERROR_MISMATCH, "bias.present"},
    {ask_for_segments, VKRING_ERROR_MISMATCH, VKRING_ERROR_MISMATCH, "segment_ids"},
    {ask_for_long_bias, VKRING_ERROR_UNSUPPORTED, VKRING_ERROR_PEER, "2^24"},
    {ask_for_wide_bias, VKRING_ERROR_UNSUPPORTED, VKRING_ERROR_PEER, "2 heads"},
};

START_TEST(ranks_agree_on_what_is_made)
{
    const uint32_t odd_one = world_size - 1;
    struct vkring_cache_params params = small;
    vkring_cache *cache = NULL;
    if (world_size == 1 && (odd_params[_i].there == VKRING_ERROR_MISMATCH || odd_params[_i].change == ask_for_wide_bias))
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

int main(int argc, char **argv)
{
    Suite *suite = suite_create("calls of a cache");
    TCase *tcase = tcase_create("cache");
    device = world_begin(&argc, &argv);
    comm = world_comm();
    tcase_add_test(tcase, a_full_cache_stays_as_it_is);
    tcase_add_test(tcase, more_rows_than_a_call_may_have_are_refused_everywhere);
    tcase_add_loop_test(tcase, a_bad_tensor_on_one_rank_is_refused_everywhere, 0, 4);
    tcase_add_loop_test(tcase, a_rank_that_did_not_truncate_is_found, 0, 2);
    tcase_add_test(tcase, another_cache_on_one_rank_is_found);
    tcase_add_loop_test(tcase, ranks_agree_on_what_is_made, 0, sizeof(odd_params) / sizeof(odd_params[0]));
    tcase_add_test(tcase, a_rank_without_memory_is_named);
    suite_add_tcase(suite, tcase);
    return world_end(suite, &device, 1, &comm);
}
