/* SPDX-License-Identifier: MIT */
/* Compiled pipelines kept in a file: a file that is damaged is not believed, and one that cannot be written is only a warning. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <attention/spirv.h>
#include <vk/pipeline.h>

#include "../harness/opened_device.h"

static int warnings;

static void count_warnings(void *user, enum vkring_log_level level, const char *message)
{
    struct vkring_device_params params = test_device_params();
    (void)user;
    if (level == VKRING_LOG_WARNING)
        warnings++;
    else
        params.log(params.log_user, level, message);
}

static void use_cache(const char *folder)
{
    const struct spirv_module module = spirv_segment_bounds();
    const uint32_t width = 8;
    const struct vk_pipeline_params small = {
        .code = module.code, .code_bytes = module.bytes, .push_bytes = 64, .constants = &width, .constant_count = 1};
    struct vkring_device_params params = test_device_params();
    vkring_device *device = NULL;
    struct vk_pipeline pipeline;
    params.cache_folder = folder;
    params.log = count_warnings;
    ck_assert_int_eq(vk_device_open(&params, NULL, &device), VKRING_OK);
    ck_assert_int_eq(vk_pipeline_create(device, &small, &pipeline), VKRING_OK);
    vk_pipeline_destroy(device, &pipeline);
    vkring_device_destroy(&device);
}

static void only_file(const char *folder, char *out_path, size_t size)
{
    char pattern[300];
    glob_t found;
    snprintf(pattern, sizeof(pattern), "%s/*", folder);
    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    ck_assert_uint_eq(found.gl_pathc, 1); /* no temporary file stays */
    snprintf(out_path, size, "%s", found.gl_pathv[0]);
    globfree(&found);
}

static unsigned char *read_whole(const char *path, size_t *out_bytes)
{
    struct stat about;
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fstat(fileno(file), &about), 0);
    unsigned char *bytes = malloc((size_t)about.st_size + 1);
    ck_assert_ptr_nonnull(bytes);
    *out_bytes = fread(bytes, 1, (size_t)about.st_size, file);
    fclose(file);
    return bytes;
}

static void write_whole(const char *path, const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

START_TEST(a_damaged_cache_is_an_empty_one)
{
    char folder[] = "/tmp/vkring-cache-XXXXXX", deep[64], path[400];
    size_t bytes, now;
    struct stat about;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(deep, sizeof(deep), "%s/a/b", folder);
    warnings = 0;
    use_cache(deep);
    only_file(deep, path, sizeof(path));
    ck_assert_int_eq(stat(deep, &about), 0);
    ck_assert_uint_eq(about.st_mode & 0777, 0700);
    unsigned char *good = read_whole(path, &bytes);
    ck_assert_uint_gt(bytes, 32);

    const size_t lengths[] = {0, 1, 15, 16, 40, bytes / 2, bytes - 1};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        write_whole(path, good, lengths[i]);
        use_cache(deep);
        free(read_whole(path, &now));
        ck_assert_uint_gt(now, 32);
    }
    for (size_t at = 0; at < bytes; at += at < 64 ? 1 : bytes / 8) {
        const unsigned char flipped = good[at];
        good[at] = (unsigned char)~flipped;
        write_whole(path, good, bytes);
        good[at] = flipped;
        use_cache(deep);
    }
    write_whole(path, good, bytes);
    ck_assert_int_eq(stat(path, &about), 0);
    use_cache(deep);
    only_file(deep, path, sizeof(path));
    ck_assert_int_eq(warnings, 0);
    free(good);
    unlink(path);
    rmdir(deep);
    *strrchr(deep, '/') = '\0';
    rmdir(deep);
    rmdir(folder);
}
END_TEST

START_TEST(a_cache_that_cannot_be_written_is_a_warning)
{
    char file[] = "/tmp/vkring-cache-XXXXXX", folder[64];
    int descriptor = mkstemp(file);
    ck_assert_int_ge(descriptor, 0);
    close(descriptor);
    snprintf(folder, sizeof(folder), "%s/below-a-file", file);
    warnings = 0;
    use_cache(folder);
    ck_assert_int_eq(warnings, 1);
    warnings = 0;
    use_cache("");
    ck_assert_int_eq(warnings, 0);
    unlink(file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pipeline cache");
    vkring_device *device = test_device_open(NULL); /* or skips */
    vkring_device_destroy(&device);
    suite_add(suite, "damaged", a_damaged_cache_is_an_empty_one);
    suite_add(suite, "unwritable", a_cache_that_cannot_be_written_is_a_warning);
    return device_suite_run(suite, NULL, 0);
}
