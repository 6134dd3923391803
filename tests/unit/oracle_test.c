/* SPDX-License-Identifier: MIT */
/* The oracle itself: what attention is known to do, whatever computes it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ref/compare.h>
#include <ref/random_input.h>
#include <ref/reference.h>

#include "../harness/suite.h"

/* Room for the largest problem here. */
enum { ROOM = 2 * 40 * 4 * 8 };

struct tensors {
    float query[ROOM], key[ROOM], value[ROOM];
    double output[ROOM], lse[ROOM];
};

static const struct reference_problem small = {
    .batch = 2, .q_len = 9, .kv_len = 13, .heads = 4, .kv_heads = 2, .head_dim = 5, .value_dim = 3, .query_offset = 4, .scale = 0.4};

static struct tensors *make_tensors(void)
{
    struct tensors *t = calloc(1, sizeof(*t));
    ck_assert_ptr_nonnull(t);
    random_fill(1, RANDOM_NORMAL, 1, 0, ROOM, t->query);
    random_fill(2, RANDOM_NORMAL, 1, 0, ROOM, t->key);
    random_fill(3, RANDOM_NORMAL, 1, 0, ROOM, t->value);
    for (int i = 0; i < ROOM; i++)
        t->output[i] = t->lse[i] = -777;
    return t;
}

static void attend(const struct reference_problem *problem, struct tensors *t)
{
    ck_assert(reference_forward(problem, t->query, t->key, t->value, 0, problem->q_len, t->output, t->lse));
}

static uint64_t output_count(const struct reference_problem *p)
{
    return p->batch * p->q_len * p->heads * p->value_dim;
}

static uint64_t lse_count(const struct reference_problem *p)
{
    return p->batch * p->heads * p->q_len;
}

static void check_near(double a, double b)
{
    ck_assert_msg(fabs(a - b) <= 1e-13 * fmax(1, fabs(b)), "%.17g, not %.17g", a, b);
}

/* Two queries, two keys, by hand: weights of row 0 are e/(e+1) and 1/(e+1), of row 1 are 1/(1+e^2) and e^2/(1+e^2). */
START_TEST(two_by_two_by_hand)
{
    struct reference_problem p = {
        .batch = 1, .q_len = 2, .kv_len = 2, .heads = 1, .kv_heads = 1, .head_dim = 2, .value_dim = 1, .scale = 0.5};
    const float query[4] = {2, 0, 0, 2};
    const float key[4] = {1, 0, 0, 2};
    const float value[2] = {10, 20};
    double output[2], lse[2];
    ck_assert(reference_forward(&p, query, key, value, 0, 2, output, lse));
    double e = exp(1);
    check_near(lse[0], log(e + 1));
    check_near(lse[1], log(1 + e * e));
    check_near(output[0], (10 * e + 20) / (e + 1));
    check_near(output[1], (10 + 20 * e * e) / (1 + e * e));
    p.causal = true; /* row 0 keeps key 0 alone */
    ck_assert(reference_forward(&p, query, key, value, 0, 2, output, lse));
    check_near(lse[0], 1);
    check_near(output[0], 10);
    check_near(lse[1], log(1 + e * e));
}
END_TEST

START_TEST(one_hot_attention_copies_a_value)
{
    struct reference_problem p = {
        .batch = 1, .q_len = 8, .kv_len = 8, .heads = 1, .kv_heads = 1, .head_dim = 8, .value_dim = 5, .scale = 1000};
    struct tensors *t = make_tensors();
    memset(t->query, 0, sizeof(t->query));
    memset(t->key, 0, sizeof(t->key));
    for (int i = 0; i < 8; i++) {
        t->key[i * 8 + i] = 1;
        t->query[i * 8 + (3 * i + 1) % 8] = 1;
    }
    attend(&p, t);
    for (int i = 0; i < 8; i++) {
        for (int d = 0; d < 5; d++)
            ck_assert_double_eq(t->output[i * 5 + d], (double)t->value[(3 * i + 1) % 8 * 5 + d]);
        ck_assert_double_eq(t->lse[i], 1000);
    }
    free(t);
}
END_TEST

START_TEST(values_of_one_give_one)
{
    struct reference_problem p = small;
    struct tensors *t = make_tensors();
    for (int i = 0; i < ROOM; i++)
        t->value[i] = 1;
    attend(&p, t);
    for (uint64_t i = 0; i < output_count(&p); i++)
        check_near(t->output[i], 1);
    free(t);
}
END_TEST

static void swap_rows(float *rows, uint64_t a, uint64_t b, uint64_t width)
{
    for (uint64_t i = 0; i < width; i++) {
        float kept = rows[a * width + i];
        rows[a * width + i] = rows[b * width + i];
        rows[b * width + i] = kept;
    }
}

START_TEST(the_order_of_keys_does_not_matter)
{
    struct reference_problem p = small;
    p.batch = 1;
    struct tensors *t = make_tensors();
    struct tensors *other = make_tensors();
    for (uint64_t j = 0; j < p.kv_len; j++) {
        swap_rows(other->key, j, j * 5 % p.kv_len, p.kv_heads * p.head_dim);
        swap_rows(other->value, j, j * 5 % p.kv_len, p.kv_heads * p.value_dim);
    }
    attend(&p, t);
    attend(&p, other);
    for (uint64_t i = 0; i < output_count(&p); i++)
        check_near(other->output[i], t->output[i]);
    for (uint64_t i = 0; i < lse_count(&p); i++)
        check_near(other->lse[i], t->lse[i]);
    free(t);
    free(other);
}
END_TEST

/* exp(lse) adds up over halves of the keys, and outputs are their means in those weights. */
START_TEST(halves_of_the_keys_merge)
{
    struct reference_problem p = small, front = small, back = small;
    p.batch = front.batch = back.batch = 1;
    front.kv_len = 6;
    back.kv_len = p.kv_len - 6;
    struct tensors *whole = make_tensors(), *first = make_tensors(), *second = make_tensors();
    memmove(second->key, second->key + 6 * p.kv_heads * p.head_dim, back.kv_len * p.kv_heads * p.head_dim * sizeof(float));
    memmove(second->value, second->value + 6 * p.kv_heads * p.value_dim, back.kv_len * p.kv_heads * p.value_dim * sizeof(float));
    attend(&p, whole);
    attend(&front, first);
    attend(&back, second);
    for (uint64_t h = 0; h < p.heads; h++)
        for (uint64_t i = 0; i < p.q_len; i++) {
            uint64_t at = h * p.q_len + i;
            check_near(exp(first->lse[at]) + exp(second->lse[at]), exp(whole->lse[at]));
            for (uint64_t d = 0; d < p.value_dim; d++) {
                uint64_t o = (i * p.heads + h) * p.value_dim + d;
                double merged =
                    first->output[o] * exp(first->lse[at] - whole->lse[at]) + second->output[o] * exp(second->lse[at] - whole->lse[at]);
                check_near(merged, whole->output[o]);
            }
        }
    free(whole);
    free(first);
    free(second);
}
END_TEST

/* A causal row is a row of a problem with fewer keys; without any it is zero and -inf. */
static void check_causal(int64_t query_offset)
{
    struct reference_problem p = small;
    p.batch = 1;
    p.causal = true;
    p.query_offset = query_offset;
    struct tensors *t = make_tensors(), *cut = make_tensors();
    attend(&p, t);
    for (uint64_t i = 0; i < p.q_len; i++) {
        struct reference_problem shorter = p;
        int64_t position = (int64_t)i + query_offset;
        shorter.causal = false;
        shorter.kv_len = position < 0 ? 0 : position >= (int64_t)p.kv_len ? p.kv_len : (uint64_t)position + 1;
        attend(&shorter, cut);
        for (uint64_t c = 0; c < p.heads * p.value_dim; c++)
            ck_assert_double_eq(t->output[i * p.heads * p.value_dim + c], cut->output[i * p.heads * p.value_dim + c]);
        for (uint64_t h = 0; h < p.heads; h++)
            ck_assert(t->lse[h * p.q_len + i] == cut->lse[h * p.q_len + i]);
    }
    free(t);
    free(cut);
}

START_TEST(causal_is_a_shorter_problem)
{
    const int64_t offsets[] = {0, 1, 4, 12, 13, 1000, -1, -5, -9, -1000};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++)
        check_causal(offsets[i]);
}
END_TEST

START_TEST(offsets_at_the_ends_of_their_type)
{
    struct reference_problem p = small;
    p.causal = true;
    struct tensors *t = make_tensors(), *full = make_tensors();
    p.query_offset = INT64_MIN;
    attend(&p, t);
    for (uint64_t i = 0; i < output_count(&p); i++)
        ck_assert_double_eq(t->output[i], 0);
    for (uint64_t i = 0; i < lse_count(&p); i++)
        ck_assert(t->lse[i] == -INFINITY);
    p.query_offset = INT64_MAX;
    attend(&p, t);
    p.causal = false;
    attend(&p, full);
    ck_assert_mem_eq(t->output, full->output, output_count(&p) * sizeof(double));
    free(t);
    free(full);
}
END_TEST

START_TEST(heads_read_the_keys_of_their_group)
{
    struct reference_problem grouped = small, single = small;
    struct tensors *t = make_tensors(), *repeated = make_tensors();
    single.kv_heads = small.heads;
    for (uint64_t row = 0; row < small.batch * small.kv_len; row++)
        for (uint64_t h = 0; h < small.heads; h++) {
            memcpy(repeated->key + (row * 4 + h) * 5, t->key + (row * 2 + h / 2) * 5, 5 * sizeof(float));
            memcpy(repeated->value + (row * 4 + h) * 3, t->value + (row * 2 + h / 2) * 3, 3 * sizeof(float));
        }
    attend(&grouped, t);
    attend(&single, repeated);
    ck_assert_mem_eq(t->output, repeated->output, output_count(&small) * sizeof(double));
    free(t);
    free(repeated);
}
END_TEST

START_TEST(a_range_of_rows_leaves_the_others)
{
    struct reference_problem p = small;
    struct tensors *all = make_tensors(), *some = make_tensors();
    attend(&p, all);
    ck_assert(reference_forward(&p, some->query, some->key, some->value, 3, 2, some->output, some->lse));
    for (uint64_t b = 0; b < p.batch; b++)
        for (uint64_t i = 0; i < p.q_len; i++)
            for (uint64_t c = 0; c < p.heads * p.value_dim; c++) {
                uint64_t at = (b * p.q_len + i) * p.heads * p.value_dim + c;
                ck_assert_double_eq(some->output[at], i == 3 || i == 4 ? all->output[at] : -777);
            }
    ck_assert(reference_forward(&p, some->query, some->key, some->value, 0, p.q_len, some->output, NULL));
    ck_assert_mem_eq(some->output, all->output, output_count(&p) * sizeof(double));
    free(all);
    free(some);
}
END_TEST

START_TEST(random_elements_depend_on_their_index_alone)
{
    float whole[100], part[100];
    const enum random_shape shapes[] = {RANDOM_NORMAL, RANDOM_HEAVY_TAIL, RANDOM_UNIFORM};
    for (int s = 0; s < 3; s++) {
        random_fill(42, shapes[s], 2, 1000, 100, whole);
        for (int cut = 0; cut <= 100; cut += 7) {
            random_fill(42, shapes[s], 2, 1000, (uint64_t)cut, part);
            random_fill(42, shapes[s], 2, 1000 + (uint64_t)cut, 100 - (uint64_t)cut, part + cut);
            ck_assert_mem_eq(whole, part, sizeof(whole));
        }
    }
    random_fill(43, RANDOM_NORMAL, 2, 1000, 100, part);
    ck_assert_mem_ne(whole, part, sizeof(whole));
}
END_TEST

START_TEST(random_values_have_their_moments)
{
    enum { COUNT = 200000 };
    float *values = malloc(COUNT * sizeof(*values));
    ck_assert_ptr_nonnull(values);
    random_fill(7, RANDOM_NORMAL, 3, 0, COUNT, values);
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++) {
        sum += (double)values[i];
        squares += (double)values[i] * (double)values[i];
    }
    ck_assert(fabs(sum / COUNT) < 0.03);
    ck_assert(fabs(squares / COUNT - 9) < 0.2);
    random_fill(7, RANDOM_UNIFORM, 1, 0, COUNT, values);
    for (int i = 0; i < COUNT; i++)
        ck_assert(values[i] >= 0 && values[i] < 1);
    free(values);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("oracle");
    suite_add(suite, "attention", two_by_two_by_hand);
    suite_add(suite, "attention", one_hot_attention_copies_a_value);
    suite_add(suite, "attention", values_of_one_give_one);
    suite_add(suite, "attention", the_order_of_keys_does_not_matter);
    suite_add(suite, "attention", halves_of_the_keys_merge);
    suite_add(suite, "attention", causal_is_a_shorter_problem);
    suite_add(suite, "attention", offsets_at_the_ends_of_their_type);
    suite_add(suite, "attention", heads_read_the_keys_of_their_group);
    suite_add(suite, "attention", a_range_of_rows_leaves_the_others);
    suite_add(suite, "random", random_elements_depend_on_their_index_alone);
    suite_add(suite, "random", random_values_have_their_moments);
    return suite_run(suite);
}
