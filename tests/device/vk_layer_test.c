/* SPDX-License-Identifier: MIT */
/* Devices and memory below attention: what goes up comes down, and what is taken is accounted for. */
#include <stdlib.h>
#include <string.h>

#include <vk/memory.h>
#include <vk/timeline.h>

#include "../harness/opened_device.h"

static const struct {
    const char *name;
    struct vk_limit_overrides overrides;
} variants[] = {
    {"as it is", {0}},
    {"no unified memory", {.no_unified_memory = true}},
    {"not coherent", {.not_coherent = true}},
    {"no unified memory, not coherent", {.no_unified_memory = true, .not_coherent = true}},
    {"no transfer queue", {.no_unified_memory = true, .no_transfer_queue = true}},
};

enum { VARIANTS = sizeof(variants) / sizeof(variants[0]) };

static const enum vk_memory_kind kinds[] = {VK_MEMORY_DEVICE, VK_MEMORY_HOST, VK_MEMORY_ARGUMENTS};

static unsigned char *make_bytes(uint64_t count, uint32_t seed)
{
    unsigned char *bytes = malloc(count + 1);
    ck_assert_ptr_nonnull(bytes);
    for (uint64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (unsigned char)(seed >> 24);
    }
    return bytes;
}

static struct vkring_memory_use use_of(const vkring_device *device)
{
    struct vkring_memory_use use;
    vkring_device_get_memory_use(device, &use);
    return use;
}

/* Devices ------------------------------------------------------------------------------------------------------------- */

START_TEST(the_list_is_in_order)
{
    static const int place_of_kind[] = {[VKRING_DEVICE_DISCRETE] = 0,
                                        [VKRING_DEVICE_INTEGRATED] = 1,
                                        [VKRING_DEVICE_VIRTUAL] = 2,
                                        [VKRING_DEVICE_OTHER] = 3,
                                        [VKRING_DEVICE_CPU] = 4};
    uint32_t count = 0, again = 0;
    ck_assert_int_eq(vkring_devices_list(NULL, 0, &count), VKRING_OK);
    ck_assert_uint_gt(count, 0);
    struct vkring_device_info *infos = calloc(count, sizeof(*infos));
    ck_assert_ptr_nonnull(infos);
    ck_assert_int_eq(vkring_devices_list(infos, count, &again), VKRING_OK);
    ck_assert_uint_eq(again, count);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(infos[i].supported, infos[i].reason[0] == '\0');
        ck_assert(infos[i].name[0] != '\0');
        if (i > 0 && infos[i].supported == infos[i - 1].supported)
            ck_assert_int_ge(place_of_kind[infos[i].kind], place_of_kind[infos[i - 1].kind]);
        else if (i > 0)
            ck_assert(infos[i - 1].supported);
    }
    free(infos);
}
END_TEST

START_TEST(a_device_past_the_last_is_refused)
{
    struct vkring_device_params params = test_device_params();
    vkring_device *device = NULL;
    params.index = 1000;
    ck_assert_int_eq(vk_device_open(&params, NULL, &device), VKRING_ERROR_NO_DEVICE);
    ck_assert_ptr_null(device);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "1000"));
}
END_TEST

START_TEST(validation_without_a_log_is_refused)
{
    const struct vkring_device_params params = {.validation = true};
    vkring_device *device = NULL;
    ck_assert_int_eq(vk_device_open(&params, NULL, &device), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(device);
}
END_TEST

START_TEST(two_devices_live_side_by_side)
{
    vkring_device *devices[2] = {test_device_open(NULL), test_device_open(&variants[1].overrides)};
    vkring_buffer *buffers[2];
    unsigned char *bytes = make_bytes(1000, 7), back[1000];
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(vkring_buffer_create(devices[i], 1000, &buffers[i]), VKRING_OK);
        ck_assert_int_eq(vkring_buffer_upload(buffers[i], 0, bytes, 1000), VKRING_OK);
    }
    vkring_buffer_destroy(&buffers[0]);
    vkring_device_destroy(&devices[0]);
    ck_assert_int_eq(vkring_buffer_download(buffers[1], 0, back, 1000), VKRING_OK);
    ck_assert_mem_eq(back, bytes, 1000);
    vkring_buffer_destroy(&buffers[1]);
    vkring_device_destroy(&devices[1]);
    free(bytes);
}
END_TEST

START_TEST(destroy_accepts_nothing)
{
    vkring_device *device = NULL;
    vkring_buffer *buffer = NULL;
    vkring_device_destroy(&device);
    vkring_device_destroy(NULL);
    vkring_buffer_destroy(&buffer);
    vkring_buffer_destroy(NULL);
}
END_TEST

/* Memory -------------------------------------------------------------------------------------------------------------- */

/* 16 MiB is one piece of a copy that goes through pinned memory; this is two and a bit. */
#define LARGE_BYTES ((UINT64_C(33) << 20) + 5)

START_TEST(what_goes_up_comes_down)
{
    static const uint64_t sizes[] = {1, 3, 255, 4096, LARGE_BYTES};
    vkring_device *device = test_device_open(&variants[_i].overrides);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const uint64_t size = sizes[i], cut = size / 3;
        vkring_buffer *buffer = NULL;
        unsigned char *bytes = make_bytes(size, (uint32_t)i), *back = make_bytes(size, 99);
        ck_assert_int_eq(vkring_buffer_create(device, size, &buffer), VKRING_OK);
        ck_assert_uint_eq(vkring_buffer_size(buffer), size);
        ck_assert_uint_ne(buffer->address, 0);
        ck_assert_int_eq(buffer->mapped != NULL, device->limits.unified_memory);
        ck_assert_int_eq(vkring_buffer_upload(buffer, cut, bytes + cut, size - cut), VKRING_OK);
        ck_assert_int_eq(vkring_buffer_upload(buffer, 0, bytes, cut), VKRING_OK);
        ck_assert_int_eq(vkring_buffer_download(buffer, 0, back, size - cut), VKRING_OK);
        ck_assert_int_eq(vkring_buffer_download(buffer, size - cut, back + size - cut, cut), VKRING_OK);
        ck_assert_msg(memcmp(bytes, back, size) == 0, "%s: %llu bytes", variants[_i].name, (unsigned long long)size);
        vkring_buffer_destroy(&buffer);
        free(back);
        free(bytes);
    }
    ck_assert_uint_eq(use_of(device).device_bytes, 0);
    ck_assert_uint_eq(use_of(device).host_bytes, 0);
    vkring_device_destroy(&device);
}
END_TEST

START_TEST(what_is_taken_was_promised)
{
    vkring_device *device = test_device_open(&variants[_i].overrides);
    for (size_t k = 0; k < 3; k++)
        for (uint64_t size = 0; size < 100000; size = size * 7 + 1) {
            const struct vkring_memory_use before = use_of(device);
            uint64_t promised;
            bool host;
            vkring_buffer *buffer = NULL;
            ck_assert_int_eq(vk_buffer_measure(device, kinds[k], size, &promised, &host), VKRING_OK);
            ck_assert_int_eq(host, kinds[k] == VK_MEMORY_HOST && !device->limits.unified_memory);
            ck_assert_int_eq(vk_buffer_create(device, kinds[k], size, &buffer), VKRING_OK);
            ck_assert_uint_eq(use_of(device).device_bytes, before.device_bytes + (host ? 0 : promised));
            ck_assert_uint_eq(use_of(device).host_bytes, before.host_bytes + (host ? promised : 0));
            ck_assert_int_eq(buffer->address == 0, size == 0);
            if (size > 0 && kinds[k] != VK_MEMORY_DEVICE)
                ck_assert_ptr_nonnull(buffer->mapped);
            if (kinds[k] == VK_MEMORY_HOST && size > 0)
                ck_assert(!buffer->coherent || device->limits.host_coherent);
            vkring_buffer_destroy(&buffer);
            ck_assert_uint_eq(use_of(device).device_bytes, before.device_bytes);
            ck_assert_uint_eq(use_of(device).host_bytes, before.host_bytes);
        }
    ck_assert_uint_gt(use_of(device).device_peak_bytes, 0);
    vkring_device_reset_memory_peak(device);
    ck_assert_uint_eq(use_of(device).device_peak_bytes, 0);
    vkring_device_destroy(&device);
}
END_TEST

START_TEST(ranges_outside_are_refused)
{
    static const uint64_t ranges[][2] = {{0, 101}, {100, 1}, {101, 0}, {UINT64_MAX, 1}, {1, UINT64_MAX}, {50, 51}};
    vkring_device *device = test_device_open(NULL);
    vkring_buffer *buffer = NULL;
    char bytes[200] = {0};
    ck_assert_int_eq(vkring_buffer_create(device, 100, &buffer), VKRING_OK);
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        ck_assert_int_eq(vkring_buffer_upload(buffer, ranges[i][0], bytes, ranges[i][1]), VKRING_ERROR_INVALID_ARGUMENT);
        ck_assert_int_eq(vkring_buffer_download(buffer, ranges[i][0], bytes, ranges[i][1]), VKRING_ERROR_INVALID_ARGUMENT);
    }
    ck_assert_int_eq(vkring_buffer_upload(buffer, 100, bytes, 0), VKRING_OK);
    vkring_buffer_destroy(&buffer);
    vkring_device_destroy(&device);
}
END_TEST

START_TEST(too_much_is_refused)
{
    const struct vk_limit_overrides small = {.max_buffer_bytes = 1 << 20};
    vkring_device *device = test_device_open(&small);
    vkring_buffer *buffer = NULL;
    uint64_t bytes;
    bool host;
    ck_assert_int_eq(vkring_buffer_create(device, (1 << 20) + 1, &buffer), VKRING_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_ptr_null(buffer);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "1048577"));
    ck_assert_int_eq(vk_buffer_measure(device, VK_MEMORY_HOST, (1 << 20) + 1, &bytes, &host), VKRING_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_int_eq(vkring_buffer_create(device, 1 << 20, &buffer), VKRING_OK);
    vkring_buffer_destroy(&buffer);
    vkring_device_destroy(&device);

    device = test_device_open(NULL);
    ck_assert_int_eq(vkring_buffer_create(device, UINT64_MAX, &buffer), VKRING_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_int_eq(vkring_buffer_create(device, device->limits.max_buffer_bytes + 1, &buffer), VKRING_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_uint_eq(use_of(device).device_bytes, 0);
    vkring_device_destroy(&device);
}
END_TEST

/* Three heaps, of which the first ones are full: put in front of the device's one. */
static PFN_vkAllocateMemory real_allocate;
static VkResult full_result;
static uint32_t full_types, tries;

static void VKAPI_PTR three_types(VkPhysicalDevice physical, VkPhysicalDeviceMemoryProperties *out_memory)
{
    const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    (void)physical;
    *out_memory = (VkPhysicalDeviceMemoryProperties){.memoryTypeCount = 4, .memoryHeapCount = 3};
    for (uint32_t heap = 0; heap < 3; heap++)
        out_memory->memoryHeaps[heap].size = UINT64_C(1) << 30;
    out_memory->memoryTypes[0] = (VkMemoryType){local | VK_MEMORY_PROPERTY_PROTECTED_BIT, 0};
    out_memory->memoryTypes[1] = (VkMemoryType){local | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, 1};
    out_memory->memoryTypes[2] = (VkMemoryType){local, 0};
    out_memory->memoryTypes[3] = (VkMemoryType){VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, 2};
}

static void VKAPI_PTR four_types_fit(VkDevice device, VkBuffer buffer, VkMemoryRequirements *out_requirements)
{
    (void)device;
    (void)buffer;
    *out_requirements = (VkMemoryRequirements){.size = 4096, .alignment = 1, .memoryTypeBits = 15};
}

static VkResult VKAPI_PTR allocate_if_not_full(VkDevice device, const VkMemoryAllocateInfo *info, const VkAllocationCallbacks *callbacks,
                                               VkDeviceMemory *out_memory)
{
    VkMemoryAllocateInfo real = *info;
    tries++;
    ck_assert_uint_ne(info->memoryTypeIndex, 0); /* protected */
    ck_assert_uint_ne(info->memoryTypeIndex, 3); /* not device-local */
    if (full_types >> info->memoryTypeIndex & 1)
        return full_result;
    real.memoryTypeIndex = 0;
    return real_allocate(device, &real, callbacks, out_memory);
}

START_TEST(a_full_heap_is_not_the_end)
{
    vkring_device *device = test_device_open(&variants[1].overrides);
    const PFN_vkGetBufferMemoryRequirements real_requirements = device->fn.vkGetBufferMemoryRequirements;
    vkring_buffer *buffer = NULL;
    real_allocate = device->fn.vkAllocateMemory;
    device->instance.get_memory_properties = three_types;
    device->fn.vkAllocateMemory = allocate_if_not_full;
    device->fn.vkGetBufferMemoryRequirements = four_types_fit;

    full_result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    full_types = 1 << 2; /* the best */
    tries = 0;
    ck_assert_int_eq(vkring_buffer_create(device, 4096, &buffer), VKRING_OK);
    ck_assert_uint_eq(tries, 2);
    vkring_buffer_destroy(&buffer);
    full_types |= 1 << 1;
    tries = 0;
    ck_assert_int_eq(vkring_buffer_create(device, 4096, &buffer), VKRING_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_uint_eq(tries, 2); /* each type once */
    full_result = VK_ERROR_OUT_OF_HOST_MEMORY;
    ck_assert_int_eq(vkring_buffer_create(device, 4096, &buffer), VKRING_ERROR_OUT_OF_HOST_MEMORY);
    full_result = VK_ERROR_DEVICE_LOST;
    ck_assert_int_eq(vkring_buffer_create(device, 4096, &buffer), VKRING_ERROR_DEVICE_LOST);
    ck_assert_ptr_null(buffer);
    ck_assert_uint_eq(use_of(device).device_bytes, 0);
    device->fn.vkAllocateMemory = real_allocate;
    device->fn.vkGetBufferMemoryRequirements = real_requirements;
    vkring_device_destroy(&device);
}
END_TEST

/* Timestamps ---------------------------------------------------------------------------------------------------------- */

START_TEST(time_passes_on_the_device)
{
    const struct vk_limit_overrides none = {.no_timestamps = true};
    for (int without = 0; without < 2; without++) {
        vkring_device *device = test_device_open(without ? &none : NULL);
        struct vk_command_pool pool = {0};
        struct vk_commands commands = {0};
        struct vk_queries queries = {0};
        struct vk_timeline timeline = {0};
        bool reached = false;
        double seconds = -1;
        ck_assert_int_eq(vk_command_pool_create(device, VK_QUEUE_COMPUTE, &pool), VKRING_OK);
        ck_assert_int_eq(vk_queries_create(device, 4, &queries), VKRING_OK);
        ck_assert_int_eq(vk_timeline_create(device, &timeline), VKRING_OK);
        ck_assert_int_eq(vk_commands_begin(device, &pool, &commands), VKRING_OK);
        vk_commands_reset_queries(device, &commands, &queries, 0, 2);
        vk_commands_timestamp(device, &commands, &queries, 0);
        vk_commands_timestamp(device, &commands, &queries, 1);
        ck_assert_int_eq(vk_commands_end(device, &commands), VKRING_OK);
        const struct vk_semaphore_value done = {timeline.handle, 1};
        ck_assert_int_eq(vk_timeline_wait(device, &timeline, 1, 0.01, &reached), VKRING_OK);
        ck_assert(!reached);
        ck_assert_int_eq(vk_submit(device, VK_QUEUE_COMPUTE, &commands, NULL, 0, &done, 1), VKRING_OK);
        ck_assert_int_eq(vk_timeline_wait(device, &timeline, 1, 60, &reached), VKRING_OK);
        ck_assert(reached);
        ck_assert_int_eq(vk_timeline_reached(device, &timeline, 1, &reached), VKRING_OK);
        ck_assert(reached);
        ck_assert_int_eq(vk_queries_elapsed(device, &queries, 0, 1, &seconds), VKRING_OK);
        ck_assert(seconds >= 0 && seconds < 60);
        ck_assert(!without || seconds == 0);
        vk_timeline_destroy(device, &timeline);
        vk_queries_destroy(device, &queries);
        vk_command_pool_destroy(device, &pool);
        vkring_device_destroy(&device);
    }
}
END_TEST

static VkResult VKAPI_PTR not_ready(VkDevice device, VkQueryPool pool, uint32_t first, uint32_t count, size_t size, void *data,
                                    VkDeviceSize stride, VkQueryResultFlags flags)
{
    (void)device, (void)pool, (void)first, (void)count, (void)size, (void)data, (void)stride, (void)flags;
    return VK_NOT_READY;
}

/* Of each tensor of backward, and the plan's own. */
START_TEST(a_submission_has_room_for_all_semaphores)
{
    enum { SEMAPHORES = 19 };
    vkring_device *device = test_device_open(NULL);
    struct vk_timeline timelines[SEMAPHORES];
    struct vk_semaphore_value first[SEMAPHORES], second[SEMAPHORES];
    bool reached = false;
    for (int i = 0; i < SEMAPHORES; i++) {
        ck_assert_int_eq(vk_timeline_create(device, &timelines[i]), VKRING_OK);
        first[i] = (struct vk_semaphore_value){timelines[i].handle, 1};
        second[i] = (struct vk_semaphore_value){timelines[i].handle, 2};
    }
    ck_assert_int_eq(vk_submit(device, VK_QUEUE_COMPUTE, NULL, NULL, 0, first, SEMAPHORES), VKRING_OK);
    ck_assert_int_eq(vk_submit(device, VK_QUEUE_COMPUTE, NULL, first, SEMAPHORES, second, SEMAPHORES), VKRING_OK);
    for (int i = 0; i < SEMAPHORES; i++) {
        ck_assert_int_eq(vk_timeline_wait(device, &timelines[i], 2, 60, &reached), VKRING_OK);
        ck_assert(reached);
        vk_timeline_destroy(device, &timelines[i]);
    }
    vkring_device_destroy(&device);
}
END_TEST

START_TEST(a_timestamp_that_was_not_written_is_an_error)
{
    vkring_device *device = test_device_open(NULL);
    struct vk_queries queries = {0};
    double seconds;
    ck_assert_int_eq(vk_queries_create(device, 2, &queries), VKRING_OK);
    if (queries.handle) {
        device->fn.vkGetQueryPoolResults = not_ready;
        ck_assert_int_eq(vk_queries_elapsed(device, &queries, 0, 1, &seconds), VKRING_ERROR_DEVICE);
    }
    vk_queries_destroy(device, &queries);
    vkring_device_destroy(&device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vk layer");
    TCase *memory = tcase_create("memory");
    vkring_device *device = test_device_open(NULL); /* or skips */
    vkring_device_destroy(&device);
    suite_add(suite, "list", the_list_is_in_order);
    suite_add(suite, "index", a_device_past_the_last_is_refused);
    suite_add(suite, "log", validation_without_a_log_is_refused);
    suite_add(suite, "two", two_devices_live_side_by_side);
    suite_add(suite, "null", destroy_accepts_nothing);
    tcase_add_loop_test(memory, what_goes_up_comes_down, 0, VARIANTS);
    tcase_add_loop_test(memory, what_is_taken_was_promised, 0, VARIANTS);
    tcase_add_test(memory, ranges_outside_are_refused);
    tcase_add_test(memory, too_much_is_refused);
    tcase_add_test(memory, a_full_heap_is_not_the_end);
    tcase_set_timeout(memory, 300);
    suite_add_tcase(suite, memory);
    suite_add(suite, "semaphores", a_submission_has_room_for_all_semaphores);
    suite_add(suite, "timestamps", time_passes_on_the_device);
    suite_add(suite, "unwritten", a_timestamp_that_was_not_written_is_an_error);
    return device_suite_run(suite, NULL, 0);
}
