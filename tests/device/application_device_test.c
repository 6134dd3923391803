/* SPDX-License-Identifier: MIT */
/* A device, buffers and timeline semaphores of the application: used as told, and left as they were. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <base/clock.h>
#include <vk/memory.h>
#include <vk/select.h>
#include <vk/timeline.h>
#include <vkring/cache.h>

#include "../harness/opened_device.h"

/* What an application would have made before it calls vkring. */
struct application {
    struct log log;
    struct vk_instance instance;
    struct vk_candidate candidate;
    struct vk_features features;
    VkDevice device;
    PFN_vkSignalSemaphore signal;
    PFN_vkDeviceWaitIdle wait_idle;
    PFN_vkDestroyDevice destroy;
    int locks, locked;
};

static void application_open(struct application *app)
{
    const struct vkring_device_params params = test_device_params();
    const float priority = 1;
    struct vk_candidate *candidates;
    uint32_t count;
    *app = (struct application){.log = {params.log, params.log_user}};
    ck_assert_int_eq(vk_instance_create(params.validation, &app->log, &app->instance), VKRING_OK);
    ck_assert_int_eq(vk_candidates_list(&app->instance, &candidates, &count), VKRING_OK);
    ck_assert_uint_gt(count, params.index);
    app->candidate = candidates[params.index];
    free(candidates);
    vk_features_wanted(&app->instance, app->candidate.physical, &app->features);
    const VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = app->candidate.compute_family,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    const VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &app->features.head,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = app->features.extension_count,
        .ppEnabledExtensionNames = app->features.extensions,
    };
    ck_assert_int_eq(app->instance.create_device(app->candidate.physical, &info, NULL, &app->device), VK_SUCCESS);
    app->signal = (PFN_vkSignalSemaphore)app->instance.get_device_proc(app->device, "vkSignalSemaphore");
    app->wait_idle = (PFN_vkDeviceWaitIdle)app->instance.get_device_proc(app->device, "vkDeviceWaitIdle");
    app->destroy = (PFN_vkDestroyDevice)app->instance.get_device_proc(app->device, "vkDestroyDevice");
}

/* Everything vkring made must be gone: the validation layer complains here about what is not. */
static void application_close(struct application *app)
{
    ck_assert_int_eq(app->wait_idle(app->device), VK_SUCCESS);
    app->destroy(app->device, NULL);
    vk_instance_destroy(&app->instance);
}

static void lock(void *user)
{
    struct application *app = user;
    app->locks++;
    app->locked++;
}

static void unlock(void *user)
{
    ((struct application *)user)->locked--;
}

static struct vkring_vulkan_params params_of(struct application *app)
{
    return (struct vkring_vulkan_params){
        .instance = app->instance.handle,
        .physical_device = app->candidate.physical,
        .device = app->device,
        .get_instance_proc_addr = app->instance.get_proc,
        .compute = {app->candidate.compute_family, 0},
        .storage_16bit = app->features.v11.storageBuffer16BitAccess && app->features.head.features.shaderInt16,
        .subgroup_size_control = app->features.v13.subgroupSizeControl && app->features.v13.computeFullSubgroups,
        .cooperative_matrix = app->features.extension_count > 0,
        .cooperative_matrix_operations = app->features.extension_count > 1,
        .cooperative_matrix_bfloat16 = app->features.extension_count > 2,
        .lock_queues = lock,
        .unlock_queues = unlock,
        .lock_user = app,
        .log = app->log.callback,
        .log_user = app->log.user,
        .cache_folder = "",
    };
}

START_TEST(wrong_parameters_are_refused)
{
    struct application app;
    vkring_device *device = NULL;
    application_open(&app);
    const struct vkring_vulkan_queue no_family = {1000, 0}, no_queue = {app.candidate.compute_family, 1000};
    struct vkring_vulkan_params wrong[7];
    for (int i = 0; i < 7; i++)
        wrong[i] = params_of(&app);
    wrong[0].instance = VK_NULL_HANDLE;
    wrong[1].physical_device = VK_NULL_HANDLE;
    wrong[2].device = VK_NULL_HANDLE;
    wrong[3].compute = no_family;
    wrong[4].compute = no_queue;
    wrong[5].transfer = &no_family;
    wrong[6].unlock_queues = NULL;
    for (int i = 0; i < 7; i++) {
        ck_assert_msg(vkring_device_create_from_vulkan(&wrong[i], &device) == VKRING_ERROR_INVALID_ARGUMENT, "parameters %d", i);
        ck_assert_ptr_null(device);
    }
    ck_assert_int_eq(vkring_device_create_from_vulkan(NULL, &device), VKRING_ERROR_INVALID_ARGUMENT);
    application_close(&app);
}
END_TEST

START_TEST(matrix_units_are_the_applications_to_turn_on)
{
    struct application app;
    vkring_device *with = NULL, *without = NULL;
    application_open(&app);
    struct vkring_vulkan_params params = params_of(&app);
    ck_assert_int_eq(vk_device_open_from_vulkan(&params, NULL, &with), VKRING_OK);
    params.cooperative_matrix = false;
    ck_assert_int_eq(vk_device_open_from_vulkan(&params, NULL, &without), VKRING_OK);
    ck_assert_uint_eq(with->info.matrix_shape_count, app.candidate.limits.matrix_shape_count);
    ck_assert_uint_eq(without->info.matrix_shape_count, 0);
    vkring_device_destroy(&without);
    vkring_device_destroy(&with);
    application_close(&app);
}
END_TEST

START_TEST(a_buffer_of_the_application_is_not_ours)
{
    struct application app;
    vkring_device *device = NULL;
    vkring_buffer *owner = NULL, *buffer = NULL, *empty = NULL;
    char bytes[48], back[64];
    memset(bytes, 'x', sizeof(bytes));
    application_open(&app);
    struct vkring_vulkan_params params = params_of(&app);
    ck_assert_int_eq(vkring_device_create_from_vulkan(&params, &device), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_create(device, 64, &owner), VKRING_OK);
    memset(back, 0, sizeof(back));
    ck_assert_int_eq(vkring_buffer_upload(owner, 0, back, 64), VKRING_OK);
    struct vkring_memory_use before, with;
    vkring_device_get_memory_use(device, &before);

    ck_assert_int_eq(vkring_buffer_create_from_vulkan(device, VK_NULL_HANDLE, 0, 16, &buffer), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(vkring_buffer_create_from_vulkan(device, owner->handle, 8, 16, &buffer), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(vkring_buffer_create_from_vulkan(device, owner->handle, 1 << 20, 16, &buffer), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(vkring_buffer_create_from_vulkan(device, owner->handle, 16, UINT64_MAX - 8, &buffer), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(buffer);
    ck_assert_int_eq(vkring_buffer_create_from_vulkan(device, owner->handle, 0, 0, &empty), VKRING_OK);
    ck_assert_uint_eq(empty->address, 0);
    ck_assert_int_eq(vkring_buffer_create_from_vulkan(device, owner->handle, 16, 48, &buffer), VKRING_OK);
    ck_assert_uint_eq(buffer->address, owner->address + 16);
    ck_assert_ptr_null(buffer->mapped);
    ck_assert_int_eq(vkring_buffer_upload(buffer, 0, bytes, 48), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_upload(buffer, 1, bytes, 48), VKRING_ERROR_INVALID_ARGUMENT);
    vkring_buffer_destroy(&buffer);
    vkring_buffer_destroy(&empty);
    ck_assert_int_eq(vkring_buffer_download(owner, 0, back, 64), VKRING_OK);
    for (int i = 0; i < 64; i++)
        ck_assert_int_eq(back[i], i < 16 ? 0 : 'x');
    vkring_device_get_memory_use(device, &with);
    ck_assert_uint_eq(with.device_bytes, before.device_bytes);
    ck_assert_int_gt(app.locks, 0);
    ck_assert_int_eq(app.locked, 0);
    vkring_buffer_destroy(&owner);
    vkring_device_destroy(&device);
    application_close(&app);
}
END_TEST

/* With one key, attention copies its value. */
enum { ROWS = 5, DIM = 16 };

struct run {
    vkring_plan *plan;
    struct vkring_forward_io io;
    enum vkring_status status;
    atomic_bool done;
};

static void *run_forward(void *argument)
{
    struct run *run = argument;
    run->status = vkring_forward(run->plan, &run->io);
    atomic_store(&run->done, true);
    return NULL;
}

static void make_run(vkring_device *device, double timeout_seconds, struct run *out_run, vkring_buffer *buffers[4])
{
    static const uint64_t elements[] = {ROWS * DIM, DIM, DIM, ROWS * DIM};
    const struct vkring_plan_params problem = {
        .batch = 1, .q_len = ROWS, .kv_len = 1, .heads = 1, .head_dim = DIM, .timeout_seconds = timeout_seconds};
    float values[ROWS * DIM];
    for (int i = 0; i < ROWS * DIM; i++)
        values[i] = (float)i;
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(vkring_buffer_create(device, elements[i] * sizeof(float), &buffers[i]), VKRING_OK);
        ck_assert_int_eq(vkring_buffer_upload(buffers[i], 0, values, elements[i] * sizeof(float)), VKRING_OK);
    }
    *out_run = (struct run){.io = {.query = {.buffer = buffers[0]},
                                   .key = {.buffer = buffers[1]},
                                   .value = {.buffer = buffers[2]},
                                   .output = {.buffer = buffers[3]}}};
    ck_assert_int_eq(vkring_plan_create(device, NULL, &problem, &out_run->plan), VKRING_OK);
}

/* A run of the application's device, and a semaphore of the application's on either side of it. */
struct stage {
    struct application app;
    vkring_device *device;
    struct vk_timeline ready, finished;
    vkring_buffer *buffers[4];
    struct run run;
};

static void open_stage(double timeout_seconds, struct stage *stage)
{
    *stage = (struct stage){0};
    application_open(&stage->app);
    const struct vkring_vulkan_params params = params_of(&stage->app);
    ck_assert_int_eq(vkring_device_create_from_vulkan(&params, &stage->device), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(stage->device, &stage->ready), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(stage->device, &stage->finished), VKRING_OK);
    make_run(stage->device, timeout_seconds, &stage->run, stage->buffers);
}

static void close_stage(struct stage *stage)
{
    vkring_plan_destroy(&stage->run.plan);
    for (int i = 0; i < 4; i++)
        vkring_buffer_destroy(&stage->buffers[i]);
    vk_timeline_destroy(stage->device, &stage->finished);
    vk_timeline_destroy(stage->device, &stage->ready);
    vkring_device_destroy(&stage->device);
    application_close(&stage->app);
}

/* The buffer's access comes after the first value of `ready`, and before the second of `finished`; 0: that does not count. */
static void order(struct stage *stage, int buffer, uint64_t ready, uint64_t finished)
{
    const struct vkring_vulkan_sync sync = {.wait = ready ? stage->ready.handle : VK_NULL_HANDLE,
                                            .wait_value = ready,
                                            .signal = finished ? stage->finished.handle : VK_NULL_HANDLE,
                                            .signal_value = finished};
    ck_assert_int_eq(vkring_buffer_set_vulkan_sync(stage->buffers[buffer], &sync), VKRING_OK);
}

static void be_ready(struct stage *stage, uint64_t value)
{
    const VkSemaphoreSignalInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = stage->ready.handle, .value = value};
    ck_assert_int_eq(stage->app.signal(stage->app.device, &info), VK_SUCCESS);
}

static bool is_finished(struct stage *stage, uint64_t value)
{
    bool reached = false;
    ck_assert_int_eq(vk_timeline_reached(stage->device, &stage->finished, value, &reached), VKRING_OK);
    return reached;
}

static bool finishes(struct stage *stage, uint64_t value)
{
    bool reached = false;
    ck_assert_int_eq(vk_timeline_wait(stage->device, &stage->finished, value, 60, &reached), VKRING_OK);
    return reached;
}

static void check_output(struct stage *stage)
{
    float output[ROWS * DIM];
    ck_assert_int_eq(vkring_buffer_download(stage->buffers[3], 0, output, sizeof(output)), VKRING_OK);
    for (int i = 0; i < ROWS * DIM; i++)
        ck_assert_float_eq(output[i], (float)(i % DIM));
}

/*
 * Synchronization validation of 1.3.239 locks up for ten seconds, and says so, when the host signals a semaphore while another thread polls
 * one that depends on it. So under validation the signal comes before the run.
 */
START_TEST(a_run_waits_for_the_application_and_signals_it)
{
    const bool validation = test_device_params().validation;
    struct stage stage;
    pthread_t thread;
    open_stage(60, &stage);
    for (uint64_t round = 1; round <= 2; round++) {
        order(&stage, 2, round, 0);
        order(&stage, 3, 0, round);
        atomic_store(&stage.run.done, false);
        if (validation)
            be_ready(&stage, round);
        ck_assert_int_eq(pthread_create(&thread, NULL, run_forward, &stage.run), 0);
        if (!validation) {
            clock_sleep(0.2);
            ck_assert(!atomic_load(&stage.run.done));
            ck_assert(!is_finished(&stage, round));
            be_ready(&stage, round);
        }
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_int_eq(stage.run.status, VKRING_OK);
        ck_assert(finishes(&stage, round));
    }
    /* used up: nothing to wait for any more */
    ck_assert_int_eq(vkring_forward(stage.run.plan, &stage.run.io), VKRING_OK);
    check_output(&stage);
    close_stage(&stage);
}
END_TEST

/* One thread: it starts a run that waits for it, does other things, and lets the run go on. */
START_TEST(a_started_run_waits_for_the_application)
{
    struct stage stage;
    bool done = true;
    open_stage(60, &stage);
    order(&stage, 2, 1, 0);
    order(&stage, 3, 0, 1);
    ck_assert_int_eq(vkring_forward_start(stage.run.plan, &stage.run.io), VKRING_OK);
    for (int i = 0; i < 5; i++) {
        clock_sleep(0.01);
        ck_assert_int_eq(vkring_plan_test(stage.run.plan, &done), VKRING_OK);
        ck_assert(!done);
        ck_assert_int_eq(vkring_forward_start(stage.run.plan, &stage.run.io), VKRING_ERROR_INVALID_ARGUMENT);
    }
    ck_assert(!is_finished(&stage, 1));
    be_ready(&stage, 1);
    ck_assert_int_eq(vkring_plan_wait(stage.run.plan), VKRING_OK);
    ck_assert(finishes(&stage, 1));
    check_output(&stage);
    close_stage(&stage);
}
END_TEST

START_TEST(a_wait_that_never_ends_times_out)
{
    struct stage stage;
    open_stage(0.3, &stage);
    order(&stage, 0, 1, 0);
    const double before = clock_seconds();
    ck_assert_int_eq(vkring_forward(stage.run.plan, &stage.run.io), VKRING_ERROR_TIMEOUT);
    ck_assert(clock_seconds() - before < 5);
    be_ready(&stage, 1);
    ck_assert_int_eq(stage.app.wait_idle(stage.app.device), VK_SUCCESS);
    close_stage(&stage);
}
END_TEST

/* Waits and signals of a semaphore are the last of it, whichever buffers have it: Vulkan takes each value once, and in order. */
START_TEST(buffers_may_share_a_semaphore)
{
    struct stage stage;
    open_stage(60, &stage);
    order(&stage, 0, 1, 2);
    order(&stage, 1, 2, 3);
    order(&stage, 2, 2, 0);
    order(&stage, 3, 0, 2);
    be_ready(&stage, 2);
    ck_assert_int_eq(vkring_forward(stage.run.plan, &stage.run.io), VKRING_OK);
    ck_assert(finishes(&stage, 3));
    close_stage(&stage);
}
END_TEST

/* The application may destroy its semaphores then: no later run meets them again. */
START_TEST(a_failed_run_uses_semaphores_up)
{
    struct stage stage;
    struct run again;
    vkring_buffer *others[4];
    open_stage(0.3, &stage);
    make_run(stage.device, 60, &again, others);
    order(&stage, 0, 1, 1);
    ck_assert_int_eq(vkring_forward(stage.run.plan, &stage.run.io), VKRING_ERROR_TIMEOUT);
    be_ready(&stage, 1);
    ck_assert_int_eq(stage.app.wait_idle(stage.app.device), VK_SUCCESS);
    ck_assert_int_eq(vkring_forward(again.plan, &stage.run.io), VKRING_OK);
    ck_assert_int_eq(stage.app.wait_idle(stage.app.device), VK_SUCCESS);
    ck_assert(!is_finished(&stage, 1));
    vkring_plan_destroy(&again.plan);
    for (int i = 0; i < 4; i++)
        vkring_buffer_destroy(&others[i]);
    close_stage(&stage);
}
END_TEST

/* LeakSanitizer's, where it is there. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

/*
 * What a device works on for longer than anyone waits is not taken from under it: buffers were destroyed then, and the device wrote to
 * memory that was another's, or no one's. Nothing of it is ever freed, so that the application's device stays, too.
 */
START_TEST(a_busy_device_keeps_its_buffers)
{
    struct stage stage;
    struct vkring_memory_use with, after;
    if (__lsan_disable)
        __lsan_disable(); /* all of it stays */
    open_stage(0.3, &stage);
    vkring_device_get_memory_use(stage.device, &with);
    order(&stage, 0, 1, 0);
    ck_assert_int_eq(vkring_forward(stage.run.plan, &stage.run.io), VKRING_ERROR_TIMEOUT);
    vkring_plan_destroy(&stage.run.plan);
    for (int i = 0; i < 4; i++)
        vkring_buffer_destroy(&stage.buffers[i]);
    vkring_device_get_memory_use(stage.device, &after);
    ck_assert_uint_eq(after.device_bytes, with.device_bytes);
    ck_assert_uint_eq(after.host_bytes, with.host_bytes);

    be_ready(&stage, 1);
    ck_assert_int_eq(stage.app.wait_idle(stage.app.device), VK_SUCCESS);
    vkring_device_destroy(&stage.device);
    if (__lsan_enable)
        __lsan_enable();
}
END_TEST

/* Also where it brings no rows. */
START_TEST(a_cache_waits_for_the_application_and_signals_it)
{
    const struct vkring_cache_params problem = {
        .attention = {.batch = 1, .q_len = ROWS, .kv_len = 3 * ROWS, .heads = 1, .head_dim = DIM, .timeout_seconds = 2}};
    const uint64_t rows[] = {ROWS, 0, 1};
    struct stage stage;
    struct vkring_cache_info info;
    vkring_cache *cache = NULL;
    open_stage(60, &stage);
    ck_assert_int_eq(vkring_cache_create(stage.device, NULL, &problem, &cache), VKRING_OK);
    for (uint64_t call = 1; call <= 3; call++) {
        const struct vkring_cache_append_io io = {
            .rows = &rows[call - 1], .key = {.buffer = stage.buffers[0]}, .value = {.buffer = stage.buffers[3]}};
        order(&stage, 0, call, 0);
        order(&stage, 3, 0, call);
        if (call < 3)
            be_ready(&stage, call);
        ck_assert_int_eq(vkring_cache_append(cache, &io), call < 3 ? VKRING_OK : VKRING_ERROR_TIMEOUT);
        if (call < 3)
            ck_assert(finishes(&stage, call));
        else
            be_ready(&stage, call);
    }
    ck_assert_int_eq(stage.app.wait_idle(stage.app.device), VK_SUCCESS);
    vkring_cache_get_info(cache, &info);
    ck_assert(info.lost);
    ck_assert_uint_eq(info.lengths[0], ROWS);
    vkring_cache_destroy(&cache);
    close_stage(&stage);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("application device");
    vkring_device *device = test_device_open(NULL); /* or skips */
    vkring_device_destroy(&device);
    suite_add(suite, "refused", wrong_parameters_are_refused);
    suite_add(suite, "matrix units", matrix_units_are_the_applications_to_turn_on);
    suite_add(suite, "buffers", a_buffer_of_the_application_is_not_ours);
    suite_add(suite, "semaphores", a_run_waits_for_the_application_and_signals_it);
    suite_add(suite, "semaphores", a_started_run_waits_for_the_application);
    suite_add(suite, "semaphores", buffers_may_share_a_semaphore);
    suite_add(suite, "timeout", a_failed_run_uses_semaphores_up);
    suite_add(suite, "timeout", a_wait_that_never_ends_times_out);
    suite_add(suite, "busy", a_busy_device_keeps_its_buffers);
    suite_add(suite, "cache", a_cache_waits_for_the_application_and_signals_it);
    return device_suite_run(suite, NULL, 0);
}
