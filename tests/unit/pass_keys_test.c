/* SPDX-License-Identifier: MIT */
/* Whether keys travel or queries, by hand from the equations: 4 ranks of 1 TFLOP/s, 10 GB/s, f16, groups of 4 heads. */
#include <cache/pass_keys.h>

#include "../harness/suite.h"

static bool pays(uint64_t new_rows, uint64_t length, enum vkring_cache_storage storage)
{
    uint64_t starts[2] = {0, new_rows};
    const struct vkring_cache cache = {
        .ranks = 4,
        .problem = {.type = VKRING_TYPE_F16, .batch = 1, .heads = 32, .kv_heads = 8, .head_dim = 64, .value_dim = 64},
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

int main(void)
{
    Suite *suite = suite_create("pass keys");
    TCase *tcase = tcase_create("rule");
    tcase_add_test(tcase, keys_travel_for_many_new_rows);
    tcase_add_test(tcase, keys_travel_where_most_rows_are_new);
    tcase_add_test(tcase, integers_travel_sooner);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
