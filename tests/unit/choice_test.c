/* SPDX-License-Identifier: MIT */
/* Choices of kernels in words: there and back, what is refused, and which choices are near. */
#include <string.h>

#include <attention/choice_text.h>

#include "../harness/suite.h"
#include "described_gpu.h"

START_TEST(words_go_there_and_back)
{
    const vkring_device device = described_gpu();
    const struct kernel_choice choice = kernel_choice_best(&device, &described_problem);
    struct kernel_choice other = kernel_choice_portable(&device);
    char words[CHOICE_TEXT], again[CHOICE_TEXT];
    choice_describe(&choice, words);
    ck_assert_int_eq(choice_parse(&device, &described_problem, words, &other), VKRING_OK);
    choice_describe(&other, again);
    ck_assert_str_eq(words, again);
    ck_assert_int_eq(choice_check(&device, &described_problem, &choice), VKRING_OK);
}
END_TEST

START_TEST(a_word_changes_what_it_names)
{
    const vkring_device device = described_gpu();
    const struct kernel_choice before = kernel_choice_best(&device, &described_problem);
    struct kernel_choice after = before;
    ck_assert_int_eq(choice_parse(&device, &described_problem, "  lanes_per_row=16\tfew_registers ", &after), VKRING_OK);
    ck_assert_uint_eq(after.lanes_per_row, 16);
    ck_assert(after.few_registers && after.shuffle);
    ck_assert_uint_eq(after.rows_per_lane, before.rows_per_lane);
    ck_assert_int_eq(choice_parse(&device, &described_problem, "few_registers=0 lanes_per_row=1", &after), VKRING_OK);
    ck_assert(!after.few_registers && !after.shuffle);
}
END_TEST

static const char *const unknown[] = {
    "lanes",
    "lanes_per_row",
    "lanes_per_row=",
    "lanes_per_row=x",
    "lanes_per_row=4x",
    "lanes_per_row=-4",
    "few_registers=2",
    "=4",
    "rows=2",
    "lanes_per_row=4,rows_per_lane=2",
    "lanes_per_row=99999999999",
};

START_TEST(a_word_that_is_none_is_named)
{
    const vkring_device device = described_gpu();
    struct kernel_choice choice = kernel_choice_best(&device, &described_problem);
    ck_assert_int_eq(choice_parse(&device, &described_problem, unknown[_i], &choice), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, unknown[_i]));
}
END_TEST

/* A CPU whose loads from one address serve all lanes. */

static const char *const beyond[] = {
    "subgroup=16",
    "subgroup=128",
    "subgroup=48",
    "workgroup=512",
    "workgroup=0",
    "workgroup=96",
    "lanes_per_row=0",
    "lanes_per_row=3",
    "lanes_per_row=64",
    "rows_per_lane=32",
    "rows_per_lane=3",
    "keys_per_step=0",
    "keys_per_step=32",
    "keys_per_step_general=5",
    "broadcast=1",
    "uniform_loads=1",
    "matrix_row_tiles=3",
    "matrix_row_tiles=16",
    "matrix_subgroups=5",
    "matrix_subgroups=32",
    "matrix_rows_per_step=24",
    "matrix_rows_per_step=256",
    "matrix_column_parts=3",
    "matrix_column_parts=64",
    "matrix_row_tiles=268435456",
};

START_TEST(what_the_device_cannot_do_is_named)
{
    const vkring_device device = described_gpu();
    struct kernel_choice choice = kernel_choice_best(&device, &described_problem);
    choice.subgroup_size = 0;
    ck_assert_int_eq(choice_parse(&device, &described_problem, beyond[_i], &choice), VKRING_OK);
    ck_assert_int_eq(choice_check(&device, &described_problem, &choice), VKRING_ERROR_INVALID_ARGUMENT);
    const char *named = strstr(vkring_last_error()->message, beyond[_i]);
    ck_assert_ptr_nonnull(named);
    ck_assert_msg(strncmp(named + strlen(beyond[_i]), " needs ", 7) == 0, "it does not say what would do: %s", named);
}
END_TEST

START_TEST(neighbours_can_be_run_and_differ)
{
    const vkring_device device = described_gpu();
    const struct kernel_choice choice = kernel_choice_best(&device, &described_problem);
    struct kernel_choice neighbours[CHOICE_NEIGHBOURS];
    char words[CHOICE_NEIGHBOURS + 1][CHOICE_TEXT];
    const uint32_t count = choice_neighbours(&device, &described_problem, &choice, neighbours);
    ck_assert_uint_gt(count, 20);
    choice_describe(&choice, words[count]);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(choice_check(&device, &described_problem, &neighbours[i]), VKRING_OK);
        choice_describe(&neighbours[i], words[i]);
        ck_assert(!neighbours[i].keeps_score_grads); /* of no use without backward */
        ck_assert_uint_eq(neighbours[i].keys_per_step_general, choice.keys_per_step_general);
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = i + 1; j <= count; j++)
            ck_assert_str_ne(words[i], words[j]);
}
END_TEST

START_TEST(what_lies_between_is_on_the_way)
{
    const vkring_device device = described_gpu();
    const struct kernel_choice from = kernel_choice_best(&device, &described_problem);
    struct kernel_choice half = from, whole = from, aside = from;
    half.lanes_per_row *= 2;
    whole.lanes_per_row = half.lanes_per_row;
    whole.rows_per_lane *= 2;
    aside.lanes_per_row *= 4;
    ck_assert(choice_lies_between(&from, &half, &whole) && choice_lies_between(&from, &from, &whole));
    ck_assert(!choice_lies_between(&from, &aside, &whole) && !choice_lies_between(&from, &whole, &half));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("choices of kernels");
    TCase *tcase = tcase_create("words");
    tcase_add_test(tcase, words_go_there_and_back);
    tcase_add_test(tcase, a_word_changes_what_it_names);
    tcase_add_loop_test(tcase, a_word_that_is_none_is_named, 0, (int)(sizeof(unknown) / sizeof(unknown[0])));
    tcase_add_loop_test(tcase, what_the_device_cannot_do_is_named, 0, (int)(sizeof(beyond) / sizeof(beyond[0])));
    tcase_add_test(tcase, neighbours_can_be_run_and_differ);
    tcase_add_test(tcase, what_lies_between_is_on_the_way);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
