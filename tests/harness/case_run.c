/* SPDX-License-Identifier: MIT */
/* A case through the public API: tensors full of poison, one run, and nothing touched that should not be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/clock.h>

#include "case_problem.h"

enum { QUERY, KEY, VALUE, OUTPUT, LSE, TENSORS };

struct images {
    struct tensor_image at[TENSORS];
};

static const char *const tensor_names[TENSORS] = {"query", "key", "value", "output", "lse"};

static bool create_images(const struct attention_case *c, vkring_device *device, const struct vkring_plan_info *info,
                          struct images *out_images)
{
    const struct vkring_plan_params *p = &c->params;
    const struct tensor_shape_of_test shapes[TENSORS] = {
        {p->batch, info->query_rows, p->heads, p->head_dim},
        {p->batch, info->key_rows, case_kv_heads(c), p->head_dim},
        {p->batch, info->key_rows, case_kv_heads(c), case_value_dim(c)},
        {p->batch, info->query_rows, p->heads, case_value_dim(c)},
        {p->batch, 1, p->heads, info->query_rows},
    };
    for (int i = 0; i < TENSORS; i++)
        if (!tensor_image_create(device, i == LSE ? VKRING_TYPE_F32 : p->type, &shapes[i], &c->placement, &out_images->at[i]))
            return case_complain(c, "%s was not made", tensor_names[i]);
    return true;
}

static void destroy_images(struct images *images)
{
    for (int i = 0; i < TENSORS; i++)
        tensor_image_destroy(&images->at[i]);
}

/* Puts rows [first, …) of each batch entry of a whole packed tensor into the image. */
static bool put_rows(struct tensor_image *image, const float *whole, uint64_t whole_rows, uint64_t first)
{
    const struct tensor_shape_of_test *s = &image->shape;
    const uint64_t width = s->heads * s->dim;
    float *part = malloc((tensor_image_count(image) + 1) * sizeof(float));
    if (!part)
        return false;
    for (uint64_t b = 0; b < s->batch; b++)
        memcpy(part + b * s->rows * width, whole + (b * whole_rows + first) * width, s->rows * width * sizeof(float));
    tensor_image_put(image, part);
    free(part);
    return true;
}

static bool fill_images(const struct attention_case *c, const struct vkring_plan_info *info, const struct case_data *data,
                        struct images *images)
{
    const struct vkring_plan_params *p = &c->params;
    if (!put_rows(&images->at[QUERY], data->query, p->q_len, info->first_query_row) ||
        !put_rows(&images->at[KEY], data->key, p->kv_len, info->first_key_row) ||
        !put_rows(&images->at[VALUE], data->value, p->kv_len, info->first_key_row))
        return case_complain(c, "no memory");
    for (int i = 0; i < TENSORS; i++)
        if (!tensor_image_upload(&images->at[i]))
            return case_complain(c, "upload of %s: %s", tensor_names[i], vkring_last_error()->message);
    return true;
}

static bool collect(const struct attention_case *c, struct images *images, struct case_result *result)
{
    for (int i = 0; i < TENSORS; i++) {
        struct tensor_image *image = &images->at[i];
        if (!tensor_image_download(image))
            return case_complain(c, "download of %s: %s", tensor_names[i], vkring_last_error()->message);
        if (i == OUTPUT || (i == LSE && !c->no_lse) ? !tensor_image_canaries_alive(image) : !tensor_image_untouched(image))
            return case_complain(c, "something wrote over %s%s", i < OUTPUT ? "" : "memory around ", tensor_names[i]);
    }
    result->output = malloc((tensor_image_count(&images->at[OUTPUT]) + 1) * sizeof(float));
    result->lse = malloc((tensor_image_count(&images->at[LSE]) + 1) * sizeof(float));
    if (!result->output || !result->lse)
        return case_complain(c, "no memory");
    tensor_image_get(&images->at[OUTPUT], result->output);
    tensor_image_get(&images->at[LSE], result->lse);
    return true;
}

static bool forward(const struct attention_case *c, vkring_plan *plan, const struct images *images)
{
    const struct vkring_forward_io io = {
        .query = images->at[QUERY].tensor,
        .key = images->at[KEY].tensor,
        .value = images->at[VALUE].tensor,
        .output = images->at[OUTPUT].tensor,
        .lse = c->no_lse ? (struct vkring_tensor){0} : images->at[LSE].tensor,
    };
    enum vkring_status status = vkring_forward(plan, &io);
    return status == VKRING_OK || case_complain(c, "vkring_forward: %s: %s", vkring_status_string(status), vkring_last_error()->message);
}

bool case_run_plan(const struct attention_case *c, vkring_device *device, vkring_plan *plan, const struct case_data *data,
                   struct case_result *out_result)
{
    struct images images = {0};
    struct case_result result = {0};
    vkring_plan_get_info(plan, &result.info);
    bool ran = create_images(c, device, &result.info, &images) && fill_images(c, &result.info, data, &images) &&
               forward(c, plan, &images) && collect(c, &images, &result);
    destroy_images(&images);
    vkring_plan_get_stats(plan, &result.stats);
    *out_result = result;
    return ran;
}

bool case_run(const struct attention_case *c, vkring_device *device, vkring_comm *comm, const struct case_data *data,
              struct case_result *out_result)
{
    vkring_plan *plan = NULL;
    double begin = clock_seconds();
    enum vkring_status status = vkring_plan_create(device, comm, &c->params, &plan);
    double planned = clock_seconds() - begin;
    if (status != VKRING_OK)
        return case_complain(c, "vkring_plan_create: %s: %s", vkring_status_string(status), vkring_last_error()->message);
    bool ran = case_run_plan(c, device, plan, data, out_result);
    if (environment_says("VKRING_TEST_VERBOSE"))
        fprintf(stderr, "plan %.3f s, run %.3f s: %s\n", planned, out_result->stats.total_seconds, out_result->info.kernel);
    vkring_plan_destroy(&plan);
    return ran;
}
