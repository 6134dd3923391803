/* SPDX-License-Identifier: MIT */
/* Whether keys travel or queries, by hand from the equations: 4 ranks of 1 TFLOP/s, 10 GB/s, f16, groups of 4 heads. */
#include <cache/pass_keys.h>

#include "../harness/suite.h"

static struct vkring_bias_params bias; /* of the next question */

static bool pays(uint64_t new_rows, uint64_t length, enum vkring_cache_storage storage, double dropout)
{
    uint64_t starts[2] = {0, new_rows};
    const struct vkring_cache cache = {
        .ranks = 4,
        .problem = {.type = VKRING_TYPE_F16,
                    .batch = 1,
                    .heads = 32,
                    .kv_heads = 8,
                    .head_dim = 32,
                    .value_dim = 32,
                    .dropout = dropout,
                    .bias = bias},
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
    ck_assert(pays(100, 1000000, VKRING_CACHE_AS_TYPE, 0));
    ck_assert(!pays(99, 1000000, VKRING_CACHE_AS_TYPE, 0));
}
END_TEST

/* From a part of 2 / 4 - 4 · rows / 800 of all on. */
START_TEST(keys_travel_where_most_rows_are_new)
{
    ck_assert(pays(1, 2, VKRING_CACHE_AS_TYPE, 0));
    ck_assert(pays(20, 50, VKRING_CACHE_AS_TYPE, 0));
    ck_assert(!pays(20, 51, VKRING_CACHE_AS_TYPE, 0));
    ck_assert(!pays(1, 100, VKRING_CACHE_AS_TYPE, 0));
    ck_assert(!pays(0, 100, VKRING_CACHE_AS_TYPE, 0));
}
END_TEST

/* A row of bias of f32 and 32 heads has 128 bytes for each key, which has 8 · 64 · 2. */
START_TEST(keys_travel_where_biases_weigh_more)
{
    bias = (struct vkring_bias_params){.present = true, .per_head = true, .per_query = true};
    ck_assert(pays(8, 1000000, VKRING_CACHE_AS_TYPE, 0));
    ck_assert(!pays(7, 1000000, VKRING_CACHE_AS_TYPE, 0));
    bias.per_query = false;
    ck_assert(!pays(8, 1000000, VKRING_CACHE_AS_TYPE, 0));
    bias.present = false;
}
END_TEST

START_TEST(what_cannot_travel_does_not)
{
    ck_assert(!pays(1000, 1000, VKRING_CACHE_INT8, 0));
    ck_assert(!pays(1000, 1000, VKRING_CACHE_AS_TYPE, 0.1));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pass keys");
    TCase *tcase = tcase_create("rule");
    tcase_add_test(tcase, keys_travel_for_many_new_rows);
    tcase_add_test(tcase, keys_travel_where_most_rows_are_new);
    tcase_add_test(tcase, keys_travel_where_biases_weigh_more);
    tcase_add_test(tcase, what_cannot_travel_does_not);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
