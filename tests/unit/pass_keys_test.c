/* SPDX-License-Identifier: MIT */
/* Whether keys travel or queries, by hand from the equations: 4 ranks of 1 TFLOP/s, 10 GB/s, f16, groups of 4 heads. What is timed for it.
 */
#include <cache/pass_keys.h>
#include <cache/pass_probe.h>

#include "../harness/suite.h"

static struct vkring_bias_params bias; /* of the next question */

static bool pays(uint64_t new_rows, uint64_t length, enum vkring_cache_storage storage)
{
    uint64_t starts[2] = {0, new_rows};
    const struct vkring_cache cache = {
        .ranks = 4,
        .problem = {.type = VKRING_TYPE_F16, .batch = 1, .heads = 32, .kv_heads = 8, .head_dim = 64, .value_dim = 64, .bias = bias},
        .storage = storage,
        .lengths = &length,
        .exchange = {.batch = 1, .starts = starts},
        .flops = 1e12,
        .link_bytes_per_second = 1e10,
    };
    return pass_keys_pays(&cache);
}

/* From 4 · 1e12 · 2 / (2 · 4 · 1e10) = 100 rows on. */
START_TEST(keys_travel_for_many_new_rows)
{
    ck_assert(pays(100, 1000000, VKRING_CACHE_AS_TYPE));
    ck_assert(!pays(99, 1000000, VKRING_CACHE_AS_TYPE));
}
END_TEST

/* From a part of 2 / 4 - 4 · rows / 800 of all on. */
START_TEST(keys_travel_where_most_rows_are_new)
{
    ck_assert(pays(1, 2, VKRING_CACHE_AS_TYPE));
    ck_assert(pays(20, 50, VKRING_CACHE_AS_TYPE));
    ck_assert(!pays(20, 51, VKRING_CACHE_AS_TYPE));
    ck_assert(!pays(1, 100, VKRING_CACHE_AS_TYPE));
    ck_assert(!pays(0, 100, VKRING_CACHE_AS_TYPE));
}
END_TEST

/* Keys of int8, dim 64: 68 bytes and not 128, so that 100 · 68 / 128 = 53.125 rows, or a part of (2 / 4) · 68 / 128 - 4 · rows / 800. */
START_TEST(integers_travel_sooner)
{
    ck_assert(pays(54, 1000000, VKRING_CACHE_INT8));
    ck_assert(!pays(53, 1000000, VKRING_CACHE_INT8));
    ck_assert(pays(20, 120, VKRING_CACHE_INT8));
    ck_assert(!pays(20, 122, VKRING_CACHE_INT8));
}
END_TEST

/* A row of bias of f32 and 32 heads has 128 bytes for each key, which has 8 · 128 · 2, or of int8 8 · 2 · 68. */
START_TEST(keys_travel_where_biases_weigh_more)
{
    bias = (struct vkring_bias_params){.present = true, .per_head = true, .per_query = true};
    ck_assert(pays(16, 1000000, VKRING_CACHE_AS_TYPE));
    ck_assert(!pays(15, 1000000, VKRING_CACHE_AS_TYPE));
    ck_assert(pays(9, 1000000, VKRING_CACHE_INT8));
    ck_assert(!pays(8, 1000000, VKRING_CACHE_INT8));
    bias.per_query = false;
    ck_assert(!pays(16, 1000000, VKRING_CACHE_AS_TYPE));
    bias.present = false;
}
END_TEST

/* For 1e6 pairs 256 rows have 3906 keys; for 2e5, 128 have 1562; never fewer than 32 rows, unless there are fewer pairs. */
START_TEST(what_is_timed_is_as_much_as_wanted)
{
    static const struct {
        double pairs;
        struct probe_size most, wanted;
    } cases[] = {
        {1e6, {4096, 65536}, {256, 3906}}, {2e5, {4096, 65536}, {128, 1562}}, {1e3, {4096, 65536}, {32, 31}},
        {1e6, {100, 65536}, {100, 10000}}, {1e6, {4096, 50}, {256, 50}},      {20, {4096, 65536}, {16, 1}},
        {0, {4096, 65536}, {1, 1}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct probe_size size = probe_size_for(7 * cases[i].pairs, 7, &cases[i].most);
        ck_assert_uint_eq(size.rows, cases[i].wanted.rows);
        ck_assert_uint_eq(size.keys, cases[i].wanted.keys);
    }
}
END_TEST

START_TEST(the_slowest_of_each_counts)
{
    const struct probe probes[] = {{3e9, 2e12}, {1e9, 3e12}, {2e9, 1e12}};
    const struct probe slowest = probe_slowest(probes, 3), alone = probe_slowest(probes, 1);
    ck_assert(slowest.link_bytes_per_second == 1e9 && slowest.flops == 1e12);
    ck_assert(alone.link_bytes_per_second == 3e9 && alone.flops == 2e12);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pass keys");
    TCase *tcase = tcase_create("rule");
    tcase_add_test(tcase, keys_travel_for_many_new_rows);
    tcase_add_test(tcase, keys_travel_where_most_rows_are_new);
    tcase_add_test(tcase, integers_travel_sooner);
    tcase_add_test(tcase, keys_travel_where_biases_weigh_more);
    tcase_add_test(tcase, the_slowest_of_each_counts);
    tcase_add_test(tcase, what_is_timed_is_as_much_as_wanted);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
