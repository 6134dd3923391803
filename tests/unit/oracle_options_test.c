/* SPDX-License-Identifier: MIT */
/* Each option of the oracle against its definition, pair by pair, and against what is known of it without computing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <ref/philox.h>

#include "../harness/suite.h"
#include "oracle_problem.h"

struct pair {
    uint64_t b, h, i, j;
};

struct results {
    double output[ORACLE_ROOM], lse[ORACLE_ROOM];
};

static int64_t floor_of(double x)
{
    return (int64_t)floor(x);
}

static int64_t query_position(const struct reference_problem *p, const struct pair *at)
{
    return (int64_t)at->i + p->query_offset;
}

static bool keeps(const struct reference_problem *p, const struct pair *at)
{
    const int64_t p_i = query_position(p, at), p_j = (int64_t)at->j;
    const double block = p->causal_block ? (double)p->causal_block : 1;
    if (p->causal && floor_of((double)p_i / block) < floor_of((double)p_j / block))
        return false;
    if (p->has_window && p->window_left != -1 && p_i - p_j > p->window_left)
        return false;
    if (p->has_window && p->window_right != -1 && p_j - p_i > p->window_right)
        return false;
    return !p->query_segment_ids || p->query_segment_ids[at->b * p->q_len + at->i] == p->key_segment_ids[at->b * p->kv_len + at->j];
}

static double bias_of(const struct reference_problem *p, const struct pair *at)
{
    const uint64_t b = p->bias.per_batch ? at->b : 0, h = p->bias.per_head ? at->h : 0, i = p->bias.per_query ? at->i : 0;
    const uint64_t heads = p->bias.per_head ? p->heads : 1, rows = p->bias.per_query ? p->q_len : 1;
    return p->bias.values ? (double)p->bias.values[((b * heads + h) * rows + i) * p->kv_len + at->j] : 0;
}

static double score_of(const struct reference_problem *p, const struct oracle_inputs *in, const struct pair *at)
{
    const uint64_t kv_head = at->h * p->kv_heads / p->heads;
    double s = 0;
    for (uint64_t d = 0; d < p->head_dim; d++)
        s += (double)in->query[((at->b * p->q_len + at->i) * p->heads + at->h) * p->head_dim + d] *
             (double)in->key[((at->b * p->kv_len + at->j) * p->kv_heads + kv_head) * p->head_dim + d];
    s *= p->scale;
    if (p->softcap > 0)
        s = p->softcap * tanh(s / p->softcap);
    if (p->alibi_slopes)
        s -= (double)p->alibi_slopes[at->h] * (double)llabs(query_position(p, at) - (int64_t)at->j);
    return s + bias_of(p, at);
}

static bool drops(const struct reference_problem *p, const struct pair *at)
{
    const uint32_t counter[4] = {(uint32_t)(at->j / 4), (uint32_t)query_position(p, at), (uint32_t)at->h, (uint32_t)at->b};
    const uint32_t key[2] = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32)};
    uint32_t words[4];
    philox4x32_10(counter, key, words);
    return (double)words[at->j % 4] < floor(p->dropout * 4294967296.0);
}

static double weight_of(const struct reference_problem *p, const struct oracle_inputs *in, const struct pair *at)
{
    return keeps(p, at) ? exp(score_of(p, in, at)) : 0;
}

/* Sums of exponentials as they stand: scores here are small. */
static void attend_row_by_definition(const struct reference_problem *p, const struct oracle_inputs *in, struct pair at,
                                     struct results *results)
{
    const uint64_t kv_head = at.h * p->kv_heads / p->heads;
    double *output = results->output + ((at.b * p->q_len + at.i) * p->heads + at.h) * p->value_dim;
    double sum = p->sinks ? exp((double)p->sinks[at.h]) : 0;
    for (at.j = 0; at.j < p->kv_len; at.j++)
        sum += weight_of(p, in, &at);
    results->lse[(at.b * p->heads + at.h) * p->q_len + at.i] = log(sum);
    for (uint64_t d = 0; d < p->value_dim; d++)
        output[d] = 0;
    for (at.j = 0; at.j < p->kv_len; at.j++)
        for (uint64_t d = 0; d < p->value_dim && keeps(p, &at) && !drops(p, &at) && sum > 0; d++)
            output[d] += weight_of(p, in, &at) / sum / (1 - p->dropout) *
                         (double)in->value[((at.b * p->kv_len + at.j) * p->kv_heads + kv_head) * p->value_dim + d];
}

static void attend_by_definition(const struct reference_problem *p, const struct oracle_inputs *in, struct results *results)
{
    for (uint64_t b = 0; b < p->batch; b++)
        for (uint64_t h = 0; h < p->heads; h++)
            for (uint64_t i = 0; i < p->q_len; i++)
                attend_row_by_definition(p, in, (struct pair){.b = b, .h = h, .i = i}, results);
}

static void attend(const struct reference_problem *p, const struct oracle_inputs *in, struct results *results)
{
    ck_assert(reference_forward(p, in->query, in->key, in->value, 0, p->q_len, results->output, results->lse));
}

static void check_near(const char *name, const char *what, uint64_t i, double ours, double expected)
{
    if (!(isinf(expected) && ours == expected))
        ck_assert_msg(fabs(ours - expected) <= 1e-12 * fmax(1, fabs(expected)), "%s: %s %d is %.17g, not %.17g", name, what, (int)i, ours,
                      expected);
}

static void check_same(const char *name, const struct reference_problem *p, const struct results *ours, const struct results *expected)
{
    for (uint64_t i = 0; i < oracle_output_count(p); i++)
        check_near(name, "output", i, ours->output[i], expected->output[i]);
    for (uint64_t i = 0; i < oracle_lse_count(p); i++)
        check_near(name, "lse", i, ours->lse[i], expected->lse[i]);
}

static void check_by_definition(const struct oracle_case *c)
{
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(c, &p);
    struct results ours, expected;
    attend(&p, in, &ours);
    attend_by_definition(&p, in, &expected);
    check_same(c->name, &p, &ours, &expected);
    free(in);
}

START_TEST(one_option_as_defined)
{
    check_by_definition(&oracle_cases[_i]);
}
END_TEST

START_TEST(options_together_as_defined)
{
    struct oracle_case c = oracle_combination(_i);
    check_by_definition(&c);
}
END_TEST

/* One key is kept: its value is the output and its score the lse. */
START_TEST(a_window_of_one_copies_a_value)
{
    const struct oracle_case c = {.problem = {.has_window = true, .query_offset = 2, .heads = 1, .kv_heads = 1, .batch = 1}};
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p);
    struct results ours;
    attend(&p, in, &ours);
    for (uint64_t i = 0; i < p.q_len; i++) {
        for (uint64_t d = 0; d < p.value_dim; d++)
            ck_assert_double_eq(ours.output[i * p.value_dim + d], (double)in->value[(i + 2) * p.value_dim + d]);
        check_near("window", "lse", i, ours.lse[i], score_of(&p, in, &(struct pair){.i = i, .j = i + 2}));
    }
    free(in);
}
END_TEST

START_TEST(limits_at_the_ends_of_their_types)
{
    const struct reference_problem limits[] = {
        {.has_window = true, .window_left = INT64_MAX, .window_right = INT64_MAX},
        {.has_window = true, .window_left = INT64_MAX, .window_right = -1, .query_offset = INT64_MAX - 4},
        {.has_window = true, .window_left = -1, .window_right = INT64_MAX, .query_offset = -INT64_MAX + 6},
        {.causal = true, .causal_block = UINT64_MAX},
        {.causal = true, .causal_block = UINT64_MAX, .query_offset = INT64_MAX},
    };
    const struct oracle_case all = {0}, c = {.problem = limits[_i]};
    struct reference_problem p, free_of_limits;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p), *same = oracle_inputs_create(&all, &free_of_limits);
    struct results ours, expected;
    attend(&p, in, &ours);
    attend(&free_of_limits, same, &expected);
    check_same("limits", &p, &ours, &expected);
    free(in);
    free(same);
}
END_TEST

static void check_nothing(const struct reference_problem *p, const struct results *results, double lse)
{
    for (uint64_t i = 0; i < oracle_output_count(p); i++)
        ck_assert_double_eq(results->output[i], 0);
    for (uint64_t i = 0; i < oracle_lse_count(p); i++)
        ck_assert(results->lse[i] == lse);
}

/* By window, by causal blocks, by segment ids and by bias. */
START_TEST(where_nothing_is_kept)
{
    const struct oracle_case cases[] = {
        {.problem = {.has_window = true, .query_offset = 7}},
        {.problem = {.has_window = true, .window_left = -1, .query_offset = -6}},
        {.problem = {.has_window = true, .window_left = 100, .query_offset = INT64_MAX}},
        {.problem = {.has_window = true, .window_right = 100, .query_offset = INT64_MIN}},
        {.problem = {.causal = true, .causal_block = 5, .query_offset = -5}},
        {.problem = {.causal = true, .causal_block = UINT64_C(1) << 62, .query_offset = INT64_MIN}},
        {.tensors = ORACLE_SEGMENT_IDS},
        {.tensors = ORACLE_BIAS},
    };
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(&cases[_i], &p);
    struct results ours;
    const float sinks[4] = {-2.5f, -2.5f, -2.5f, -2.5f};
    for (uint64_t i = 0; i < p.batch * p.kv_len; i++)
        in->key_segment_ids[i] = INT32_MIN + (int32_t)i;
    for (uint64_t i = 0; i < p.kv_len; i++)
        in->bias[i] = -INFINITY;
    attend(&p, in, &ours);
    check_nothing(&p, &ours, -INFINITY);
    p.sinks = sinks;
    attend(&p, in, &ours);
    check_nothing(&p, &ours, -2.5);
    free(in);
}
END_TEST

/* A pair that bias masks might as well not be there. */
START_TEST(a_masked_key_is_a_key_less)
{
    const struct oracle_case c = {.tensors = ORACLE_BIAS, .problem = {.batch = 1}};
    struct reference_problem p, shorter;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p);
    struct results ours, expected;
    in->bias[p.kv_len - 1] = -INFINITY;
    attend(&p, in, &ours);
    shorter = p;
    shorter.kv_len--;
    attend(&shorter, in, &expected);
    check_same("masked", &p, &ours, &expected);
    free(in);
}
END_TEST

/* What all keys have in common cancels, however far away they are. */
START_TEST(alibi_from_afar)
{
    const int64_t offsets[] = {7, 1000, INT64_C(1) << 40, INT64_MAX, -5, -1000, -(INT64_C(1) << 40), INT64_MIN};
    const struct oracle_case near = {.tensors = ORACLE_ALIBI, .problem = {.query_offset = offsets[_i] > 0 ? 7 : -5}};
    struct oracle_case far = near;
    struct reference_problem p;
    struct results ours, expected;
    struct oracle_inputs *in = oracle_inputs_create(&near, &p);
    attend(&p, in, &expected);
    free(in);
    far.problem.query_offset = offsets[_i];
    in = oracle_inputs_create(&far, &p);
    attend(&p, in, &ours);
    for (uint64_t i = 0; i < oracle_output_count(&p); i++)
        check_near("alibi", "output", i, ours.output[i], expected.output[i]);
    for (uint64_t i = 0; i < oracle_lse_count(&p); i++) {
        double further = fabs((double)offsets[_i] - (double)near.problem.query_offset);
        check_near("alibi", "lse", i, ours.lse[i], expected.lse[i] - further * (double)in->alibi_slopes[i / p.q_len % p.heads]);
    }
    free(in);
}
END_TEST

/* From afar, keys of a slope above 0 lose all weight beside the sink, and those of one below 0 win all. */
START_TEST(a_sink_and_alibi_from_afar)
{
    const struct oracle_case c = {.tensors = ORACLE_ALIBI | ORACLE_SINKS, .problem = {.query_offset = INT64_C(1) << 60}};
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p);
    struct results ours, alone;
    const float slopes[4] = {1, -1, 0.5f, -0.5f};
    memcpy(in->alibi_slopes, slopes, sizeof(slopes));
    attend(&p, in, &ours);
    p.sinks = NULL;
    attend(&p, in, &alone);
    for (uint64_t h = 0; h < p.heads; h++)
        for (uint64_t i = 0; i < p.q_len; i++) {
            ck_assert_double_eq(ours.lse[h * p.q_len + i], h % 2 ? alone.lse[h * p.q_len + i] : (double)in->sinks[h]);
            for (uint64_t d = 0; d < p.value_dim; d++) {
                const uint64_t at = (i * p.heads + h) * p.value_dim + d;
                ck_assert_double_eq(ours.output[at], h % 2 ? alone.output[at] : 0);
            }
        }
    free(in);
}
END_TEST

/* A sink is one more key, of value 0. */
START_TEST(a_sink_is_a_key_of_value_zero)
{
    const struct oracle_case with_sinks = {.tensors = ORACLE_SINKS, .problem = {.batch = 1}};
    const struct oracle_case with_key = {.tensors = ORACLE_BIAS, .problem = {.batch = 1, .kv_len = 8, .bias = {.per_head = true}}};
    struct reference_problem p, longer;
    struct oracle_inputs *in = oracle_inputs_create(&with_sinks, &p), *more = oracle_inputs_create(&with_key, &longer);
    struct results ours, expected;
    for (uint64_t i = 0; i < p.kv_heads * p.head_dim; i++)
        more->key[7 * p.kv_heads * p.head_dim + i] = 0;
    for (uint64_t i = 0; i < p.kv_heads * p.value_dim; i++)
        more->value[7 * p.kv_heads * p.value_dim + i] = 0;
    for (uint64_t i = 0; i < p.heads * 8; i++)
        more->bias[i] = i % 8 == 7 ? in->sinks[i / 8] : 0;
    attend(&p, in, &ours);
    attend(&longer, more, &expected);
    check_same("sinks", &p, &ours, &expected);
    free(in);
    free(more);
}
END_TEST

START_TEST(a_sink_of_minus_infinity_is_none)
{
    const struct oracle_case c = {.tensors = ORACLE_SINKS, .problem = {.causal = true, .query_offset = -2}};
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p);
    struct results ours, expected;
    for (uint64_t h = 0; h < p.heads; h++)
        in->sinks[h] = -INFINITY;
    attend(&p, in, &ours);
    p.sinks = NULL;
    attend(&p, in, &expected);
    check_same("sinks", &p, &ours, &expected);
    free(in);
}
END_TEST

START_TEST(softcap_bounds_scores)
{
    const struct oracle_case c = {.problem = {.softcap = 1e9}};
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p);
    struct results ours, expected;
    attend(&p, in, &ours);
    p.softcap = 0;
    attend(&p, in, &expected);
    check_same("softcap", &p, &ours, &expected);
    /* scores of ± 0.25 or nearly: the lse of seven lies between log(7) ± 0.25 */
    p.softcap = 0.25;
    p.scale = 1e4;
    attend(&p, in, &ours);
    for (uint64_t i = 0; i < oracle_lse_count(&p); i++)
        ck_assert(fabs(ours.lse[i] - log(7)) <= 0.25);
    free(in);
}
END_TEST

/* With equal weights and values of one, the output counts the keys that are left. */
START_TEST(dropout_drops_its_share)
{
    enum { ROWS = 40, KEYS = 500 };
    const double dropouts[] = {0, 0.1, 0.5, 0.9, 1 - 0x1p-40};
    const double dropout = dropouts[_i];
    static float zeros[KEYS], ones[KEYS];
    double output[ROWS], lse[ROWS], left = 0;
    const struct reference_problem p = {
        .batch = 1, .q_len = ROWS, .kv_len = KEYS, .heads = 1, .kv_heads = 1, .head_dim = 1, .value_dim = 1, .dropout = dropout, .seed = 5};
    for (int j = 0; j < KEYS; j++)
        ones[j] = 1;
    ck_assert(reference_forward(&p, zeros, zeros, ones, 0, ROWS, output, lse));
    for (int i = 0; i < ROWS; i++) {
        double count = output[i] * KEYS * (1 - dropout);
        check_near("dropout", "count", (uint64_t)i, count, round(count));
        check_near("dropout", "lse", (uint64_t)i, lse[i], log(KEYS));
        left += count;
    }
    const double pairs = ROWS * KEYS, deviation = sqrt(pairs * dropout * (1 - dropout));
    ck_assert_msg(fabs(left - pairs * (1 - dropout)) <= 4 * deviation + 1e-6, "%g of %g are left", left, pairs);
}
END_TEST

START_TEST(seeds_differ_in_all_their_bits)
{
    const struct oracle_case c = {.problem = {.dropout = 0.5}};
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p);
    struct results first, other;
    attend(&p, in, &first);
    p.seed = UINT64_C(1) << _i;
    attend(&p, in, &other);
    ck_assert_mem_ne(first.output, other.output, oracle_output_count(&p) * sizeof(double));
    free(in);
}
END_TEST

START_TEST(a_range_of_rows_with_all_options)
{
    struct oracle_case c = oracle_combination(ORACLE_COMBINATIONS - 1);
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p);
    struct results all, some;
    attend(&p, in, &all);
    for (uint64_t i = 0; i < p.q_len; i++)
        ck_assert(reference_forward(&p, in->query, in->key, in->value, i, 1, some.output, some.lse));
    ck_assert_mem_eq(all.output, some.output, oracle_output_count(&p) * sizeof(double));
    ck_assert_mem_eq(all.lse, some.lse, oracle_lse_count(&p) * sizeof(double));
    free(in);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("oracle options");
    TCase *defined = tcase_create("as defined"), *known = tcase_create("known");
    tcase_add_loop_test(defined, one_option_as_defined, 0, oracle_case_count);
    tcase_add_loop_test(defined, options_together_as_defined, 0, ORACLE_COMBINATIONS);
    tcase_add_test(known, a_window_of_one_copies_a_value);
    tcase_add_loop_test(known, limits_at_the_ends_of_their_types, 0, 5);
    tcase_add_loop_test(known, where_nothing_is_kept, 0, 8);
    tcase_add_test(known, a_masked_key_is_a_key_less);
    tcase_add_loop_test(known, alibi_from_afar, 0, 8);
    tcase_add_test(known, a_sink_and_alibi_from_afar);
    tcase_add_test(known, a_sink_is_a_key_of_value_zero);
    tcase_add_test(known, a_sink_of_minus_infinity_is_none);
    tcase_add_test(known, softcap_bounds_scores);
    tcase_add_loop_test(known, dropout_drops_its_share, 0, 5);
    tcase_add_loop_test(known, seeds_differ_in_all_their_bits, 0, 64);
    tcase_add_test(known, a_range_of_rows_with_all_options);
    suite_add_tcase(suite, defined);
    suite_add_tcase(suite, known);
    return suite_run(suite);
}
