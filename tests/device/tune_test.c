/* SPDX-License-Identifier: MIT */
/* Which kernels a device gets: what counts before what, what is remembered, and what is not believed. */
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <attention/remembered.h>
#include <vkring/tune.h>

#include "../harness/attention_case.h"
#include "../harness/opened_device.h"

static vkring_device *device;
static char folder[] = "/tmp/vkring-kernels-XXXXXX";

static const struct vkring_plan_params params = {.batch = 1, .q_len = 96, .kv_len = 96, .heads = 2, .head_dim = 16};

static vkring_device *open_device(void)
{
    vkring_device *opened = NULL;
    struct vkring_device_params with = test_device_params();
    with.cache_folder = folder;
    return vk_device_open(&with, NULL, &opened) == VKRING_OK ? opened : NULL;
}

static struct kernel_choice by_kind(struct problem *out_problem)
{
    ck_assert_int_eq(problem_resolve(&params, out_problem), VKRING_OK);
    return kernel_choice_best(device, out_problem);
}

/* Some other choice that the device can run, with the fewest lanes for a row. */
static struct kernel_choice another(void)
{
    struct problem problem;
    struct kernel_choice choice = by_kind(&problem);
    choice.keys_per_step = choice.keys_per_step == 1 ? 2 : 1;
    ck_assert_int_eq(choice_check(device, &problem, &choice), VKRING_OK);
    return choice;
}

static struct vkring_kernel_choice chosen(const char *kernels)
{
    struct vkring_plan_params with = params;
    struct vkring_kernel_choice choice;
    with.kernels = kernels;
    ck_assert_int_eq(vkring_kernels_choose(device, &with, &choice), VKRING_OK);
    return choice;
}

static void remember(const struct kernel_choice *choice)
{
    struct problem problem;
    by_kind(&problem);
    ck_assert(remembered_put(device, &problem, choice));
}

START_TEST(what_counts_before_what)
{
    const struct kernel_choice other = another();
    char words[CHOICE_TEXT];
    choice_describe(&other, words);
    unlink(device->kernels_path);
    ck_assert_int_eq(chosen(NULL).source, VKRING_KERNELS_BY_KIND);
    remember(&other);
    ck_assert_int_eq(chosen(NULL).source, VKRING_KERNELS_TUNED);
    ck_assert_str_eq(chosen(NULL).words, words);
    ck_assert_int_eq(chosen("rows_per_lane=2").source, VKRING_KERNELS_BY_PARAMETER);
    ck_assert_ptr_nonnull(strstr(chosen("rows_per_lane=2").words, "rows_per_lane=2"));
    setenv("VKRING_KERNELS", "rows_per_lane=1", 1);
    ck_assert_int_eq(chosen("rows_per_lane=2").source, VKRING_KERNELS_BY_ENVIRONMENT);
    ck_assert_ptr_nonnull(strstr(chosen("rows_per_lane=2").words, "rows_per_lane=1"));
    unsetenv("VKRING_KERNELS");
}
END_TEST

START_TEST(another_class_has_its_own)
{
    const struct kernel_choice other = another();
    struct vkring_plan_params with = params;
    struct vkring_kernel_choice choice;
    remember(&other);
    with.causal = true;
    ck_assert_int_eq(vkring_kernels_choose(device, &with, &choice), VKRING_OK);
    ck_assert_int_eq(choice.source, VKRING_KERNELS_BY_KIND);
    with.causal = false;
    with.q_len = with.kv_len = 1 << 20; /* lengths are not part of it */
    ck_assert_int_eq(vkring_kernels_choose(device, &with, &choice), VKRING_OK);
    ck_assert_int_eq(choice.source, VKRING_KERNELS_TUNED);
    with.q_len = 8; /* but few rows are */
    ck_assert_int_eq(vkring_kernels_choose(device, &with, &choice), VKRING_OK);
    ck_assert_int_eq(choice.source, VKRING_KERNELS_BY_KIND);
}
END_TEST

/* The file with one text in the place of another. */
static void rewrite(const char *from, const char *to)
{
    char text[4096] = "", *at;
    FILE *file = fopen(device->kernels_path, "r+");
    ck_assert_ptr_nonnull(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    at = strstr(text, from);
    ck_assert_ptr_nonnull(at);
    ck_assert_uint_eq(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    rewind(file);
    ck_assert_uint_eq(fwrite(text, 1, strlen(text), file), strlen(text));
    fclose(file);
}

static const struct {
    const char *from, *to;
} damages[] = {
    {"kernels 1", "kernels 2"},               /* of another version */
    {"shaders ", "shaders!"},                 /* of other shaders */
    {"head_dim=16", "head_dim=17"},           /* of another class */
    {"rows_per_lane=", "sows_per_lane="},     /* no word */
    {"lanes_per_row=1 ", "lanes_per_row=3 "}, /* what cannot be */
};

START_TEST(a_damaged_line_is_not_believed)
{
    struct problem problem;
    struct kernel_choice choice = by_kind(&problem);
    choice.lanes_per_row = 1;
    choice.shuffle = false;
    unlink(device->kernels_path);
    remember(&choice);
    ck_assert_int_eq(chosen(NULL).source, VKRING_KERNELS_TUNED);
    rewrite(damages[_i].from, damages[_i].to);
    ck_assert_int_eq(chosen(NULL).source, VKRING_KERNELS_BY_KIND);
    remember(&choice); /* and is no obstacle */
    ck_assert_int_eq(chosen(NULL).source, VKRING_KERNELS_TUNED);
}
END_TEST

START_TEST(a_line_of_each_class_stays)
{
    struct problem problem, causal;
    const struct kernel_choice other = another();
    struct kernel_choice found = by_kind(&problem);
    causal = problem;
    causal.causal = true;
    ck_assert(remembered_put(device, &problem, &other) && remembered_put(device, &causal, &found));
    ck_assert(remembered_put(device, &problem, &found));
    ck_assert(remembered_find(device, &problem, &found) && remembered_find(device, &causal, &found));
}
END_TEST

START_TEST(a_wrong_wish_is_refused_by_name)
{
    struct vkring_plan_params with = params;
    vkring_plan *plan = NULL;
    with.kernels = "speed=11";
    ck_assert_int_eq(vkring_plan_create(device, NULL, &with, &plan), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "speed=11"));
    with.kernels = "rows_per_lane=3";
    ck_assert_int_eq(vkring_plan_create(device, NULL, &with, &plan), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "rows_per_lane=3"));
    ck_assert_ptr_null(plan);
}
END_TEST

static const char *const wishes[] = {
    "rows_per_lane=4 keys_per_step=1",
    "rows_per_lane=2 keeps_score_grads=0",
    "uniform_loads=1 lanes_per_row=4 rows_per_lane=2 keys_per_step=2",
    "copy_worth_rows=1",
    "broadcast=1 lanes_per_row=1 rows_per_lane=2",
    "broadcast=1 lanes_per_row=1 rows_per_lane=1 keys_per_step=2 keeps_score_grads=1",
};

/* head_dim and value_dim are no multiples of what lanes read together. */
START_TEST(wished_kernels_are_right)
{
    char words[200];
    struct attention_case c = {.seed = 7, .params = params};
    c.params.causal = c.params.backward = true;
    c.params.head_dim = 36;
    c.params.value_dim = 20;
    snprintf(words, sizeof(words), "workgroup=%u subgroup=%u %s", device->limits.subgroup_size,
             device->limits.subgroup_size_control ? device->limits.subgroup_size : 0, wishes[_i]);
    c.params.kernels = words;
    ck_assert(case_passes(&c, device, NULL));
}
END_TEST

static uint32_t told;

static bool count_trials(void *user, const struct vkring_tune_trial *trial)
{
    ck_assert_ptr_eq(user, &told);
    ck_assert(trial->seconds >= 0 && trial->best_seconds > 0 && *trial->words);
    told++;
    return true;
}

START_TEST(what_is_found_counts_from_then_on)
{
    const struct vkring_tune_params how = {.budget_seconds = 0.5, .trial = count_trials, .user = &told};
    struct vkring_tune_result result;
    struct vkring_plan_info info;
    vkring_plan *plan = NULL;
    told = 0;
    unlink(device->kernels_path);
    const struct vkring_kernel_choice by_kind = chosen(NULL);
    ck_assert_int_eq(vkring_tune(device, &params, &how, &result), VKRING_OK);
    ck_assert_uint_eq(told, result.tried);
    ck_assert(result.kept && result.flops >= result.flops_by_kind && result.flops_by_kind > 0);
    ck_assert(strcmp(by_kind.words, result.choice.words) != 0 || result.flops <= result.flops_by_kind);
    ck_assert_str_eq(chosen(NULL).words, result.choice.words);
    ck_assert_int_eq(chosen(NULL).source, VKRING_KERNELS_TUNED);
    ck_assert_int_eq(vkring_plan_create(device, NULL, &params, &plan), VKRING_OK);
    vkring_plan_get_info(plan, &info);
    vkring_plan_destroy(&plan);
    const char *rows = strstr(result.choice.words, "rows_per_lane=");
    char word[32] = "";
    ck_assert(rows && sscanf(rows, "%31s", word) == 1);
    ck_assert_ptr_nonnull(strstr(info.kernel, word));
}
END_TEST

/* What an exhaustive search goes through: each choice once. */
static struct {
    char words[64][CHOICE_TEXT];
    uint32_t count;
} gone_through;

static bool list_trials(void *user, const struct vkring_tune_trial *trial)
{
    (void)user;
    ck_assert_uint_lt(gone_through.count, sizeof(gone_through.words) / sizeof(gone_through.words[0]));
    for (uint32_t i = 0; i < gone_through.count; i++)
        ck_assert_str_ne(gone_through.words[i], trial->words);
    memcpy(gone_through.words[gone_through.count++], trial->words, sizeof(trial->words));
    return true;
}

static bool has_gone_through(const char *keys, const char *rows)
{
    for (uint32_t i = 0; i < gone_through.count; i++)
        if (strstr(gone_through.words[i], keys) && strstr(gone_through.words[i], rows))
            return true;
    return false;
}

/* Without shuffles a CPU's kernels differ in two words alone, each with five notches. */
START_TEST(exhaustive_is_all_there_are)
{
    static const struct vk_limit_overrides overrides = {.kind = VKRING_DEVICE_CPU, .no_subgroup_shuffle = true};
    const struct vkring_plan_params tiny = {.batch = 1, .q_len = 8, .kv_len = 8, .heads = 1, .head_dim = 4};
    const struct vkring_tune_params how = {.budget_seconds = 1e-9, .exhaustive = true, .forget = true, .trial = list_trials};
    struct vkring_tune_result result;
    vkring_device *without = test_device_open(&overrides);
    gone_through.count = 0;
    ck_assert_int_eq(vkring_tune(without, &tiny, &how, &result), VKRING_OK);
    vkring_device_destroy(&without);
    ck_assert_uint_eq(gone_through.count, 25);
    ck_assert(result.complete);
    ck_assert_uint_eq(result.tried, 25);
    ck_assert(has_gone_through("keys_per_step=16 ", "rows_per_lane=16 ") && has_gone_through("keys_per_step=1 ", "rows_per_lane=1 "));
    ck_assert(has_gone_through(result.choice.words, ""));
}
END_TEST

static bool stop_after_three(void *user, const struct vkring_tune_trial *trial)
{
    (void)user;
    return trial->tried < 3;
}

START_TEST(who_watches_may_end_it)
{
    const struct vkring_tune_params how = {.exhaustive = true, .trial = stop_after_three};
    struct vkring_tune_result result;
    unlink(device->kernels_path);
    ck_assert_int_eq(vkring_tune(device, &params, &how, &result), VKRING_OK);
    ck_assert_uint_eq(result.tried, 3);
    ck_assert(result.kept && !result.complete && result.flops > 0);
    ck_assert_str_eq(chosen(NULL).words, result.choice.words);
}
END_TEST

START_TEST(a_time_that_is_none_is_refused)
{
    const double bad[] = {-1, NAN};
    const struct vkring_tune_params how = {.budget_seconds = bad[_i], .trial = stop_after_three};
    struct vkring_tune_result result;
    ck_assert_int_eq(vkring_tune(device, &params, &how, &result), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "budget_seconds"));
}
END_TEST

START_TEST(what_is_to_be_forgotten_is)
{
    const struct vkring_tune_params how = {.budget_seconds = 1e-9, .forget = true};
    struct vkring_tune_result result;
    unlink(device->kernels_path);
    ck_assert_int_eq(vkring_tune(device, &params, &how, &result), VKRING_OK);
    ck_assert(!result.kept);
    ck_assert_int_eq(chosen(NULL).source, VKRING_KERNELS_BY_KIND);
}
END_TEST

static void remove_folder(void)
{
    char pattern[64];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*", folder);
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            unlink(found.gl_pathv[i]);
    globfree(&found);
    rmdir(folder);
}

int main(void)
{
    Suite *suite = suite_create("tune");
    TCase *kernels = tcase_create("kernels");
    vkring_device *probe = test_device_open(NULL);
    vkring_device_destroy(&probe);
    unsetenv("VKRING_KERNELS");
    device = mkdtemp(folder) ? open_device() : NULL;
    if (!device)
        return 1;
    tcase_set_timeout(kernels, 0);
    tcase_add_test(kernels, what_counts_before_what);
    tcase_add_test(kernels, another_class_has_its_own);
    tcase_add_loop_test(kernels, a_damaged_line_is_not_believed, 0, (int)(sizeof(damages) / sizeof(damages[0])));
    tcase_add_test(kernels, a_line_of_each_class_stays);
    tcase_add_test(kernels, a_wrong_wish_is_refused_by_name);
    tcase_add_loop_test(kernels, wished_kernels_are_right, 0, (int)(sizeof(wishes) / sizeof(wishes[0])));
    tcase_add_test(kernels, what_is_found_counts_from_then_on);
    tcase_add_test(kernels, what_is_to_be_forgotten_is);
    tcase_add_test(kernels, exhaustive_is_all_there_are);
    tcase_add_test(kernels, who_watches_may_end_it);
    tcase_add_loop_test(kernels, a_time_that_is_none_is_refused, 0, 2);
    suite_add_tcase(suite, kernels);
    const int status = device_suite_run(suite, &device, 1);
    remove_folder();
    return status;
}
