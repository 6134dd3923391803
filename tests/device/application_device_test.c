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

/*
 * Synchronization validation of 1.3.239 locks up for ten seconds, and says so, when the host signals a semaphore while another thread polls
 * one that depends on it. So under validation the signal comes before the run.
 */
START_TEST(a_run_waits_for_the_application_and_signals_it)
{
    const bool validation = test_device_params().validation;
    struct application app;
    vkring_device *device = NULL;
    struct vk_timeline ready = {0}, finished = {0};
    vkring_buffer *buffers[4];
    struct run run;
    pthread_t thread;
    bool reached = true;
    float output[ROWS * DIM];
    application_open(&app);
    struct vkring_vulkan_params params = params_of(&app);
    ck_assert_int_eq(vkring_device_create_from_vulkan(&params, &device), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &ready), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &finished), VKRING_OK);
    make_run(device, 60, &run, buffers);
    for (uint64_t round = 1; round <= 2; round++) {
        const struct vkring_vulkan_sync wait = {.wait = ready.handle, .wait_value = round},
                                        signal = {.signal = finished.handle, .signal_value = round};
        const VkSemaphoreSignalInfo signal_ready = {
            .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = ready.handle, .value = round};
        ck_assert_int_eq(vkring_buffer_set_vulkan_sync(buffers[2], &wait), VKRING_OK);
        ck_assert_int_eq(vkring_buffer_set_vulkan_sync(buffers[3], &signal), VKRING_OK);
        atomic_store(&run.done, false);
        if (validation)
            ck_assert_int_eq(app.signal(app.device, &signal_ready), VK_SUCCESS);
        ck_assert_int_eq(pthread_create(&thread, NULL, run_forward, &run), 0);
        if (!validation) {
            clock_sleep(0.2);
            ck_assert(!atomic_load(&run.done));
            ck_assert_int_eq(vk_timeline_reached(device, &finished, round, &reached), VKRING_OK);
            ck_assert(!reached);
            ck_assert_int_eq(app.signal(app.device, &signal_ready), VK_SUCCESS);
        }
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
        ck_assert_int_eq(run.status, VKRING_OK);
        ck_assert_int_eq(vk_timeline_wait(device, &finished, round, 60, &reached), VKRING_OK);
        ck_assert(reached);
    }
    /* used up: nothing to wait for any more */
    ck_assert_int_eq(vkring_forward(run.plan, &run.io), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_download(buffers[3], 0, output, sizeof(output)), VKRING_OK);
    for (int i = 0; i < ROWS * DIM; i++)
        ck_assert_float_eq(output[i], (float)(i % DIM));
    vkring_plan_destroy(&run.plan);
    for (int i = 0; i < 4; i++)
        vkring_buffer_destroy(&buffers[i]);
    vk_timeline_destroy(device, &finished);
    vk_timeline_destroy(device, &ready);
    vkring_device_destroy(&device);
    application_close(&app);
}
END_TEST

/* One thread: it starts a run that waits for it, does other things, and lets the run go on. */
START_TEST(a_started_run_waits_for_the_application)
{
    struct application app;
    vkring_device *device = NULL;
    struct vk_timeline ready = {0}, finished = {0};
    vkring_buffer *buffers[4];
    struct run run;
    bool done = true, reached = true;
    float output[ROWS * DIM];
    application_open(&app);
    struct vkring_vulkan_params params = params_of(&app);
    ck_assert_int_eq(vkring_device_create_from_vulkan(&params, &device), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &ready), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &finished), VKRING_OK);
    make_run(device, 60, &run, buffers);
    const struct vkring_vulkan_sync wait = {.wait = ready.handle, .wait_value = 1}, signal = {.signal = finished.handle, .signal_value = 1};
    const VkSemaphoreSignalInfo signal_ready = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = ready.handle, .value = 1};
    ck_assert_int_eq(vkring_buffer_set_vulkan_sync(buffers[2], &wait), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_set_vulkan_sync(buffers[3], &signal), VKRING_OK);
    ck_assert_int_eq(vkring_forward_start(run.plan, &run.io), VKRING_OK);
    for (int i = 0; i < 5; i++) {
        clock_sleep(0.01);
        ck_assert_int_eq(vkring_plan_test(run.plan, &done), VKRING_OK);
        ck_assert(!done);
        ck_assert_int_eq(vkring_forward_start(run.plan, &run.io), VKRING_ERROR_INVALID_ARGUMENT);
    }
    ck_assert_int_eq(vk_timeline_reached(device, &finished, 1, &reached), VKRING_OK);
    ck_assert(!reached);
    ck_assert_int_eq(app.signal(app.device, &signal_ready), VK_SUCCESS);
    ck_assert_int_eq(vkring_plan_wait(run.plan), VKRING_OK);
    ck_assert_int_eq(vk_timeline_wait(device, &finished, 1, 60, &reached), VKRING_OK);
    ck_assert(reached);
    ck_assert_int_eq(vkring_buffer_download(buffers[3], 0, output, sizeof(output)), VKRING_OK);
    for (int i = 0; i < ROWS * DIM; i++)
        ck_assert_float_eq(output[i], (float)(i % DIM));
    vkring_plan_destroy(&run.plan);
    for (int i = 0; i < 4; i++)
        vkring_buffer_destroy(&buffers[i]);
    vk_timeline_destroy(device, &finished);
    vk_timeline_destroy(device, &ready);
    vkring_device_destroy(&device);
    application_close(&app);
}
END_TEST

START_TEST(a_wait_that_never_ends_times_out)
{
    struct application app;
    vkring_device *device = NULL;
    struct vk_timeline never = {0};
    vkring_buffer *buffers[4];
    struct run run;
    application_open(&app);
    struct vkring_vulkan_params params = params_of(&app);
    ck_assert_int_eq(vkring_device_create_from_vulkan(&params, &device), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &never), VKRING_OK);
    make_run(device, 0.3, &run, buffers);
    const struct vkring_vulkan_sync wait = {.wait = never.handle, .wait_value = 1};
    const VkSemaphoreSignalInfo at_last = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = never.handle, .value = 1};
    ck_assert_int_eq(vkring_buffer_set_vulkan_sync(buffers[0], &wait), VKRING_OK);
    const double before = clock_seconds();
    ck_assert_int_eq(vkring_forward(run.plan, &run.io), VKRING_ERROR_TIMEOUT);
    ck_assert(clock_seconds() - before < 5);
    ck_assert_int_eq(app.signal(app.device, &at_last), VK_SUCCESS);
    ck_assert_int_eq(app.wait_idle(app.device), VK_SUCCESS);
    vkring_plan_destroy(&run.plan);
    for (int i = 0; i < 4; i++)
        vkring_buffer_destroy(&buffers[i]);
    vk_timeline_destroy(device, &never);
    vkring_device_destroy(&device);
    application_close(&app);
}
END_TEST

/* Waits and signals of a semaphore are the last of it, whichever buffers have it: Vulkan takes each value once, and in order. */
START_TEST(buffers_may_share_a_semaphore)
{
    struct application app;
    vkring_device *device = NULL;
    struct vk_timeline ready = {0}, finished = {0};
    vkring_buffer *buffers[4];
    struct run run;
    bool reached = false;
    application_open(&app);
    struct vkring_vulkan_params params = params_of(&app);
    ck_assert_int_eq(vkring_device_create_from_vulkan(&params, &device), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &ready), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &finished), VKRING_OK);
    make_run(device, 60, &run, buffers);
    const VkSemaphoreSignalInfo signal_ready = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = ready.handle, .value = 2};
    const struct vkring_vulkan_sync syncs[4] = {
        {.wait = ready.handle, .wait_value = 1, .signal = finished.handle, .signal_value = 2},
        {.wait = ready.handle, .wait_value = 2, .signal = finished.handle, .signal_value = 3},
        {.wait = ready.handle, .wait_value = 2},
        {.signal = finished.handle, .signal_value = 2},
    };
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(vkring_buffer_set_vulkan_sync(buffers[i], &syncs[i]), VKRING_OK);
    ck_assert_int_eq(app.signal(app.device, &signal_ready), VK_SUCCESS);
    ck_assert_int_eq(vkring_forward(run.plan, &run.io), VKRING_OK);
    ck_assert_int_eq(vk_timeline_wait(device, &finished, 3, 60, &reached), VKRING_OK);
    ck_assert(reached);
    vkring_plan_destroy(&run.plan);
    for (int i = 0; i < 4; i++)
        vkring_buffer_destroy(&buffers[i]);
    vk_timeline_destroy(device, &finished);
    vk_timeline_destroy(device, &ready);
    vkring_device_destroy(&device);
    application_close(&app);
}
END_TEST

/* The application may destroy its semaphores then: no later run meets them again. */
START_TEST(a_failed_run_uses_semaphores_up)
{
    struct application app;
    vkring_device *device = NULL;
    struct vk_timeline never = {0}, finished = {0};
    vkring_buffer *buffers[4], *others[4];
    struct run run, again;
    bool reached = true;
    application_open(&app);
    struct vkring_vulkan_params params = params_of(&app);
    ck_assert_int_eq(vkring_device_create_from_vulkan(&params, &device), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &never), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &finished), VKRING_OK);
    make_run(device, 0.3, &run, buffers);
    make_run(device, 60, &again, others);
    const struct vkring_vulkan_sync sync = {.wait = never.handle, .wait_value = 1, .signal = finished.handle, .signal_value = 1};
    const VkSemaphoreSignalInfo at_last = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = never.handle, .value = 1};
    ck_assert_int_eq(vkring_buffer_set_vulkan_sync(buffers[0], &sync), VKRING_OK);
    ck_assert_int_eq(vkring_forward(run.plan, &run.io), VKRING_ERROR_TIMEOUT);
    ck_assert_int_eq(app.signal(app.device, &at_last), VK_SUCCESS);
    ck_assert_int_eq(app.wait_idle(app.device), VK_SUCCESS);
    vkring_plan_destroy(&run.plan);
    ck_assert_int_eq(vkring_forward(again.plan, &run.io), VKRING_OK);
    ck_assert_int_eq(app.wait_idle(app.device), VK_SUCCESS);
    ck_assert_int_eq(vk_timeline_reached(device, &finished, 1, &reached), VKRING_OK);
    ck_assert(!reached);
    vkring_plan_destroy(&again.plan);
    for (int i = 0; i < 4; i++) {
        vkring_buffer_destroy(&buffers[i]);
        vkring_buffer_destroy(&others[i]);
    }
    vk_timeline_destroy(device, &finished);
    vk_timeline_destroy(device, &never);
    vkring_device_destroy(&device);
    application_close(&app);
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
    struct application app;
    vkring_device *device = NULL;
    struct vk_timeline never = {0};
    struct vkring_memory_use with, after;
    vkring_buffer *buffers[4];
    struct run run;
    if (__lsan_disable)
        __lsan_disable(); /* all of it stays */
    application_open(&app);
    struct vkring_vulkan_params params = params_of(&app);
    ck_assert_int_eq(vkring_device_create_from_vulkan(&params, &device), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &never), VKRING_OK);
    make_run(device, 0.3, &run, buffers);
    vkring_device_get_memory_use(device, &with);
    const struct vkring_vulkan_sync wait = {.wait = never.handle, .wait_value = 1};
    const VkSemaphoreSignalInfo at_last = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = never.handle, .value = 1};
    ck_assert_int_eq(vkring_buffer_set_vulkan_sync(buffers[0], &wait), VKRING_OK);
    ck_assert_int_eq(vkring_forward(run.plan, &run.io), VKRING_ERROR_TIMEOUT);
    vkring_plan_destroy(&run.plan);
    for (int i = 0; i < 4; i++)
        vkring_buffer_destroy(&buffers[i]);
    vkring_device_get_memory_use(device, &after);
    ck_assert_uint_eq(after.device_bytes, with.device_bytes);
    ck_assert_uint_eq(after.host_bytes, with.host_bytes);

    ck_assert_int_eq(app.signal(app.device, &at_last), VK_SUCCESS);
    ck_assert_int_eq(app.wait_idle(app.device), VK_SUCCESS);
    vkring_device_destroy(&device);
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
    struct application app;
    vkring_device *device = NULL;
    struct vk_timeline ready = {0}, finished = {0};
    struct vkring_tensor key = {0}, value = {0};
    struct vkring_cache_info info;
    vkring_cache *cache = NULL;
    bool reached = false;
    application_open(&app);
    struct vkring_vulkan_params params = params_of(&app);
    ck_assert_int_eq(vkring_device_create_from_vulkan(&params, &device), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &ready), VKRING_OK);
    ck_assert_int_eq(vk_timeline_create(device, &finished), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_create(device, sizeof(float[ROWS][DIM]), &key.buffer), VKRING_OK);
    ck_assert_int_eq(vkring_buffer_create(device, sizeof(float[ROWS][DIM]), &value.buffer), VKRING_OK);
    ck_assert_int_eq(vkring_cache_create(device, NULL, &problem, &cache), VKRING_OK);
    for (uint64_t call = 1; call <= 3; call++) {
        const struct vkring_vulkan_sync wait = {.wait = ready.handle, .wait_value = call},
                                        signal = {.signal = finished.handle, .signal_value = call};
        const VkSemaphoreSignalInfo signal_ready = {
            .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = ready.handle, .value = call};
        ck_assert_int_eq(vkring_buffer_set_vulkan_sync(key.buffer, &wait), VKRING_OK);
        ck_assert_int_eq(vkring_buffer_set_vulkan_sync(value.buffer, &signal), VKRING_OK);
        if (call < 3)
            ck_assert_int_eq(app.signal(app.device, &signal_ready), VK_SUCCESS);
        ck_assert_int_eq(vkring_cache_append(cache, &(struct vkring_cache_append_io){.rows = &rows[call - 1], .key = key, .value = value}),
                         call < 3 ? VKRING_OK : VKRING_ERROR_TIMEOUT);
        if (call < 3)
            ck_assert_int_eq(vk_timeline_wait(device, &finished, call, 60, &reached), VKRING_OK);
        else
            ck_assert_int_eq(app.signal(app.device, &signal_ready), VK_SUCCESS);
        ck_assert(reached);
    }
    ck_assert_int_eq(app.wait_idle(app.device), VK_SUCCESS);
    vkring_cache_get_info(cache, &info);
    ck_assert(info.lost);
    ck_assert_uint_eq(info.lengths[0], ROWS);
    vkring_cache_destroy(&cache);
    vkring_buffer_destroy(&key.buffer);
    vkring_buffer_destroy(&value.buffer);
    vk_timeline_destroy(device, &finished);
    vk_timeline_destroy(device, &ready);
    vkring_device_destroy(&device);
    application_close(&app);
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
