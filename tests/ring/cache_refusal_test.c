/* SPDX-License-Identifier: MIT */
/* Attention to a cache that cannot be: calls that are refused leave all as it was, and a rank that stops is named by all others. */
#include <string.h>

#include <base/clock.h>
#include <cache/cache.h>

#include "lossy_comm.h"
#include "world.h"

enum { TIMEOUT = 1, HEADS = 2, DIM = 8, ROW = HEADS * DIM, MOST_RANKS = 8, CAPACITY = 64 };

static vkring_device *device;

static const struct vkring_cache_params params = {.attention = {.batch = 2,
                                                                .q_len = 3 * MOST_RANKS,
                                                                .kv_len = CAPACITY,
                                                                .heads = HEADS,
                                                                .head_dim = DIM,
                                                                .causal = true,
                                                                .dropout = 0.5,
                                                                .segment_ids = true,
                                                                .bias = {.present = true},
                                                                .timeout_seconds = 60}};

/* Every rank brings one row of each sequence, whose values are all 1, all of one segment and with the same bias. */
struct stage {
    vkring_comm *inner, *comm;
    struct lossy_rules rules;
    vkring_cache *cache;
    vkring_buffer *ones, *output, *small;
    uint64_t rows[2];
};

static enum vkring_status attend(struct stage *stage)
{
    const struct vkring_cache_attend_io io = {.rows = stage->rows,
                                              .query = {.buffer = stage->ones},
                                              .output = {.buffer = stage->output},
                                              .segment_ids = {.buffer = stage->ones},
                                              .bias = {.buffer = stage->ones},
                                              .seed = 5};
    return vkring_cache_attend(stage->cache, &io);
}

static bool expect_good(enum vkring_status status)
{
    return world_expect(status == VKRING_OK, "%s", vkring_last_error()->message);
}

static bool upload_ones(struct stage *stage)
{
    float ones[4 * ROW];
    for (int i = 0; i < 4 * ROW; i++)
        ones[i] = 1;
    return expect_good(vkring_buffer_create(device, sizeof(ones), &stage->ones)) &&
           expect_good(vkring_buffer_create(device, sizeof(ones), &stage->output)) &&
           expect_good(vkring_buffer_create(device, 4, &stage->small)) &&
           expect_good(vkring_buffer_upload(stage->ones, 0, ones, sizeof(ones)));
}

/* With one good call, so that nothing is left to compile or to connect. */
static bool set_stage(struct stage *stage)
{
    *stage = (struct stage){.inner = world_comm(), .rules = {.good_sends = UINT64_MAX}, .rows = {1, 1}};
    bool set = expect_good(lossy_comm_create(stage->inner, &stage->rules, &stage->comm)) && upload_ones(stage);
    set = world_agrees(set) && expect_good(vkring_cache_create(device, stage->comm, &params, &stage->cache));
    const struct vkring_tensor rows = {.buffer = stage->ones};
    set = world_agrees(set) &&
          expect_good(vkring_cache_append(
              stage->cache, &(struct vkring_cache_append_io){.rows = stage->rows, .key = rows, .value = rows, .segment_ids = rows}));
    set = world_agrees(set) && expect_good(attend(stage));
    return world_agrees(set);
}

static bool clear_stage(struct stage *stage)
{
    const double begin = clock_seconds();
    vkring_cache_destroy(&stage->cache);
    vkring_comm_destroy(&stage->comm);
    vkring_comm_destroy(&stage->inner);
    vkring_buffer_destroy(&stage->ones);
    vkring_buffer_destroy(&stage->output);
    vkring_buffer_destroy(&stage->small);
    return world_expect(clock_seconds() - begin < 1, "destroying took %.1f s", clock_seconds() - begin);
}

static bool is_refused(enum vkring_status status, enum vkring_status wanted, const char *word)
{
    return world_expect(status == wanted && strstr(vkring_last_error()->message, word), "status %d, not %d: %s", status, wanted,
                        vkring_last_error()->message);
}

/* The culprit's message has the word. */
static bool is_refused_by(uint32_t culprit, enum vkring_status status, const char *word)
{
    if (world_rank == culprit)
        return is_refused(status, VKRING_ERROR_INVALID_ARGUMENT, word);
    return is_refused(status, VKRING_ERROR_PEER, "refused") && world_expect(vkring_last_error()->rank == culprit, "another is named");
}

START_TEST(calls_that_are_refused_change_nothing)
{
    const uint32_t culprit = world_size - 1;
    const bool is_culprit = world_rank == culprit;
    struct stage stage;
    vkring_device *other = test_device_open(NULL);
    vkring_buffer *elsewhere = NULL;
    ck_assert(set_stage(&stage));
    ck_assert_int_eq(vkring_buffer_create(other, vkring_buffer_size(stage.ones), &elsewhere), VKRING_OK);

    stage.rows[1] = world_rank == 0 ? 2 : 1;
    bool good = is_refused(attend(&stage), VKRING_ERROR_INVALID_ARGUMENT, "sequence 1 has");
    stage.rows[1] = 1;

    struct vkring_cache_attend_io io = {.rows = stage.rows,
                                        .query = {.buffer = stage.ones},
                                        .output = {.buffer = stage.output},
                                        .segment_ids = {.buffer = stage.ones},
                                        .bias = {.buffer = stage.ones},
                                        .seed = 5};
    io.output.buffer = is_culprit ? stage.small : stage.output;
    good = is_refused_by(culprit, vkring_cache_attend(stage.cache, &io), "output") && good;
    io.output.buffer = stage.output;
    io.segment_ids.buffer = is_culprit ? stage.small : stage.ones;
    good = is_refused_by(culprit, vkring_cache_attend(stage.cache, &io), "segment_ids") && good;
    io.segment_ids.buffer = stage.ones;
    io.bias.offset_bytes = is_culprit ? sizeof(float[4 * ROW - CAPACITY + 1]) : 0;
    good = is_refused_by(culprit, vkring_cache_attend(stage.cache, &io), "bias") && good;
    io.bias.offset_bytes = 0;
    io.query.buffer = is_culprit ? elsewhere : stage.ones;
    good = is_refused_by(culprit, vkring_cache_attend(stage.cache, &io), "query: the buffer is of another device") && good;
    io.query.buffer = stage.ones;
    const struct vkring_tensor rows = {.buffer = stage.ones};
    const struct vkring_cache_append_io new_rows = {
        .rows = stage.rows, .key = rows, .value = {.buffer = is_culprit ? elsewhere : stage.ones}, .segment_ids = rows};
    good = is_refused_by(culprit, vkring_cache_append(stage.cache, &new_rows), "value: the buffer is of another device") && good;

    io.seed = is_culprit ? 6 : 5;
    if (world_size > 1)
        good = is_refused(vkring_cache_attend(stage.cache, &io), VKRING_ERROR_MISMATCH, "seed") && good;

    good = world_agrees(good) && expect_good(attend(&stage));
    good = clear_stage(&stage) && good;
    vkring_buffer_destroy(&elsewhere);
    vkring_device_destroy(&other);
    ck_assert(world_agrees(good));
}
END_TEST

/* In what goes before its queries, in these, and while partial results are merged. */
START_TEST(a_rank_that_falls_silent_is_named)
{
    const uint32_t culprit = world_size / 2;
    struct stage stage;
    if (world_size == 1)
        return;
    ck_assert(set_stage(&stage));
    stage.cache->timeout_seconds = TIMEOUT;
    if (world_rank == culprit) {
        stage.rules.lose = true;
        stage.rules.good_sends = stage.rules.sends + (uint64_t)_i * (world_size - 1);
    }
    const double begin = clock_seconds();
    const enum vkring_status status = attend(&stage);
    const double seconds = clock_seconds() - begin;
    struct vkring_cache_info info;
    vkring_cache_get_info(stage.cache, &info);
    bool good = world_rank == culprit ||
                (world_expect(status == VKRING_ERROR_TIMEOUT || status == VKRING_ERROR_PEER, "status %d", status) &&
                 world_expect(vkring_last_error()->rank == culprit, "rank %u is named: %s", vkring_last_error()->rank,
                              vkring_last_error()->message) &&
                 world_expect(seconds < TIMEOUT + 2, "it took %.1f s", seconds) && world_expect(info.lost, "the cache is not lost"));
    good = clear_stage(&stage) && good;
    ck_assert(world_agrees(good));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("refusals of attention to a cache");
    TCase *tcase = tcase_create("faults");
    vkring_device *devices[1];
    devices[0] = device = world_begin(&argc, &argv);
    tcase_add_test(tcase, calls_that_are_refused_change_nothing);
    tcase_add_loop_test(tcase, a_rank_that_falls_silent_is_named, 0, 4);
    suite_add_tcase(suite, tcase);
    vkring_comm *none = NULL;
    return world_end(suite, devices, 1, &none);
}
