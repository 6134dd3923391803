/* SPDX-License-Identifier: MIT */
/* Ranks that fall silent, die, spoil rows or lose their device while rows are appended: they are named, and the cache is lost. */
#include <string.h>

#include <base/clock.h>

#include "cache_appends.h"
#include "lossy_comm.h"

static vkring_device *device;
static vkring_comm *comm;

enum { TIMEOUT = 1 };

struct stage {
    vkring_comm *inner, *comm;
    struct lossy_rules rules;
    vkring_cache *cache;
    struct cache_model model;
};

/*
 * With one good call, so that nothing is left to compile or to connect; only then the deadline is short. Behind its row of each sequence
 * those that ranks bring one of go to the next rank.
 */
static bool set_stage(struct stage *stage)
{
    struct split split = {0};
    for (uint32_t rank = 0; rank < world_size; rank++)
        for (uint64_t sequence = 0; sequence < 2; sequence++)
            add_rows(&split, rank, sequence, rank == 0);
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
           is_refused(append_split(stage->cache, &stage->model, &split, 0), VKRING_ERROR_INVALID_ARGUMENT, "broke off") &&
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
        good = is_named(append_split(stage.cache, &stage.model, &split, 0), VKRING_ERROR_TIMEOUT, culprit, clock_seconds() - begin);
    if (world_rank == culprit)
        good = world_expect(append_split(stage.cache, &stage.model, &split, 0) != VKRING_OK, "it goes on alone");
    good = is_lost(&stage) && good;
    good = clear_stage(&stage) && good;
    ck_assert(world_agrees(good));
}
END_TEST

/* It dies with its rows: what it said of them has arrived, or also rows for its right neighbour, which finds out in its next call. */
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
        stage.rules.good_sends = stage.rules.sends + world_size - 1 + (uint64_t)_i;
    }
    double begin = clock_seconds();
    enum vkring_status status = append_split(stage.cache, &stage.model, &split, 0);
    if (world_rank == 0 && _i > 0 && world_expect(status == VKRING_OK, "rows that are there are not stored")) {
        begin = clock_seconds();
        status = append_split(stage.cache, &stage.model, &split, 0);
    }
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
    const enum vkring_status status = append_split(stage.cache, &stage.model, &split, 0);
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
    enum vkring_status status = append_split(stage.cache, &stage.model, &split, 0);
    if (world_rank != culprit && _i > 0)
        good = world_expect(status == VKRING_OK, "rows that are there are not stored");
    if (world_rank != culprit && _i > 0)
        status = append_split(stage.cache, &stage.model, &split, 0);
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
    Suite *suite = suite_create("faults of a cache");
    TCase *tcase = tcase_create("cache");
    device = world_begin(&argc, &argv);
    comm = world_comm();
    tcase_add_test(tcase, a_silent_rank_is_named);
    tcase_add_loop_test(tcase, a_rank_that_dies_among_rows_is_named, 0, 2);
    tcase_add_test(tcase, spoilt_rows_are_found);
    tcase_add_loop_test(tcase, a_rank_whose_device_fails_is_named, 0, 2);
    suite_add_tcase(suite, tcase);
    return world_end(suite, &device, 1, &comm);
}
