/* SPDX-License-Identifier: MIT */
/* A case through the public API: tensors full of poison, one run, and nothing touched that should not be. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <base/clock.h>

#include "case_problem.h"
#include "case_tensors.h"

struct images {
    struct tensor_image at[TENSORS];
};

static void destroy_images(struct images *images)
{
    for (int i = 0; i < TENSORS; i++)
        tensor_image_destroy(&images->at[i]);
}

/* What the case has of a tensor to be read; null for those that are written. */
static const void *whole_of(const struct case_data *data, enum case_tensor tensor)
{
    const void *const of[TENSORS] = {
        [QUERY] = data->query,
        [KEY] = data->key,
        [VALUE] = data->value,
        [QUERY_SEGMENT_IDS] = data->query_segment_ids,
        [KEY_SEGMENT_IDS] = data->key_segment_ids,
        [BIAS] = data->bias,
        [ALIBI_SLOPES] = data->alibi_slopes,
        [SINKS] = data->sinks,
        [OUTPUT_GRAD] = data->output_grad,
    };
    return of[tensor];
}

static bool put_slice(const struct case_slice *slice, const void *whole, struct tensor_image *image)
{
    float *part = malloc((tensor_image_count(image) + 1) * sizeof(float));
    if (!part)
        return false;
    case_take_slice(slice, sizeof(float), whole, part);
    tensor_image_put(image, part);
    free(part);
    return true;
}

static bool create_image(const struct attention_case *c, vkring_device *device, const struct vkring_plan_info *info,
                         const struct case_data *data, enum case_tensor tensor, struct tensor_image *image)
{
    const struct tensor_shape_of_test shape = case_tensor_shape(c, info, tensor);
    const struct case_slice slice = case_slice(c, info, tensor);
    if (!tensor_image_create(device, case_tensor_type(c, tensor), &shape, &c->placement, image))
        return case_complain(c, "%s was not made", case_tensor_name(tensor));
    if (tensor == BIAS || tensor == BIAS_GRAD) { /* the API has its heads before its queries */
        uint64_t of_heads = image->tensor.sequence_stride;
        image->tensor.sequence_stride = image->tensor.head_stride;
        image->tensor.head_stride = of_heads;
    }
    if (!case_writes(tensor) && !put_slice(&slice, whole_of(data, tensor), image))
        return case_complain(c, "no memory");
    return tensor_image_upload(image) || case_complain(c, "upload of %s: %s", case_tensor_name(tensor), vkring_last_error()->message);
}

static bool create_images(const struct attention_case *c, vkring_device *device, const struct vkring_plan_info *info,
                          const struct case_data *data, struct images *out_images)
{
    for (enum case_tensor i = 0; i < TENSORS; i++)
        if (case_has(c, i) && !create_image(c, device, info, data, i, &out_images->at[i]))
            return false;
    return true;
}

/* All NaN if the tensor was not given to the API. */
static float *collect(const struct attention_case *c, const struct vkring_plan_info *info, enum case_tensor tensor, struct images *images)
{
    const uint64_t count = case_slice_count(c, info, tensor);
    float *values = malloc((count + 1) * sizeof(float));
    for (uint64_t i = 0; values && i < count; i++)
        values[i] = NAN;
    if (values && case_has(c, tensor))
        tensor_image_get(&images->at[tensor], values);
    return values;
}

static bool collect_all(const struct attention_case *c, struct images *images, struct case_result *result)
{
    for (enum case_tensor i = 0; i < TENSORS; i++) {
        struct tensor_image *image = &images->at[i];
        if (!case_has(c, i))
            continue;
        if (!tensor_image_download(image))
            return case_complain(c, "download of %s: %s", case_tensor_name(i), vkring_last_error()->message);
        if (case_writes(i) ? !tensor_image_canaries_alive(image) : !tensor_image_untouched(image))
            return case_complain(c, "something wrote over %s%s", case_writes(i) ? "memory around " : "", case_tensor_name(i));
    }
    result->output = collect(c, &result->info, OUTPUT, images);
    result->lse = collect(c, &result->info, LSE, images);
    bool collected = result->output && result->lse;
    for (int g = 0; collected && c->params.backward && g < GRADIENTS; g++)
        collected = (result->gradients[g] = collect(c, &result->info, QUERY_GRAD + (enum case_tensor)g, images));
    return collected || case_complain(c, "no memory");
}

static struct vkring_backward_io io_of(const struct case_data *data, const struct images *images)
{
    const struct tensor_image *at = images->at;
    return (struct vkring_backward_io){
        .forward =
            {
                .query = at[QUERY].tensor,
                .key = at[KEY].tensor,
                .value = at[VALUE].tensor,
                .output = at[OUTPUT].tensor,
                .lse = at[LSE].tensor,
                .lse_residual = at[LSE_RESIDUAL].tensor,
                .output_residual = at[OUTPUT_RESIDUAL].tensor,
                .query_segment_ids = at[QUERY_SEGMENT_IDS].tensor,
                .key_segment_ids = at[KEY_SEGMENT_IDS].tensor,
                .bias = at[BIAS].tensor,
                .alibi_slopes = at[ALIBI_SLOPES].tensor,
                .sinks = at[SINKS].tensor,
                .seed = data->seed,
            },
        .output_grad = at[OUTPUT_GRAD].tensor,
        .query_grad = at[QUERY_GRAD].tensor,
        .key_grad = at[KEY_GRAD].tensor,
        .value_grad = at[VALUE_GRAD].tensor,
        .bias_grad = at[BIAS_GRAD].tensor,
        .sink_grad = at[SINK_GRAD].tensor,
    };
}

static bool execute(const struct attention_case *c, vkring_plan *plan, const struct case_data *data, const struct images *images)
{
    const struct vkring_backward_io io = io_of(data, images);
    enum vkring_status status = vkring_forward(plan, &io.forward);
    if (status == VKRING_OK && c->params.backward)
        status = vkring_backward(plan, &io);
    return status == VKRING_OK || case_complain(c, "%s: %s", vkring_status_string(status), vkring_last_error()->message);
}

bool case_run_plan(const struct attention_case *c, vkring_device *device, vkring_plan *plan, const struct case_data *data,
                   struct case_result *out_result)
{
    struct images images = {0};
    struct case_result result = {0};
    vkring_plan_get_info(plan, &result.info);
    bool ran = create_images(c, device, &result.info, data, &images) && execute(c, plan, data, &images) && collect_all(c, &images, &result);
    destroy_images(&images);
    vkring_plan_get_stats(plan, &result.stats);
    *out_result = result;
    return ran;
}

struct case_session {
    const struct attention_case *c;
    const struct case_data *data;
    vkring_plan *plan;
    struct images images;
};

struct case_session *case_open(const struct attention_case *c, vkring_device *device, vkring_plan *plan, const struct case_data *data)
{
    struct case_session *session = calloc(1, sizeof(*session));
    struct vkring_plan_info info;
    if (!session)
        return NULL;
    *session = (struct case_session){.c = c, .data = data, .plan = plan};
    vkring_plan_get_info(plan, &info);
    if (create_images(c, device, &info, data, &session->images))
        return session;
    case_close(session, NULL);
    return NULL;
}

enum vkring_status case_start(const struct case_session *session, bool backward)
{
    const struct vkring_backward_io io = io_of(session->data, &session->images);
    return backward ? vkring_backward_start(session->plan, &io) : vkring_forward_start(session->plan, &io.forward);
}

bool case_close(struct case_session *session, struct case_result *out_result)
{
    bool collected = session != NULL;
    if (session && out_result) {
        *out_result = (struct case_result){0};
        vkring_plan_get_info(session->plan, &out_result->info);
        vkring_plan_get_stats(session->plan, &out_result->stats);
        collected = collect_all(session->c, &session->images, out_result);
    }
    if (session)
        destroy_images(&session->images);
    free(session);
    return collected;
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
