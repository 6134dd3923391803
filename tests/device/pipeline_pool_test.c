/* SPDX-License-Identifier: MIT */
/* Plans that need the same pipelines share them, also across threads; a device keeps a bounded number that nobody uses. */
#include <pthread.h>
#include <stdatomic.h>

#include <attention/spirv.h>
#include <vk/pipeline_pool.h>

#include "../harness/attention_case.h"
#include "../harness/opened_device.h"

enum { THREADS = 4, ROUNDS = 200, DISTINCT = 3 };

static vkring_device *device;
static PFN_vkCreateComputePipelines real_create;
static PFN_vkDestroyPipeline real_destroy;
static atomic_int compiled, alive;

static VKAPI_ATTR VkResult VKAPI_CALL counting_create(VkDevice handle, VkPipelineCache cache, uint32_t count,
                                                      const VkComputePipelineCreateInfo *infos, const VkAllocationCallbacks *calls,
                                                      VkPipeline *pipelines)
{
    atomic_fetch_add(&compiled, 1);
    atomic_fetch_add(&alive, 1);
    return real_create(handle, cache, count, infos, calls, pipelines);
}

static VKAPI_ATTR void VKAPI_CALL counting_destroy(VkDevice handle, VkPipeline pipeline, const VkAllocationCallbacks *calls)
{
    atomic_fetch_sub(&alive, 1);
    real_destroy(handle, pipeline, calls);
}

static void setup(void)
{
    device = test_device_open(NULL);
    real_create = device->fn.vkCreateComputePipelines;
    real_destroy = device->fn.vkDestroyPipeline;
    device->fn.vkCreateComputePipelines = counting_create;
    device->fn.vkDestroyPipeline = counting_destroy;
    atomic_store(&compiled, 0);
    atomic_store(&alive, 0);
}

static void teardown(void)
{
    vkring_device_destroy(&device);
    ck_assert_int_eq(atomic_load(&alive), 0);
}

/* A small pipeline; those of one width are the same. */
static enum vkring_status acquire(uint32_t width, const struct vk_pipeline **out_pipeline)
{
    const struct spirv_module module = spirv_segment_bounds();
    const struct vk_pipeline_params params = {
        .code = module.code, .code_bytes = module.bytes, .push_bytes = 64, .constants = &width, .constant_count = 1};
    return pipeline_pool_acquire(device, &params, out_pipeline);
}

START_TEST(a_second_plan_compiles_nothing)
{
    struct attention_case c = {
        .seed = 1,
        .params = {.batch = 1, .q_len = 20, .kv_len = 30, .heads = 1, .head_dim = 16, .segment_ids = true, .backward = true},
    };
    vkring_plan *plan = NULL;
    ck_assert(case_passes(&c, device, NULL));
    const int first = atomic_load(&compiled);
    ck_assert_int_gt(first, 3);
    ck_assert_int_eq(vkring_plan_create(device, NULL, &c.params, &plan), VKRING_OK);
    c.params.q_len = 33;
    ck_assert(case_passes(&c, device, NULL)); /* beside a plan that uses them */
    vkring_plan_destroy(&plan);
    ck_assert_int_eq(atomic_load(&compiled), first);
    c.params.head_dim = 20;
    ck_assert(case_passes(&c, device, NULL));
    ck_assert_int_gt(atomic_load(&compiled), first);
}
END_TEST

START_TEST(those_used_last_are_kept)
{
    const struct vk_pipeline *held, *pipeline;
    ck_assert_int_eq(acquire(1, &held), VKRING_OK);
    for (uint32_t width = 2; width < 10 + PIPELINE_POOL_MOST_IDLE; width++) {
        ck_assert_int_eq(acquire(width, &pipeline), VKRING_OK);
        pipeline_pool_release(device, &pipeline);
        ck_assert_ptr_null(pipeline);
        ck_assert_int_le(atomic_load(&alive), (int)PIPELINE_POOL_MOST_IDLE + 1);
    }
    const int before = atomic_load(&compiled);
    ck_assert_int_eq(atomic_load(&alive), (int)PIPELINE_POOL_MOST_IDLE + 1);
    ck_assert_int_eq(acquire(9 + PIPELINE_POOL_MOST_IDLE, &pipeline), VKRING_OK);
    pipeline_pool_release(device, &pipeline);
    ck_assert_int_eq(acquire(1, &pipeline), VKRING_OK); /* in use all the time */
    ck_assert_ptr_eq(pipeline, held);
    pipeline_pool_release(device, &pipeline);
    ck_assert_int_eq(atomic_load(&compiled), before);
    ck_assert_int_eq(acquire(2, &pipeline), VKRING_OK); /* the first that had to go */
    ck_assert_int_eq(atomic_load(&compiled), before + 1);
    pipeline_pool_release(device, &pipeline);
    pipeline_pool_trim(device);
    ck_assert_int_eq(atomic_load(&alive), 1);
    pipeline_pool_release(device, &held);
}
END_TEST

static void *take_turns(void *failed)
{
    for (uint32_t round = 0; round < ROUNDS; round++) {
        const struct vk_pipeline *one = NULL, *other = NULL;
        if (acquire(1 + round % DISTINCT, &one) != VKRING_OK || acquire(1 + (round + 1) % DISTINCT, &other) != VKRING_OK || one == other)
            atomic_fetch_add((atomic_int *)failed, 1);
        pipeline_pool_release(device, &one);
        if (round % 16 == 0)
            pipeline_pool_trim(device);
        pipeline_pool_release(device, &other);
    }
    return NULL;
}

START_TEST(threads_share_them)
{
    pthread_t threads[THREADS];
    atomic_int failed = 0;
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_turns, &failed), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&failed), 0);
    ck_assert_int_le(atomic_load(&alive), DISTINCT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pipeline pool");
    TCase *tcase = tcase_create("pool");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, a_second_plan_compiles_nothing);
    tcase_add_test(tcase, those_used_last_are_kept);
    tcase_add_test(tcase, threads_share_them);
    suite_add_tcase(suite, tcase);
    return device_suite_run(suite, NULL, 0);
}
