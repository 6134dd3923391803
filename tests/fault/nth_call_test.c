/* SPDX-License-Identifier: MIT */
/*
 * The Nth call of Vulkan or of the allocator fails, for N over a whole life: each call of the library gives a fitting status and one error,
 * all that was made is unmade, and the device works as before. VKRING_TEST_CASES: how many N of each sweep are tried; 0 for all.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <base/clock.h>
#include <cache/cache.h>
#include <ref/random_input.h>
#include <vk/pipeline_pool.h>
#include <vkring/feedforward.h>

#include "../harness/attention_case.h"
#include "../harness/case_tensors.h"
#include "../harness/opened_device.h"
#include "failing_calls.h"

enum { LAYER_SWEEPS = 3 };
enum { ROWS = 40, HEADS = 2, DIM = 16, CASES = 12, AFFORDABLE_SECONDS = 12 };
enum { BYTES = ROWS * HEADS * DIM * sizeof(float), LSE_BYTES = ROWS * HEADS * sizeof(float) };

static const VkResult results[] = {VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_ERROR_OUT_OF_HOST_MEMORY, VK_ERROR_DEVICE_LOST};

/* One life of a plan, a cache or a feed-forward layer on a device. */
struct life {
    vkring_device *device;
    vkring_plan *plan;
    vkring_cache *cache;
    vkring_feedforward *layer;
    vkring_buffer *buffers[TENSORS];
    enum vkring_status status; /* of the first call that failed */
    struct vkring_error error;
    float output[ROWS * HEADS * DIM], key_grad[ROWS * HEADS * DIM];
};

/* Whether the life goes on. Only what the library calls fails. */
#define CALL(life, call) (failing_calls.armed = arm, keep(life, call))

static bool keep(struct life *life, enum vkring_status status)
{
    failing_calls.armed = false;
    if (status != VKRING_OK) {
        life->status = status;
        life->error = *vkring_last_error();
    }
    return status == VKRING_OK;
}

static bool place(struct life *life, bool arm, enum case_tensor tensor, uint64_t bytes)
{
    float values[ROWS * HEADS * DIM];
    random_fill((uint64_t)tensor, RANDOM_NORMAL, 1, 0, ROWS * HEADS * DIM, values);
    return CALL(life, vkring_buffer_create(life->device, bytes, &life->buffers[tensor])) &&
           CALL(life, vkring_buffer_upload(life->buffers[tensor], 0, values, bytes));
}

static bool run_plan(struct life *life, bool arm)
{
    vkring_buffer *const *at = life->buffers;
    const struct vkring_backward_io io = {
        .forward = {.query = {.buffer = at[QUERY]},
                    .key = {.buffer = at[KEY]},
                    .value = {.buffer = at[VALUE]},
                    .output = {.buffer = at[OUTPUT]},
                    .lse = {.buffer = at[LSE]}},
        .output_grad = {.buffer = at[OUTPUT_GRAD]},
        .query_grad = {.buffer = at[QUERY_GRAD]},
        .key_grad = {.buffer = at[KEY_GRAD]},
        .value_grad = {.buffer = at[VALUE_GRAD]},
    };
    return CALL(life, vkring_forward(life->plan, &io.forward)) && CALL(life, vkring_backward(life->plan, &io)) &&
           CALL(life, vkring_buffer_download(at[OUTPUT], 0, life->output, BYTES)) &&
           CALL(life, vkring_buffer_download(at[KEY_GRAD], 0, life->key_grad, BYTES));
}

static bool live_as_plan(struct life *life, bool arm)
{
    static const enum case_tensor tensors[] = {QUERY, KEY, VALUE, OUTPUT, OUTPUT_GRAD, QUERY_GRAD, KEY_GRAD, VALUE_GRAD};
    const struct vkring_plan_params params = {
        .batch = 1, .q_len = ROWS, .kv_len = ROWS, .heads = HEADS, .head_dim = DIM, .causal = true, .backward = true};
    bool well = CALL(life, vkring_plan_create(life->device, NULL, &params, &life->plan)) && place(life, arm, LSE, LSE_BYTES);
    for (size_t i = 0; well && i < sizeof(tensors) / sizeof(tensors[0]); i++)
        well = place(life, arm, tensors[i], BYTES);
    return well && run_plan(life, arm);
}

/* Several submissions, so that one fails after others: of two chunks, each in pieces. */
static bool live_as_feedforward(struct life *life, bool arm)
{
    vkring_buffer **at = life->buffers;
    const struct vkring_feedforward_params params = {.rows = ROWS,
                                                     .model_dim = DIM,
                                                     .hidden_dim = DIM,
                                                     .activation = VKRING_ACTIVATION_SILU,
                                                     .backward = true,
                                                     .chunk_rows = ROWS / 2,
                                                     .dispatch_seconds = 1e-9};
    const enum case_tensor tensors[] = {QUERY, KEY, VALUE, OUTPUT, OUTPUT_GRAD, QUERY_GRAD, KEY_GRAD};
    bool well = CALL(life, vkring_feedforward_create(life->device, &params, &life->layer));
    for (size_t i = 0; well && i < sizeof(tensors) / sizeof(tensors[0]); i++)
        well = place(life, arm, tensors[i], BYTES);
    const struct vkring_feedforward_io io = {.input = {.buffer = at[QUERY]},
                                             .hidden_weight = {.buffer = at[KEY]},
                                             .output_weight = {.buffer = at[VALUE]},
                                             .output = {.buffer = at[OUTPUT]}};
    const struct vkring_feedforward_gradients gradients = {.output_grad = {.buffer = at[OUTPUT_GRAD]},
                                                           .input_grad = {.buffer = at[QUERY_GRAD]},
                                                           .hidden_weight_grad = {.buffer = at[KEY_GRAD]}};
    return well && CALL(life, vkring_feedforward_forward(life->layer, &io)) &&
           CALL(life, vkring_feedforward_backward(life->layer, &io, &gradients)) &&
           CALL(life, vkring_buffer_download(at[OUTPUT], 0, life->output, BYTES)) &&
           CALL(life, vkring_buffer_download(at[KEY_GRAD], 0, life->key_grad, BYTES));
}

static bool place_ids(struct life *life, bool arm)
{
    int32_t ids[ROWS * HEADS];
    for (int i = 0; i < ROWS * HEADS; i++)
        ids[i] = i / 3 % 2;
    return place(life, arm, LSE, LSE_BYTES) && CALL(life, vkring_buffer_upload(life->buffers[LSE], 0, ids, LSE_BYTES));
}

/* The stored values are the gradient. */
static bool live_as_cache(struct life *life, bool arm)
{
    const struct vkring_cache_params params = {.attention = {.batch = 2,
                                                             .q_len = ROWS / 2,
                                                             .kv_len = ROWS / 2,
                                                             .heads = HEADS,
                                                             .head_dim = DIM,
                                                             .segment_ids = true,
                                                             .bias = {.present = true}}};
    const uint64_t first[2] = {5, 7}, kept[2] = {3, 7}, rest[2] = {ROWS / 2 - 3, ROWS / 2 - 7};
    struct vkring_cache_append_io rows = {.rows = first};
    const uint64_t queries[2] = {ROWS / 2, ROWS / 2};
    bool well = CALL(life, vkring_cache_create(life->device, NULL, &params, &life->cache)) && place(life, arm, KEY, BYTES) &&
                place(life, arm, VALUE, BYTES) && place(life, arm, QUERY, BYTES) && place(life, arm, OUTPUT, BYTES) && place_ids(life, arm);
    rows.key.buffer = life->buffers[KEY];
    rows.value.buffer = life->buffers[VALUE];
    rows.segment_ids.buffer = life->buffers[LSE];
    const struct vkring_cache_attend_io io = {.rows = queries,
                                              .query = {.buffer = life->buffers[QUERY]},
                                              .output = {.buffer = life->buffers[OUTPUT]},
                                              .segment_ids = rows.segment_ids,
                                              .bias = {.buffer = life->buffers[QUERY]}};
    well = well && CALL(life, vkring_cache_append(life->cache, &rows));
    rows.rows = rest;
    return well && CALL(life, vkring_cache_truncate(life->cache, kept)) && CALL(life, vkring_cache_append(life->cache, &rows)) &&
           CALL(life, vkring_cache_attend(life->cache, &io)) &&
           CALL(life, vkring_buffer_download(io.output.buffer, 0, life->output, BYTES)) &&
           CALL(life, vkring_buffer_download(life->cache->value.elements, 0, life->key_grad, BYTES));
}

static void die(struct life *life, bool arm)
{
    failing_calls.armed = arm;
    vkring_plan_destroy(&life->plan);
    vkring_cache_destroy(&life->cache);
    vkring_feedforward_destroy(&life->layer);
    for (int i = 0; i < TENSORS; i++)
        vkring_buffer_destroy(&life->buffers[i]);
    failing_calls.armed = false;
    pipeline_pool_trim(life->device); /* so that the next life compiles again */
}

static bool is_fitting(const struct life *life)
{
    static const enum vkring_status of_vulkan[] = {VKRING_ERROR_OUT_OF_DEVICE_MEMORY, VKRING_ERROR_OUT_OF_HOST_MEMORY,
                                                   VKRING_ERROR_DEVICE_LOST};
    enum vkring_status expected = VKRING_ERROR_OUT_OF_HOST_MEMORY;
    if (failing_calls.kind == FAILING_VULKAN)
        for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++)
            expected = failing_calls.result == results[i] ? of_vulkan[i] : expected;
    return life->status == expected && life->error.status == expected && life->error.message[0] && !strchr(life->error.message, '\n');
}

static bool complain(const char *sweep, const struct life *life, const char *what)
{
    fprintf(stderr, "%s: call %" PRIu64 " (%s) fails %s with %d: %s; status %d: %s\n", sweep, failing_calls.nth,
            failing_calls.name ? failing_calls.name : "never", failing_calls.for_good ? "for good" : "once", failing_calls.result, what,
            life->status, life->error.message);
    return false;
}

static void aim(enum failing_kind kind, uint64_t nth, bool for_good)
{
    const int64_t objects = failing_calls.objects, blocks = failing_calls.blocks;
    failing_calls = (struct failing_calls){.kind = kind,
                                           .nth = nth,
                                           .for_good = for_good,
                                           .result = results[nth % (sizeof(results) / sizeof(results[0]))],
                                           .objects = objects,
                                           .blocks = blocks};
}

/* How far apart the calls are that are tried, of count: less often where a life is long, since some drivers compile slowly. */
static uint64_t stride_of(uint64_t count, double life_seconds)
{
    const uint64_t affordable = (uint64_t)(AFFORDABLE_SECONDS / (life_seconds + 0.01)) + 2;
    const uint64_t cases = environment_number("VKRING_TEST_CASES", affordable < CASES ? affordable : CASES);
    return cases == 0 || count <= cases ? 1 : (count + cases - 1) / cases;
}

/* A device that never says whether it is done keeps what it may still use. */
static bool nothing_is_lost(const char *sweep, const struct life *life, bool quarantined, int64_t objects, int64_t blocks)
{
    if (quarantined)
        return (failing_calls.for_good && failing_calls.kind == FAILING_VULKAN) || complain(sweep, life, "the device was given up");
    if (failing_calls.objects != objects)
        return complain(sweep, life, "Vulkan objects are lost");
    return failing_calls.blocks == blocks || complain(sweep, life, "memory is lost");
}

/* A plan, a cache, a layer --------------------------------------------------------------------------------------------------- */

static vkring_device *device;
static struct life sound;
static bool (*live)(struct life *life, bool arm);

static bool same_results(const struct life *life)
{
    return memcmp(life->output, sound.output, sizeof(sound.output)) == 0 &&
           memcmp(life->key_grad, sound.key_grad, sizeof(sound.key_grad)) == 0;
}

static bool life_survives(const char *sweep)
{
    const int64_t objects = failing_calls.objects, blocks = failing_calls.blocks;
    struct vkring_memory_use before, after;
    struct life life = {.device = device}, afterwards = {.device = device};
    bool good = true;
    vkring_device_get_memory_use(device, &before);
    const bool well = live(&life, true);
    die(&life, true);
    vkring_device_get_memory_use(device, &after);
    if (well && !same_results(&life))
        good = complain(sweep, &life, "a wrong result was taken for good");
    if (!well && !is_fitting(&life))
        good = complain(sweep, &life, "the status does not fit");
    if (after.device_bytes != before.device_bytes || after.host_bytes != before.host_bytes)
        good = atomic_load(&device->quarantined) || complain(sweep, &life, "device memory is lost");
    good = nothing_is_lost(sweep, &life, atomic_load(&device->quarantined), objects, blocks) && good;
    if (atomic_load(&device->kernels_failed))
        good = complain(sweep, &life, "a kernel was taken for wrong");
    if (!live(&afterwards, false) || !same_results(&afterwards))
        good = complain(sweep, &life, "the device does not work afterwards");
    die(&afterwards, false);
    if (atomic_load(&device->quarantined)) {
        vkring_device_destroy(&device);
        device = test_device_open(NULL);
    }
    return good;
}

static bool sweep_lives(const char *name, enum failing_kind kind, bool for_good)
{
    struct life life = {.device = device};
    bool good = true;
    const double begin = clock_seconds();
    aim(kind, UINT64_MAX, false);
    ck_assert(live(&life, true));
    die(&life, true);
    const uint64_t count = failing_calls.count, stride = stride_of(count, clock_seconds() - begin);
    for (uint64_t nth = for_good ? stride / 2 : 0; nth < count; nth += stride) {
        aim(kind, nth, for_good);
        good = life_survives(name) && good;
    }
    printf("%s: %" PRIu64 " calls, every %" PRIu64 "\n", name, count, stride);
    return good;
}

static bool sweep(bool (*life)(struct life *life, bool arm), const char *name, enum failing_kind kind, bool for_good)
{
    device = test_device_open(NULL);
    live = life;
    sound = (struct life){.device = device};
    ck_assert(live(&sound, false));
    die(&sound, false);
    const bool good = sweep_lives(name, kind, for_good);
    vkring_device_destroy(&device);
    return good;
}

START_TEST(a_plan_survives_any_failure)
{
    static const char *const names[FAILING_KINDS][2] = {{"Vulkan fails a plan once", "Vulkan fails a plan for good"},
                                                        {"the allocator fails a plan once", "the allocator fails a plan for good"}};
    ck_assert(sweep(live_as_plan, names[_i / 2][_i % 2], (enum failing_kind)(_i / 2), _i % 2));
}
END_TEST

START_TEST(a_cache_survives_any_failure)
{
    static const char *const names[FAILING_KINDS][2] = {{"Vulkan fails a cache once", "Vulkan fails a cache for good"},
                                                        {"the allocator fails a cache once", "the allocator fails a cache for good"}};
    ck_assert(sweep(live_as_cache, names[_i / 2][_i % 2], (enum failing_kind)(_i / 2), _i % 2));
}
END_TEST

START_TEST(a_feedforward_layer_survives_any_failure)
{
    static const char *const names[LAYER_SWEEPS] = {"Vulkan fails a layer once", "Vulkan fails a layer for good",
                                                    "the allocator fails a layer once"};
    ck_assert(sweep(live_as_feedforward, names[_i], (enum failing_kind)(_i / 2), _i % 2));
}
END_TEST

/* A device ------------------------------------------------------------------------------------------------------------- */

static void note_warning(void *given_up, enum vkring_log_level level, const char *message)
{
    (void)message;
    if (level == VKRING_LOG_WARNING)
        *(bool *)given_up = true;
}

static bool device_survives(const char *sweep)
{
    const int64_t objects = failing_calls.objects, blocks = failing_calls.blocks;
    bool given_up = false;
    const struct vkring_device_params params = {.cache_folder = "", .log = note_warning, .log_user = &given_up};
    struct life life = {0};
    bool good = true, arm = true;
    struct vkring_device_info info;
    uint32_t count;
    if (CALL(&life, vkring_devices_list(&info, 1, &count)) && CALL(&life, vkring_device_create(&params, &life.device))) {
        failing_calls.armed = true;
        vkring_device_destroy(&life.device);
        failing_calls.armed = false;
    } else if (!is_fitting(&life))
        good = complain(sweep, &life, "the status does not fit");
    if (life.device)
        good = complain(sweep, &life, "there is a device");
    return nothing_is_lost(sweep, &life, given_up, objects, blocks) && good;
}

static bool sweep_device(const char *name, enum failing_kind kind, bool for_good)
{
    bool good = true;
    const double begin = clock_seconds();
    aim(kind, UINT64_MAX, false);
    ck_assert(device_survives(name));
    const uint64_t count = failing_calls.count, stride = stride_of(count, clock_seconds() - begin);
    for (uint64_t nth = 0; nth < count; nth += stride) {
        aim(kind, nth, for_good);
        good = device_survives(name) && good;
    }
    printf("%s: %" PRIu64 " calls, every %" PRIu64 "\n", name, count, stride);
    return good;
}

START_TEST(a_device_survives_any_failure)
{
    static const char *const names[FAILING_KINDS][2] = {{"Vulkan fails a device once", "Vulkan fails a device for good"},
                                                        {"the allocator fails a device once", "the allocator fails a device for good"}};
    ck_assert(sweep_device(names[_i / 2][_i % 2], (enum failing_kind)(_i / 2), _i % 2));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nth call");
    TCase *tcase = tcase_create("sweep");
    vkring_device *first = test_device_open(NULL);
    vkring_device_destroy(&first);
    tcase_add_loop_test(tcase, a_device_survives_any_failure, 0, 2 * FAILING_KINDS);
    tcase_add_loop_test(tcase, a_plan_survives_any_failure, 0, 2 * FAILING_KINDS);
    tcase_add_loop_test(tcase, a_cache_survives_any_failure, 0, 2 * FAILING_KINDS);
    tcase_add_loop_test(tcase, a_feedforward_layer_survives_any_failure, 0, LAYER_SWEEPS);
    suite_add_tcase(suite, tcase);
    return device_suite_run(suite, NULL, 0);
}
