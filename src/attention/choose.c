/* SPDX-License-Identifier: MIT */
#include "choose.h"

#include <stdlib.h>
#include <string.h>

#include "remembered.h"
#include "self_test.h"

#define ENVIRONMENT "VKRING_KERNELS"

static const char *environment(void)
{
    const char *words = getenv(ENVIRONMENT);
    return words && *words ? words : NULL;
}

const char *choose_words(const char *words)
{
    return environment() ? environment() : words;
}

static enum vkring_status choose_by_words(vkring_device *device, const struct problem *problem, const char *words,
                                          struct kernel_choice *out_choice)
{
    enum vkring_status status;
    bool right;
    *out_choice = kernel_choice_best(device, problem);
    TRY(choice_parse(device, problem, words, out_choice), fail);
    TRY(choice_check(device, problem, out_choice), fail);
    TRY(self_test_try(device, problem, out_choice, &right), fail);
    if (!right)
        return status_fail(VKRING_ERROR_SELF_TEST, "%s (%s) computes wrong results with kernels of %s", device->info.name,
                           device->info.driver, words);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status choose_kernels(vkring_device *device, const struct problem *problem, const char *words, struct kernel_choice *out_choice,
                                  enum vkring_kernel_source *out_source)
{
    enum vkring_status status;
    enum vkring_kernel_source source = environment() ? VKRING_KERNELS_BY_ENVIRONMENT : VKRING_KERNELS_BY_PARAMETER;
    words = choose_words(words);
    TRY(self_test_type(device, problem), fail);
    if (words) {
        TRY(choose_by_words(device, problem, words, out_choice), fail);
    } else {
        bool portable;
        TRY(self_test_choose(device, problem, out_choice, &portable), fail);
        source = portable ? VKRING_KERNELS_PORTABLE : VKRING_KERNELS_BY_KIND;
        if (!portable && remembered_find(device, problem, out_choice))
            source = VKRING_KERNELS_TUNED;
    }
    if (out_source)
        *out_source = source;
    return VKRING_OK;
fail:
    return status;
}

_Static_assert(sizeof(((struct vkring_kernel_choice *)NULL)->words) == CHOICE_TEXT, "a choice has room for its words");

enum vkring_status vkring_kernels_choose(vkring_device *device, const struct vkring_plan_params *params,
                                         struct vkring_kernel_choice *out_choice)
{
    enum vkring_status status;
    struct problem problem;
    struct kernel_choice choice;
    enum vkring_kernel_source source;
    TRY(problem_resolve(params, &problem), fail);
    TRY(choose_kernels(device, &problem, params->kernels, &choice, &source), fail);
    choice_describe(&choice, out_choice->words);
    out_choice->source = source;
    return VKRING_OK;
fail:
    return status;
}
