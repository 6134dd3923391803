/* SPDX-License-Identifier: MIT */
/* Wrong arguments: each refused by name, before anything is touched. */
#include <math.h>
#include <string.h>

#include "../harness/attention_case.h"
#include "../harness/every_option.h"
#include "../harness/opened_device.h"

static vkring_device *device;

static const struct vkring_plan_params good = {
    .batch = 2, .q_len = 6, .kv_len = 8, .heads = 4, .kv_heads = 2, .head_dim = 8, .value_dim = 4};

static const uint64_t five_rows[] = {5};
static const uint64_t nine_rows[] = {9};

/* What to change in good parameters, and the word that the refusal must hold. */
#define CHANGED(...)                                                                                                                       \
    {                                                                                                                                      \
        .batch = 2, .q_len = 6, .kv_len = 8, .heads = 4, .kv_heads = 2, .head_dim = 8, .value_dim = 4, __VA_ARGS__                         \
    }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#endif
static const struct {
    const char *word;
    struct vkring_plan_params params;
} refused_plans[] = {
    {"type", CHANGED(.type = (enum vkring_type)3)},
    {"type", CHANGED(.type = (enum vkring_type)(-1))},
    {"heads", CHANGED(.heads = 0)},
    {"heads", CHANGED(.heads = UINT64_MAX)},
    {"kv_heads", CHANGED(.kv_heads = 3)},
    {"kv_heads", CHANGED(.kv_heads = 8)},
    {"head_dim", CHANGED(.head_dim = 0)},
    {"head_dim", CHANGED(.head_dim = 257)},
    {"head_dim", CHANGED(.head_dim = UINT64_MAX)},
    {"value_dim", CHANGED(.value_dim = 257)},
    {"batch", CHANGED(.batch = UINT64_MAX)},
    {"q_len", CHANGED(.q_len = UINT64_MAX)},
    {"kv_len", CHANGED(.kv_len = UINT64_MAX)},
    {"q_len", CHANGED(.q_len = UINT64_C(1) << 59)},
    {"kv_len", CHANGED(.kv_len = UINT64_C(1) << 59)},
    {"scale", CHANGED(.has_scale = true, .scale = NAN)},
    {"scale", CHANGED(.has_scale = true, .scale = -INFINITY)},
    {"scale", CHANGED(.has_scale = true, .scale = 1e300)},
    {"timeout_seconds", CHANGED(.timeout_seconds = -1)},
    {"timeout_seconds", CHANGED(.timeout_seconds = NAN)},
    {"dispatch_seconds", CHANGED(.dispatch_seconds = -1)},
    {"dispatch_seconds", CHANGED(.dispatch_seconds = INFINITY)},
    {"chunk_bytes", CHANGED(.chunk_bytes = UINT64_MAX)},
    {"query_rows_of_rank", CHANGED(.query_rows_of_rank = five_rows)},
    {"key_rows_of_rank", CHANGED(.key_rows_of_rank = nine_rows)},
};
#pragma GCC diagnostic pop

START_TEST(plan_refuses_by_name)
{
    vkring_plan *plan = (vkring_plan *)&device;
    struct vkring_plan_memory memory = {.device_bytes = 77, .host_bytes = 78};
    struct vkring_memory_use before, after;
    vkring_device_get_memory_use(device, &before);
    ck_assert_int_eq(vkring_plan_create(device, NULL, &refused_plans[_i].params, &plan), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_msg(strstr(vkring_last_error()->message, refused_plans[_i].word), "'%s' does not name %s", vkring_last_error()->message,
                  refused_plans[_i].word);
    ck_assert_int_eq(vkring_last_error()->status, VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_eq(plan, (vkring_plan *)&device);
    ck_assert_int_eq(vkring_plan_measure(device, NULL, &refused_plans[_i].params, &memory), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_uint_eq(memory.device_bytes, 77);
    ck_assert_uint_eq(memory.host_bytes, 78);
    vkring_device_get_memory_use(device, &after);
    ck_assert_uint_eq(after.device_bytes, before.device_bytes);
    ck_assert_uint_eq(after.host_bytes, before.host_bytes);
}
END_TEST

/* A run with good tensors, one of which a test makes bad. */
enum { QUERY, KEY, VALUE, OUTPUT, LSE, TENSORS };
static const char *const names[TENSORS] = {"query", "key", "value", "output", "lse"};
static const struct tensor_shape_of_test shapes[TENSORS] = {{2, 6, 4, 8}, {2, 8, 2, 8}, {2, 8, 2, 4}, {2, 6, 4, 4}, {2, 1, 4, 6}};

struct table {
    vkring_plan *plan;
    struct tensor_image images[TENSORS];
    struct vkring_tensor tensors[TENSORS];
};

static void lay_table(struct table *table)
{
    static float zeros[2 * 8 * 4 * 8];
    ck_assert_int_eq(vkring_plan_create(device, NULL, &good, &table->plan), VKRING_OK);
    for (int i = 0; i < TENSORS; i++) {
        ck_assert(tensor_image_create(device, VKRING_TYPE_F32, &shapes[i], &(struct tensor_placement){0}, &table->images[i]));
        if (i < OUTPUT)
            tensor_image_put(&table->images[i], zeros);
        ck_assert(tensor_image_upload(&table->images[i]));
        table->tensors[i] = table->images[i].tensor;
    }
}

static enum vkring_status forward(struct table *table)
{
    const struct vkring_forward_io io = {table->tensors[QUERY], table->tensors[KEY], table->tensors[VALUE], table->tensors[OUTPUT],
                                         table->tensors[LSE]};
    return vkring_forward(table->plan, &io);
}

/* Refused by name, nothing written; and the plan is as good as before. */
static void check_refused(struct table *table, int which)
{
    ck_assert_msg(forward(table) == VKRING_ERROR_INVALID_ARGUMENT, "%s was not refused", names[which]);
    ck_assert_msg(strstr(vkring_last_error()->message, names[which]), "'%s' does not name %s", vkring_last_error()->message, names[which]);
    for (int i = 0; i < TENSORS; i++) {
        ck_assert(tensor_image_download(&table->images[i]));
        ck_assert(tensor_image_untouched(&table->images[i]));
        table->tensors[i] = table->images[i].tensor;
    }
}

/* Nothing that could be looked into. */
#define NO_BUFFER ((vkring_buffer *)(uintptr_t)8)

static void clear_table(struct table *table)
{
    ck_assert_int_eq(forward(table), VKRING_OK);
    vkring_plan_destroy(&table->plan);
    for (int i = 0; i < TENSORS; i++)
        tensor_image_destroy(&table->images[i]);
}

START_TEST(run_refuses_a_missing_buffer)
{
    struct table table = {0};
    lay_table(&table);
    for (int i = 0; i < LSE; i++) {
        table.tensors[i].buffer = NULL;
        check_refused(&table, i);
    }
    clear_table(&table);
}
END_TEST

START_TEST(run_refuses_an_offset_between_elements)
{
    struct table table = {0};
    lay_table(&table);
    for (int i = 0; i < TENSORS; i++) {
        table.tensors[i].offset_bytes += 2;
        check_refused(&table, i);
    }
    clear_table(&table);
}
END_TEST

START_TEST(run_refuses_a_tensor_that_leaves_its_buffer)
{
    struct table table = {0};
    lay_table(&table);
    for (int i = 0; i < TENSORS; i++) {
        uint64_t extent = tensor_image_count(&table.images[i]) * sizeof(float);
        table.tensors[i].offset_bytes = table.images[i].bytes - extent + sizeof(float);
        check_refused(&table, i);
        table.tensors[i].offset_bytes = UINT64_MAX / 8 * 8;
        check_refused(&table, i);
    }
    clear_table(&table);
}
END_TEST

START_TEST(run_refuses_strides_that_overflow)
{
    struct table table = {0};
    lay_table(&table);
    const uint64_t huge[] = {UINT64_MAX, UINT64_MAX / 4, (UINT64_C(1) << 62) + 1, UINT64_C(1) << 40};
    for (int i = 0; i < TENSORS; i++)
        for (size_t h = 0; h < sizeof(huge) / sizeof(huge[0]); h++) {
            table.tensors[i].batch_stride = huge[h];
            check_refused(&table, i);
            table.tensors[i].head_stride = huge[h];
            check_refused(&table, i);
        }
    clear_table(&table);
}
END_TEST

START_TEST(run_refuses_output_rows_on_top_of_each_other)
{
    struct table table = {0};
    lay_table(&table);
    table.tensors[OUTPUT].head_stride = 3;
    check_refused(&table, OUTPUT);
    table.tensors[OUTPUT].sequence_stride = 15;
    check_refused(&table, OUTPUT);
    table.tensors[OUTPUT].batch_stride = 17;
    check_refused(&table, OUTPUT);
    table.tensors[LSE].head_stride = 5;
    check_refused(&table, LSE);
    table.tensors[LSE].batch_stride = 23;
    check_refused(&table, LSE);
    clear_table(&table);
}
END_TEST

/* Inputs may overlap themselves: one key row for all, say. */
START_TEST(inputs_may_repeat_rows)
{
    struct table table = {0};
    lay_table(&table);
    table.tensors[KEY].sequence_stride = 1;
    table.tensors[KEY].head_stride = 1;
    ck_assert_int_eq(forward(&table), VKRING_OK);
    clear_table(&table);
}
END_TEST

START_TEST(empty_tensors_need_no_buffer)
{
    struct vkring_plan_params params = good;
    const struct vkring_forward_io nothing = {0};
    vkring_plan *plan = NULL;
    params.batch = 0;
    ck_assert_int_eq(vkring_plan_create(device, NULL, &params, &plan), VKRING_OK);
    ck_assert_int_eq(vkring_forward(plan, &nothing), VKRING_OK);
    vkring_plan_destroy(&plan);
    params.batch = 2;
    params.q_len = 0;
    params.kv_len = 0;
    ck_assert_int_eq(vkring_plan_create(device, NULL, &params, &plan), VKRING_OK);
    ck_assert_int_eq(vkring_forward(plan, &nothing), VKRING_OK);
    vkring_plan_destroy(&plan);
}
END_TEST

enum { MANY = 9 };

static void place_floats(const float *values, uint64_t count, struct vkring_tensor *tensor)
{
    ck_assert_int_eq(vkring_buffer_create(device, count * sizeof(float), &tensor->buffer), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_upload(tensor->buffer, 0, values, count * sizeof(float)), VKRING_OK);
}

/* Scores are held times log2(e), and over softcap: what is a number as f32 need not be one then. A query of zeros has scores of 0 all the
 * same. */
START_TEST(any_scale_of_nothing_is_nothing)
{
    static const double scales[] = {3.4e38, -3.4e38, 3.4e38, 1e10}, softcaps[] = {0, 0, 0.25, 1e-40};
    const struct vkring_plan_params params = {
        .batch = 1, .q_len = 1, .kv_len = MANY, .heads = 1, .head_dim = 1, .has_scale = true, .scale = scales[_i], .softcap = softcaps[_i]};
    const float query = 0, keys[MANY] = {0, 1, -1, 2, 3, 1e-3f, 7, -5, 4}, values[MANY] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct vkring_forward_io io = {0};
    vkring_plan *plan = NULL;
    float output = NAN, lse = NAN;
    place_floats(&query, 1, &io.query);
    place_floats(keys, MANY, &io.key);
    place_floats(values, MANY, &io.value);
    place_floats(&output, 1, &io.output);
    place_floats(&lse, 1, &io.lse);
    ck_assert_int_eq(vkring_plan_create(device, NULL, &params, &plan), VKRING_OK);
    ck_assert_int_eq(vkring_forward(plan, &io), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_download(io.output.buffer, 0, &output, sizeof(output)), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_download(io.lse.buffer, 0, &lse, sizeof(lse)), VKRING_OK);
    ck_assert_float_eq_tol(output, 5, 1e-5f);
    ck_assert_float_eq_tol(lse, logf(MANY), 1e-5f);
    vkring_plan_destroy(&plan);
    vkring_buffer_destroy(&io.query.buffer);
    vkring_buffer_destroy(&io.key.buffer);
    vkring_buffer_destroy(&io.value.buffer);
    vkring_buffer_destroy(&io.output.buffer);
    vkring_buffer_destroy(&io.lse.buffer);
}
END_TEST

enum { FAR_ROWS = 70, FAR_DIM = 16 };

/* ALiBi moves scores of far rows by more than f32 resolves of a sink: which is not among them. */
START_TEST(lse_of_a_row_of_nothing_is_its_sink)
{
    static const int64_t offsets[] = {-100000, -(INT64_C(1) << 40)};
    const struct vkring_plan_params params = {.type = _i % 2 ? VKRING_TYPE_F16 : VKRING_TYPE_F32,
                                              .batch = 1,
                                              .q_len = FAR_ROWS,
                                              .kv_len = 4,
                                              .heads = 1,
                                              .head_dim = FAR_DIM,
                                              .causal = true,
                                              .alibi = true,
                                              .sinks = true,
                                              .has_query_offset = true,
                                              .query_offset = offsets[_i / 2]};
    static const float zeros[FAR_ROWS * FAR_DIM];
    const float slope = 0.7f, sink = 0.3f;
    struct vkring_forward_io io = {0};
    struct vkring_device_info info;
    vkring_plan *plan = NULL;
    float lse[FAR_ROWS];
    vkring_device_get_info(device, &info);
    if (params.type != VKRING_TYPE_F32 && !info.f16)
        return;
    struct vkring_tensor *const rows[] = {&io.query, &io.key, &io.value, &io.output};
    for (int i = 0; i < 4; i++)
        place_floats(zeros, FAR_ROWS * FAR_DIM, rows[i]);
    place_floats(zeros, FAR_ROWS, &io.lse);
    place_floats(&slope, 1, &io.alibi_slopes);
    place_floats(&sink, 1, &io.sinks);
    ck_assert_int_eq(vkring_plan_create(device, NULL, &params, &plan), VKRING_OK);
    ck_assert_int_eq(vkring_forward(plan, &io), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_download(io.lse.buffer, 0, lse, sizeof(lse)), VKRING_OK);
    for (int row = 0; row < FAR_ROWS; row++)
        ck_assert_float_eq_tol(lse[row], sink, 1e-6f);
    vkring_plan_destroy(&plan);
    for (int i = 0; i < 4; i++)
        vkring_buffer_destroy(&rows[i]->buffer);
    vkring_buffer_destroy(&io.lse.buffer);
    vkring_buffer_destroy(&io.alibi_slopes.buffer);
    vkring_buffer_destroy(&io.sinks.buffer);
}
END_TEST

START_TEST(destroy_accepts_nothing)
{
    vkring_plan *plan = NULL;
    vkring_buffer *buffer = NULL;
    vkring_comm *comm = NULL;
    vkring_device *none = NULL;
    vkring_plan_destroy(&plan);
    vkring_buffer_destroy(&buffer);
    vkring_comm_destroy(&comm);
    vkring_device_destroy(&none);
}
END_TEST

START_TEST(runs_look_at_no_tensor_that_the_plan_lacks)
{
    struct vkring_plan_params params = good;
    struct table table;
    lay_table(&table);
    vkring_plan_destroy(&table.plan);
    params.backward = true;
    ck_assert_int_eq(vkring_plan_create(device, NULL, &params, &table.plan), VKRING_OK);
    const struct vkring_tensor unread = {.buffer = NO_BUFFER};
    const struct vkring_backward_io io = {.forward = {.query = table.tensors[QUERY],
                                                      .key = table.tensors[KEY],
                                                      .value = table.tensors[VALUE],
                                                      .output = table.tensors[OUTPUT],
                                                      .lse = table.tensors[LSE],
                                                      .output_residual = unread,
                                                      .query_segment_ids = unread,
                                                      .key_segment_ids = unread,
                                                      .bias = unread,
                                                      .alibi_slopes = unread,
                                                      .sinks = unread},
                                          .output_grad = table.tensors[OUTPUT]};
    ck_assert_int_eq(vkring_forward(table.plan, &io.forward), VKRING_OK);
    ck_assert_int_eq(vkring_backward(table.plan, &io), VKRING_OK);
    clear_table(&table);
}
END_TEST

/* Every tensor in turn. */
static void check_other_device(bool bias_per_query, vkring_buffer *here, vkring_buffer *there)
{
    struct vkring_plan_params params = {.type = VKRING_TYPE_F16, .q_len = 3, .kv_len = 3, .head_dim = 4, EVERY_OPTION(2), .backward = true};
    struct vkring_backward_io io = {.forward.seed = 1};
    struct vkring_forward_io *forward = &io.forward;
    const struct {
        struct vkring_tensor *tensor;
        const char *name;
    } tensors[] = {{&forward->query, "query: "},
                   {&forward->key, "key: "},
                   {&forward->value, "value: "},
                   {&forward->output, "output: "},
                   {&forward->lse, "lse: "},
                   {&forward->lse_residual, "lse_residual: "},
                   {&forward->output_residual, "output_residual: "},
                   {&forward->query_segment_ids, "query_segment_ids: "},
                   {&forward->key_segment_ids, "key_segment_ids: "},
                   {&forward->bias, "bias: "},
                   {&forward->alibi_slopes, "alibi_slopes: "},
                   {&forward->sinks, "sinks: "},
                   {&io.output_grad, "output_grad: "},
                   {&io.query_grad, "query_grad: "},
                   {&io.key_grad, "key_grad: "},
                   {&io.value_grad, "value_grad: "},
                   {&io.bias_grad, "bias_grad: "},
                   {&io.sink_grad, "sink_grad: "}};
    const size_t of_forward = 12, count = sizeof(tensors) / sizeof(tensors[0]);
    vkring_plan *plan = NULL;
    params.batch = params.heads = params.kv_heads = 1;
    params.value_dim = params.head_dim;
    params.bias.per_query = bias_per_query;
    ck_assert_int_eq(vkring_plan_create(device, NULL, &params, &plan), VKRING_OK);
    for (size_t i = 0; i < count; i++)
        *tensors[i].tensor = (struct vkring_tensor){.buffer = here, .offset_bytes = 64 * i};
    for (size_t i = 0; i < count; i++) {
        tensors[i].tensor->buffer = there;
        for (int backward = i < of_forward ? 0 : 1; backward < 2; backward++) {
            ck_assert_int_eq(backward ? vkring_backward(plan, &io) : vkring_forward(plan, forward), VKRING_ERROR_INVALID_ARGUMENT);
            ck_assert_msg(strstr(vkring_last_error()->message, tensors[i].name) == vkring_last_error()->message &&
                              strstr(vkring_last_error()->message, "another device"),
                          "%s'%s'", tensors[i].name, vkring_last_error()->message);
        }
        tensors[i].tensor->buffer = here;
    }
    ck_assert_int_eq(vkring_forward(plan, forward), VKRING_OK);
    ck_assert_int_eq(vkring_backward(plan, &io), VKRING_OK);
    vkring_plan_destroy(&plan);
}

START_TEST(run_refuses_buffers_of_another_device)
{
    static const float zeros[18 * 16];
    vkring_device *other = test_device_open(NULL);
    vkring_buffer *here = NULL, *there = NULL;
    ck_assert_int_eq(vkring_buffer_create(device, sizeof(zeros), &here), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_create(other, sizeof(zeros), &there), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_upload(here, 0, zeros, sizeof(zeros)), VKRING_OK);
    check_other_device(true, here, there);
    check_other_device(false, here, there);
    vkring_buffer_destroy(&here);
    vkring_buffer_destroy(&there);
    vkring_device_destroy(&other);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arguments");
    TCase *plans = tcase_create("plans");
    device = test_device_open(NULL);
    tcase_add_loop_test(plans, plan_refuses_by_name, 0, sizeof(refused_plans) / sizeof(refused_plans[0]));
    tcase_add_loop_test(plans, any_scale_of_nothing_is_nothing, 0, 4);
    tcase_add_loop_test(plans, lse_of_a_row_of_nothing_is_its_sink, 0, 4);
    suite_add_tcase(suite, plans);
    suite_add(suite, "runs", run_refuses_a_missing_buffer);
    suite_add(suite, "runs", run_refuses_an_offset_between_elements);
    suite_add(suite, "runs", run_refuses_a_tensor_that_leaves_its_buffer);
    suite_add(suite, "runs", run_refuses_strides_that_overflow);
    suite_add(suite, "runs", run_refuses_output_rows_on_top_of_each_other);
    suite_add(suite, "runs", run_refuses_buffers_of_another_device);
    suite_add(suite, "runs", inputs_may_repeat_rows);
    suite_add(suite, "runs", empty_tensors_need_no_buffer);
    suite_add(suite, "runs", runs_look_at_no_tensor_that_the_plan_lacks);
    suite_add(suite, "destroy", destroy_accepts_nothing);
    return device_suite_run(suite, &device, 1);
}
