/* SPDX-License-Identifier: MIT */
/* Ranks agree before the first byte: on every parameter, on whether all are well, and on nothing that costs memory as ranks grow. */
#include <stddef.h>
#include <string.h>

#include <base/clock.h>
#include <ring/plan.h>

#include "world.h"

static vkring_device *device;
static vkring_comm *comm;

/* What a field needs on all ranks before it can be changed on one. */
static void prepare_field(const char *field, struct vkring_plan_params *p)
{
    p->causal = strcmp(field, "causal_block") == 0;
    p->has_window = strncmp(field, "window", 6) == 0;
    p->window_left = p->window_right = p->has_window ? 50 : 0;
    p->bias.present = strncmp(field, "bias.", 5) == 0 && strcmp(field, "bias.present") != 0;
    if (strcmp(field, "bias.type") == 0)
        p->type = VKRING_TYPE_F16;
}

static struct vkring_plan_params good_params(void)
{
    return (struct vkring_plan_params){.batch = 2,
                                       .q_len = 60,
                                       .kv_len = 80,
                                       .heads = 4,
                                       .kv_heads = 2,
                                       .head_dim = 16,
                                       .value_dim = 16,
                                       .has_query_offset = true,
                                       .has_scale = true,
                                       .query_offset = 20,
                                       .scale = 0.25,
                                       .timeout_seconds = 60,
                                       .chunk_bytes = 1024};
}

/* The communicator and the device are as good as before. */
static bool still_works(void)
{
    const struct attention_case c = {.name = "afterwards", .seed = 4, .params = good_params()};
    return world_agrees(case_passes(&c, device, comm));
}

/* Parameters that are good in themselves, and differ from the good ones in the field that is named. */
static const char *const fields[] = {"type",
                                     "batch",
                                     "q_len",
                                     "kv_len",
                                     "heads",
                                     "kv_heads",
                                     "head_dim",
                                     "value_dim",
                                     "causal",
                                     "causal_block",
                                     "window_left",
                                     "window_right",
                                     "query_offset",
                                     "scale",
                                     "softcap",
                                     "dropout",
                                     "segment_ids",
                                     "alibi",
                                     "sinks",
                                     "backward",
                                     "bias.present",
                                     "bias.type",
                                     "bias.per_batch",
                                     "bias.per_head",
                                     "bias.per_query",
                                     "layout",
                                     "key_layout",
                                     "query_rows_of_rank",
                                     "key_rows_of_rank",
                                     "chunk_bytes"};
enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

static void change_option(const char *field, struct vkring_plan_params *p)
{
    const struct {
        const char *name;
        bool *on;
    } switches[] = {{"causal", &p->causal},
                    {"segment_ids", &p->segment_ids},
                    {"alibi", &p->alibi},
                    {"sinks", &p->sinks},
                    {"backward", &p->backward},
                    {"bias.present", &p->bias.present},
                    {"bias.per_batch", &p->bias.per_batch},
                    {"bias.per_head", &p->bias.per_head},
                    {"bias.per_query", &p->bias.per_query}};
    for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++)
        if (strcmp(field, switches[i].name) == 0)
            *switches[i].on = true;
    if (strcmp(field, "causal_block") == 0)
        p->causal_block = 2;
    if (strcmp(field, "window_left") == 0)
        p->window_left = 51;
    if (strcmp(field, "window_right") == 0)
        p->window_right = -1;
    if (strcmp(field, "softcap") == 0)
        p->softcap = 30;
    if (strcmp(field, "dropout") == 0)
        p->dropout = 0.5;
    if (strcmp(field, "bias.type") == 0)
        p->bias.type = VKRING_TYPE_F16;
}

static void change_field(const char *field, uint64_t *rows, struct vkring_plan_params *p)
{
    const struct {
        const char *name;
        uint64_t *number;
        uint64_t value;
    } numbers[] = {{"batch", &p->batch, 3},         {"q_len", &p->q_len, 61},
                   {"kv_len", &p->kv_len, 81},      {"heads", &p->heads, 2},
                   {"kv_heads", &p->kv_heads, 4},   {"head_dim", &p->head_dim, 17},
                   {"value_dim", &p->value_dim, 1}, {"chunk_bytes", &p->chunk_bytes, 1025}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (strcmp(field, numbers[i].name) == 0)
            *numbers[i].number = numbers[i].value;
    change_option(field, p);
    if (strcmp(field, "type") == 0)
        p->type = VKRING_TYPE_F16;
    if (strcmp(field, "query_offset") == 0)
        p->query_offset = -20;
    if (strcmp(field, "scale") == 0)
        p->scale = 0.250000001;
    if (strcmp(field, "layout") == 0)
        p->layout = VKRING_LAYOUT_STRIPED;
    if (strcmp(field, "key_layout") == 0) {
        p->has_key_layout = true;
        p->key_layout = VKRING_LAYOUT_STRIPED;
    }
    memset(rows, 0, world_size * sizeof(*rows));
    if (strcmp(field, "query_rows_of_rank") == 0) {
        rows[0] = p->q_len;
        p->query_rows_of_rank = rows;
    }
    if (strcmp(field, "key_rows_of_rank") == 0) {
        rows[0] = p->kv_len;
        p->key_rows_of_rank = rows;
    }
}

static bool mismatch_is_named(const char *field, uint32_t odd_one)
{
    struct vkring_plan_params params = good_params();
    vkring_plan *plan = NULL;
    uint64_t rows[64];
    prepare_field(field, &params);
    if (world_rank == odd_one)
        change_field(field, rows, &params);
    enum vkring_status status = vkring_plan_create(device, comm, &params, &plan);
    const struct vkring_error *error = vkring_last_error();
    bool named = world_expect(status == VKRING_ERROR_MISMATCH, "%s: status %d", field, status) &&
                 world_expect(!plan, "%s: there is a plan", field) &&
                 world_expect(strstr(error->message, field), "'%s' does not name %s", error->message, field) &&
                 world_expect(error->status == status && (error->rank == odd_one || odd_one == 0), "'%s' is of rank %u", error->message,
                              error->rank);
    vkring_plan_destroy(&plan);
    return named;
}

START_TEST(a_mismatch_is_named_on_every_rank)
{
    ck_assert(world_agrees(mismatch_is_named(fields[_i], world_size - 1)));
    ck_assert(world_agrees(mismatch_is_named(fields[_i], 0)));
    if (_i == FIELDS - 1)
        ck_assert(still_works());
}
END_TEST

static bool failure_is_passed_on(enum vkring_status status, enum vkring_status own, uint32_t culprit)
{
    const struct vkring_error *error = vkring_last_error();
    if (world_rank == culprit)
        return world_expect(status == own, "status %d, not its own %d: %s", status, own, error->message);
    return world_expect(status == VKRING_ERROR_PEER, "status %d: %s", status, error->message) &&
           world_expect(error->rank == culprit, "'%s' is of rank %u", error->message, error->rank);
}

START_TEST(a_rank_with_a_bad_argument_is_named)
{
    struct vkring_plan_params params = good_params();
    const uint32_t culprit = _i ? world_size - 1 : 0;
    vkring_plan *plan = NULL;
    if (world_rank == culprit)
        params.kv_heads = 3;
    enum vkring_status status = vkring_plan_create(device, comm, &params, &plan);
    bool named = failure_is_passed_on(status, VKRING_ERROR_INVALID_ARGUMENT, culprit);
    if (world_rank == culprit)
        named = world_expect(strstr(vkring_last_error()->message, "kv_heads"), "'%s'", vkring_last_error()->message) && named;
    ck_assert(world_agrees(named && !plan));
    ck_assert(still_works());
}
END_TEST

START_TEST(a_rank_without_memory_is_named)
{
    const struct vk_limit_overrides poor = {.max_buffer_bytes = 4096};
    const struct vkring_plan_params params = good_params();
    const uint32_t culprit = _i ? world_size - 1 : 0;
    vkring_device *own = world_rank == culprit ? test_device_open(&poor) : device;
    struct vkring_memory_use before, after;
    vkring_plan *plan = NULL;
    vkring_device_get_memory_use(own, &before);
    enum vkring_status status = vkring_plan_create(own, comm, &params, &plan);
    bool named = failure_is_passed_on(status, VKRING_ERROR_OUT_OF_DEVICE_MEMORY, culprit);
    vkring_device_get_memory_use(own, &after);
    named = world_expect(after.device_bytes == before.device_bytes && after.host_bytes == before.host_bytes, "memory is lost") && named;
    ck_assert(world_agrees(named && !plan));
    if (own != device)
        vkring_device_destroy(&own);
    ck_assert(still_works());
}
END_TEST

/* A bad tensor on one rank: the others are told, long before their deadline. */
START_TEST(a_bad_tensor_on_one_rank_ends_the_run)
{
    struct vkring_plan_params params = good_params();
    const struct vkring_forward_io nothing = {0};
    struct attention_case c = {.name = "one rank refuses", .seed = 1, .params = params};
    struct case_data data = {0};
    struct case_result result = {0};
    vkring_plan *plan = NULL;
    vkring_comm *own = world_comm();
    const uint32_t culprit = _i ? world_size - 1 : 0;
    ck_assert(world_agrees(case_make_data(&c, &data) && vkring_plan_create(device, own, &c.params, &plan) == VKRING_OK));
    bool refused = true;
    double begin = clock_seconds();
    if (world_rank == culprit)
        refused = world_expect(vkring_forward(plan, &nothing) == VKRING_ERROR_INVALID_ARGUMENT, "the bad tensor was not refused");
    else
        refused = world_expect(!case_run_plan(&c, device, plan, &data, &result), "a run without rank %u succeeded", culprit) &&
                  failure_is_passed_on(vkring_last_error()->status, VKRING_ERROR_INVALID_ARGUMENT, culprit);
    refused = world_expect(clock_seconds() - begin < 10, "it took %.1f s", clock_seconds() - begin) && refused;
    refused = world_expect(!case_run_plan(&c, device, plan, &data, &result), "the plan is still used") && refused;
    case_free_result(&result);
    case_free_data(&data);
    vkring_plan_destroy(&plan);
    ck_assert(world_agrees(refused));
    vkring_comm_destroy(&own);
    ck_assert(still_works());
}
END_TEST

/* What a plan takes for a fixed share of each rank, on the first `ranks` ranks. */
static bool plan_memory_of(uint32_t ranks, vkring_device *on, struct vkring_plan_memory *out_memory)
{
    struct vkring_plan_params params = good_params();
    struct vkring_memory_use before, with_plan;
    struct vkring_plan_memory promised;
    struct vkring_plan_info info;
    vkring_comm *part = NULL;
    vkring_plan *plan = NULL;
    MPI_Comm split;
    MPI_Comm_split(MPI_COMM_WORLD, world_rank < ranks, 0, &split);
    params.q_len = 30 * ranks;
    params.kv_len = 40 * ranks;
    bool good = world_expect(vkring_comm_create_mpi(split, &part) == VKRING_OK, "no communicator");
    if (good && world_rank < ranks) {
        good = world_expect(vkring_plan_measure(on, part, &params, &promised) == VKRING_OK, "not measured");
        vkring_device_get_memory_use(on, &before);
        good = world_expect(vkring_plan_create(on, part, &params, &plan) == VKRING_OK, "no plan: %s", vkring_last_error()->message) && good;
        vkring_device_get_memory_use(on, &with_plan);
        if (good) {
            vkring_plan_get_info(plan, &info);
            good =
                world_expect(info.memory.device_bytes == promised.device_bytes && info.memory.host_bytes == promised.host_bytes,
                             "broken promise") &&
                world_expect(with_plan.device_bytes - before.device_bytes == promised.device_bytes, "device memory is not as promised") &&
                world_expect(with_plan.host_bytes - before.host_bytes == promised.host_bytes, "host memory is not as promised");
            *out_memory = promised;
        }
    }
    vkring_plan_destroy(&plan);
    vkring_comm_destroy(&part);
    MPI_Comm_free(&split);
    return world_agrees(good);
}

START_TEST(memory_does_not_grow_with_the_ring)
{
    const struct vk_limit_overrides not_unified = {.no_unified_memory = true};
    vkring_device *on = _i ? test_device_open(&not_unified) : device;
    struct vkring_plan_memory of_two = {0}, memory = {0};
    bool same = plan_memory_of(2, on, &of_two);
    memory = of_two;
    for (uint32_t ranks = 3; ranks <= world_size; ranks++) {
        same = plan_memory_of(ranks, on, &memory) && same;
        if (world_rank < 2)
            same = world_expect(memory.device_bytes == of_two.device_bytes && memory.host_bytes == of_two.host_bytes,
                                "%u ranks take %llu + %llu bytes, two %llu + %llu", ranks, (unsigned long long)memory.device_bytes,
                                (unsigned long long)memory.host_bytes, (unsigned long long)of_two.device_bytes,
                                (unsigned long long)of_two.host_bytes) &&
                   same;
    }
    if (on != device)
        vkring_device_destroy(&on);
    ck_assert(world_agrees(same));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("ring agree");
    TCase *tcase = tcase_create("agree");
    device = world_begin(&argc, &argv);
    comm = world_comm();
    tcase_add_loop_test(tcase, a_mismatch_is_named_on_every_rank, 0, FIELDS);
    tcase_add_loop_test(tcase, a_rank_with_a_bad_argument_is_named, 0, 2);
    tcase_add_loop_test(tcase, a_rank_without_memory_is_named, 0, 2);
    tcase_add_loop_test(tcase, a_bad_tensor_on_one_rank_ends_the_run, 0, 2);
    tcase_add_loop_test(tcase, memory_does_not_grow_with_the_ring, 0, 2);
    suite_add_tcase(suite, tcase);
    return world_end(suite, &device, 1, &comm);
}
