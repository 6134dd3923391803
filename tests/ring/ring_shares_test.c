/* SPDX-License-Identifier: MIT */
/* Shares by measured speed: the same on every rank, all rows dealt, no more than memory holds, and right results with them. */
#include <stdlib.h>
#include <string.h>

#include "world.h"

enum { MOST_RANKS = 8 };

static vkring_device *device;
static vkring_comm *comm;

static const struct vkring_plan_params everything = {
    .batch = 2,
    .q_len = 150,
    .kv_len = 201,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 16,
    .value_dim = 8,
    .causal = true,
    .layout = VKRING_LAYOUT_AUTO,
    .segment_ids = true,
    .alibi = true,
    .sinks = true,
    .bias = {.present = true, .per_query = true},
    .backward = true,
    .timeout_seconds = 300,
};

static uint64_t hash_of(const uint64_t *rows)
{
    uint64_t hash = 0;
    for (uint32_t rank = 0; rank < world_size; rank++)
        hash = hash * 1000003 + rows[rank];
    return hash % 1000003;
}

static bool rows_are_good(const uint64_t *rows, const double *speeds, uint64_t q_len)
{
    uint64_t sum = 0;
    bool good = world_expect(world_sum((double)hash_of(rows)) == world_size * (double)hash_of(rows), "ranks have other rows");
    for (uint32_t rank = 0; rank < world_size; rank++) {
        good = good && world_expect(speeds[rank] > 0, "speed %g of rank %u", speeds[rank], rank);
        sum += rows[rank];
    }
    return good && world_expect(sum == q_len, "%llu rows", (unsigned long long)sum);
}

START_TEST(measured_shares_give_right_results)
{
    uint64_t rows[MOST_RANKS] = {0};
    double speeds[MOST_RANKS] = {0};
    struct attention_case c = {.name = "measured shares", .seed = 1, .params = everything};
    const bool measured = world_expect(vkring_shares_measure(device, comm, &c.params, rows, speeds) == VKRING_OK, "not measured: %s",
                                       vkring_last_error()->message);
    ck_assert(world_agrees(measured));
    ck_assert(world_agrees(rows_are_good(rows, speeds, c.params.q_len)));
    c.params.query_rows_of_rank = rows;
    ck_assert(world_agrees(case_passes(&c, device, comm)));
}
END_TEST

START_TEST(nothing_to_compute_is_cut_too)
{
    uint64_t rows[MOST_RANKS] = {0};
    double speeds[MOST_RANKS] = {0};
    struct vkring_plan_params params = everything;
    params.q_len = _i == 0 ? 0 : 100;
    params.kv_len = _i == 1 ? 0 : 100;
    params.batch = _i == 2 ? 0 : 1;
    ck_assert(world_agrees(vkring_shares_measure(device, comm, &params, rows, speeds) == VKRING_OK));
    ck_assert(world_agrees(rows_are_good(rows, speeds, params.q_len)));
}
END_TEST

/* As if the device of the last rank had so little memory that a share as large as the others' does not fit. */
START_TEST(a_small_device_gets_few_rows)
{
    const bool is_small = world_rank + 1 == world_size;
    const uint64_t memory_bytes = device->info.memory_bytes;
    uint64_t rows[MOST_RANKS] = {0};
    double speeds[MOST_RANKS] = {0};
    struct vkring_plan_params params = everything;
    struct vkring_plan_memory least;
    uint64_t none[MOST_RANKS] = {0};
    none[0] = params.q_len;
    params.query_rows_of_rank = none;
    if (world_size == 1)
        return;
    ck_assert(world_agrees(vkring_plan_measure(device, comm, &params, &least) == VKRING_OK));
    params.query_rows_of_rank = NULL;
    if (is_small) /* keys, and about ten rows: 4 heads of queries, outputs, gradients, a bias to all keys */
        device->info.memory_bytes = least.device_bytes + 2 * 67 * 2 * 24 * 8 + 10 * (2 * 4 * (4 * 24 + 24 + 16) * 4 + 2 * 201 * 4);
    const bool measured = vkring_shares_measure(device, comm, &params, rows, speeds) == VKRING_OK;
    device->info.memory_bytes = memory_bytes;
    ck_assert(world_agrees(measured && rows_are_good(rows, speeds, params.q_len)));
    ck_assert(world_agrees(world_expect(rows[world_size - 1] < 30, "%llu rows", (unsigned long long)rows[world_size - 1])));
}
END_TEST

/* Memory that would do for all rows on any one rank does not for all ranks that live off it. */
START_TEST(ranks_of_a_host_share_its_memory)
{
    const uint64_t memory_bytes = device->info.memory_bytes;
    uint64_t rows[MOST_RANKS] = {0}, whole[MOST_RANKS] = {0};
    struct vkring_plan_params params = everything;
    struct vkring_plan_memory one;
    const uint64_t tensors = ((uint64_t)params.q_len * 4 * 24 + (uint64_t)params.kv_len * 2 * 24) * 2 * 2 * 4 +
                             2 * ((uint64_t)params.q_len * (2 * params.kv_len + 64) + 2 * params.kv_len) * 4;
    if (world_size == 1)
        return;
    whole[world_rank] = params.q_len; /* ranks disagree: a plan is measured by each for itself */
    params.query_rows_of_rank = whole;
    const bool measured = vkring_plan_measure(device, comm, &params, &one) == VKRING_OK;
    params.query_rows_of_rank = NULL;
    device->info.memory_bytes = one.device_bytes + tensors;
    const enum vkring_status status = vkring_shares_measure(device, comm, &params, rows, NULL);
    device->info.memory_bytes = memory_bytes;
    ck_assert(world_agrees(measured && world_expect(status == VKRING_ERROR_OUT_OF_DEVICE_MEMORY, "status %d, %llu rows here", (int)status,
                                                    (unsigned long long)rows[world_rank])));
}
END_TEST

START_TEST(one_rank_that_cannot_stops_all)
{
    uint64_t rows[MOST_RANKS] = {0};
    struct vkring_plan_params params = everything;
    const bool is_bad = world_rank + 1 == world_size;
    params.head_dim = is_bad ? 0 : params.head_dim;
    const enum vkring_status status = vkring_shares_measure(device, comm, &params, rows, NULL);
    bool good = world_expect(status == (is_bad ? VKRING_ERROR_INVALID_ARGUMENT : VKRING_ERROR_PEER), "status %d", (int)status);
    ck_assert(world_agrees(good && world_expect(rows[0] == 0, "rows were written")));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("ring shares");
    TCase *tcase = tcase_create("nothing");
    device = world_begin(&argc, &argv);
    comm = world_comm();
    suite_add(suite, "measured", measured_shares_give_right_results);
    tcase_add_loop_test(tcase, nothing_to_compute_is_cut_too, 0, 3);
    suite_add_tcase(suite, tcase);
    suite_add(suite, "memory", a_small_device_gets_few_rows);
    suite_add(suite, "host", ranks_of_a_host_share_its_memory);
    suite_add(suite, "refusal", one_rank_that_cannot_stops_all);
    return world_end(suite, &device, 1, &comm);
}
