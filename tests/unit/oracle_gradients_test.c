/* SPDX-License-Identifier: MIT */
/* The oracle's gradients against differences of its forward pass in float64. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/suite.h"
#include "oracle_problem.h"

struct gradients_room {
    double query[ORACLE_ROOM], key[ORACLE_ROOM], value[ORACLE_ROOM], bias[ORACLE_ROOM], sinks[16];
};

static struct reference_gradients all_of(struct gradients_room *room)
{
    return (struct reference_gradients){room->query, room->key, room->value, room->bias, room->sinks};
}

static double loss(const struct reference_problem *p, const struct oracle_inputs *in)
{
    double output[ORACLE_ROOM], sum = 0;
    ck_assert(reference_forward(p, in->query, in->key, in->value, 0, p->q_len, output, NULL));
    for (uint64_t i = 0; i < oracle_output_count(p); i++)
        sum += output[i] * (double)in->output_grad[i];
    return sum;
}

static double loss_at(const struct reference_problem *p, const struct oracle_inputs *in, float *element, float value)
{
    const float kept = *element;
    *element = value;
    double result = loss(p, in);
    *element = kept;
    return result;
}

/* Central difference of fourth order; its steps are exact in float (see oracle_inputs). */
static double difference(const struct reference_problem *p, const struct oracle_inputs *in, float *element)
{
    const float x = *element, step = 0x1p-8f;
    double near = loss_at(p, in, element, x + step) - loss_at(p, in, element, x - step);
    double far = loss_at(p, in, element, x + 2 * step) - loss_at(p, in, element, x - 2 * step);
    return (8 * near - far) / (12 * (double)step);
}

static void check_gradient(const struct oracle_case *c, const struct reference_problem *p, const struct oracle_inputs *in, const char *of,
                           float *elements, uint64_t count, const double *gradient)
{
    for (uint64_t i = 0; i < count; i++) {
        double expected = isinf(elements[i]) ? 0 : difference(p, in, &elements[i]);
        ck_assert_msg(fabs(gradient[i] - expected) <= 1e-8 * fmax(1, fabs(expected)), "%s: gradient %d of %s is %.12g, not %.12g", c->name,
                      (int)i, of, gradient[i], expected);
    }
}

static void check_case(const struct oracle_case *c)
{
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(c, &p);
    struct gradients_room room;
    const struct reference_gradients gradients = all_of(&room);
    memset(&room, 0xff, sizeof(room));
    ck_assert(reference_backward(&p, in->query, in->key, in->value, in->output_grad, &gradients));
    check_gradient(c, &p, in, "query", in->query, oracle_query_count(&p), room.query);
    check_gradient(c, &p, in, "key", in->key, oracle_key_count(&p), room.key);
    check_gradient(c, &p, in, "value", in->value, oracle_value_count(&p), room.value);
    if (p.bias.values)
        check_gradient(c, &p, in, "bias", in->bias, reference_bias_count(&p), room.bias);
    if (p.sinks)
        check_gradient(c, &p, in, "sinks", in->sinks, p.heads, room.sinks);
    free(in);
}

START_TEST(gradients_of_one_option)
{
    check_case(&oracle_cases[_i]);
}
END_TEST

START_TEST(gradients_of_options_together)
{
    struct oracle_case c = oracle_combination(_i);
    check_case(&c);
}
END_TEST

static void check_zero(const char *of, const double *gradient, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        ck_assert_msg(gradient[i] == 0, "gradient %d of %s is %g", (int)i, of, gradient[i]);
}

START_TEST(rows_that_keep_nothing_get_and_give_nothing)
{
    const unsigned tensors[] = {0, ORACLE_SINKS, ORACLE_SINKS | ORACLE_BIAS | ORACLE_ALIBI};
    const struct oracle_case c = {
        .tensors = tensors[_i], .problem = {.causal = true, .query_offset = -5, .softcap = 2, .dropout = 0.5, .bias = {.per_head = true}}};
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p);
    struct gradients_room room;
    const struct reference_gradients gradients = all_of(&room);
    memset(&room, 0xff, sizeof(room));
    ck_assert(reference_backward(&p, in->query, in->key, in->value, in->output_grad, &gradients));
    check_zero("query", room.query, oracle_query_count(&p));
    check_zero("key", room.key, oracle_key_count(&p));
    check_zero("value", room.value, oracle_value_count(&p));
    if (p.bias.values)
        check_zero("bias", room.bias, reference_bias_count(&p));
    check_zero("sinks", room.sinks, p.heads);
    free(in);
}
END_TEST

START_TEST(gradients_can_be_had_one_by_one)
{
    const struct oracle_case c = {.tensors = ORACLE_BIAS | ORACLE_SINKS};
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p);
    struct gradients_room whole, single;
    const struct reference_gradients all = all_of(&whole);
    const struct reference_gradients each[] = {{.query = single.query}, {.key = single.key},     {.value = single.value},
                                               {.bias = single.bias},   {.sinks = single.sinks}, {NULL}};
    memset(&whole, 0, sizeof(whole));
    memset(&single, 0, sizeof(single));
    ck_assert(reference_backward(&p, in->query, in->key, in->value, in->output_grad, &all));
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++)
        ck_assert(reference_backward(&p, in->query, in->key, in->value, in->output_grad, &each[i]));
    ck_assert_mem_eq(&whole, &single, sizeof(whole));
    free(in);
}
END_TEST

START_TEST(the_forward_pass_comes_along)
{
    struct oracle_case c = oracle_combination(_i);
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p);
    double output[ORACLE_ROOM], lse[ORACLE_ROOM], same_output[ORACLE_ROOM], same_lse[ORACLE_ROOM];
    const struct reference_gradients gradients = {.output = same_output, .lse = same_lse};
    ck_assert(reference_forward(&p, in->query, in->key, in->value, 0, p.q_len, output, lse));
    ck_assert(reference_backward(&p, in->query, in->key, in->value, in->output_grad, &gradients));
    ck_assert_mem_eq(output, same_output, oracle_output_count(&p) * sizeof(*output));
    ck_assert_mem_eq(lse, same_lse, p.batch * p.heads * p.q_len * sizeof(*lse));
    free(in);
}
END_TEST

static void check_sum(const char *of, const double *whole, const double *first, const double *second, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        ck_assert_msg(fabs(first[i] + second[i] - whole[i]) <= 1e-12 * fmax(1, fabs(whole[i])), "gradient %d of %s", (int)i, of);
}

START_TEST(gradients_add_up_from_shares_of_the_rows)
{
    const struct oracle_case c = {.tensors = ORACLE_BIAS | ORACLE_SINKS};
    struct reference_problem p;
    struct oracle_inputs *in = oracle_inputs_create(&c, &p);
    struct gradients_room rooms[3];
    struct reference_term_sizes sizes[3];
    memset(rooms, 0, sizeof(rooms));
    for (uint64_t i = 0; i < 3; i++) {
        struct reference_gradients gradients = all_of(&rooms[i]);
        gradients.sizes = &sizes[i];
        gradients.first_row = i == 2;
        gradients.row_stride = i == 0 ? 0 : 2;
        ck_assert(reference_backward(&p, in->query, in->key, in->value, in->output_grad, &gradients));
    }
    check_sum("query", rooms[0].query, rooms[1].query, rooms[2].query, oracle_query_count(&p));
    check_sum("key", rooms[0].key, rooms[1].key, rooms[2].key, oracle_key_count(&p));
    check_sum("value", rooms[0].value, rooms[1].value, rooms[2].value, oracle_value_count(&p));
    check_sum("bias", rooms[0].bias, rooms[1].bias, rooms[2].bias, reference_bias_count(&p));
    check_sum("sinks", rooms[0].sinks, rooms[1].sinks, rooms[2].sinks, p.heads);
    ck_assert_double_eq_tol(hypot(sizes[1].key, sizes[2].key), sizes[0].key, 1e-12);
    free(in);
}
END_TEST

/* Of one row with two keys of equal weight, by hand: the squares of products with values are 8 and 36, those of delta's terms 11. */
START_TEST(sizes_of_terms)
{
    const struct reference_problem p = {
        .batch = 1, .q_len = 1, .kv_len = 2, .heads = 1, .kv_heads = 1, .head_dim = 2, .value_dim = 2, .scale = 1};
    const float query[] = {1, 0}, key[] = {0, 1, 0, 2}, value[] = {1, 2, 3, 0}, output_grad[] = {2, 1};
    struct reference_term_sizes sizes;
    ck_assert(reference_backward(&p, query, key, value, output_grad, &(struct reference_gradients){.sizes = &sizes}));
    ck_assert_double_eq_tol(sizes.query, sqrt((19 + 4 * 47) / 4.0 / 2), 1e-12);
    ck_assert_double_eq_tol(sizes.key, sqrt((19 + 47) / 4.0 / 4), 1e-12);
    ck_assert_double_eq_tol(sizes.value, sqrt(2 * 5 / 4.0 / 4), 1e-12);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("oracle gradients");
    TCase *differences = tcase_create("differences"), *exact = tcase_create("exact");
    tcase_add_loop_test(differences, gradients_of_one_option, 0, oracle_case_count);
    tcase_add_loop_test(differences, gradients_of_options_together, 0, ORACLE_COMBINATIONS);
    tcase_add_loop_test(exact, rows_that_keep_nothing_get_and_give_nothing, 0, 3);
    suite_add_tcase(suite, differences);
    suite_add_tcase(suite, exact);
    suite_add(suite, "exact", gradients_can_be_had_one_by_one);
    tcase_add_loop_test(exact, the_forward_pass_comes_along, 0, ORACLE_COMBINATIONS);
    suite_add(suite, "shares", gradients_add_up_from_shares_of_the_rows);
    suite_add(suite, "sizes", sizes_of_terms);
    return suite_run(suite);
}
