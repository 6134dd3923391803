/* SPDX-License-Identifier: MIT */
#include "outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

void outputs_init(struct outputs *outputs)
{
    *outputs = (struct outputs){0};
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++)
        outputs->files[kind].fd = -1;
}

/* Places ---------------------------------------------------------------------------------------------------------------- */

/* Splits at the last slash; both parts are the caller's to free. */
static bool split(const char *path, char **out_folder, char **out_name)
{
    char *for_folder = strdup(path), *for_name = strdup(path);
    *out_folder = for_folder ? strdup(dirname(for_folder)) : NULL;
    *out_name = for_name ? strdup(basename(for_name)) : NULL;
    free(for_folder);
    free(for_name);
    return *out_folder && *out_name;
}

/* The same text for all names of one place, also where there is no file yet. Null where there is no such folder. */
static char *canonical(const char *path)
{
    char *folder = NULL, *name = NULL, *real_folder = NULL, *whole = realpath(path, NULL);
    if (whole)
        return whole;
    if (split(path, &folder, &name))
        real_folder = realpath(folder, NULL);
    if (real_folder && asprintf(&whole, "%s/%s", real_folder, name) < 0)
        whole = NULL;
    free(folder);
    free(name);
    free(real_folder);
    return whole;
}

static bool same_place(const char *a, const char *b)
{
    char *canonical_a = canonical(a), *canonical_b = canonical(b);
    bool same = strcmp(canonical_a ? canonical_a : a, canonical_b ? canonical_b : b) == 0;
    free(canonical_a);
    free(canonical_b);
    return same;
}

static bool check_places(const struct attend_options *options, struct failure *failure)
{
    const char *const *paths = options->files;
    for (int i = FILE_READ_KINDS; i < FILE_KINDS; i++) {
        for (int j = 0; paths[i] && j < i; j++) {
            if (paths[j] && same_place(paths[i], paths[j]))
                return fail_usage(failure, "%s would be written over %s", paths[i], j < FILE_READ_KINDS ? "an input" : "another output");
        }
    }
    return true;
}

/* The folder is where the temporary file will be. */
static bool check_folder(const struct output_file *file, struct failure *failure)
{
    char *folder, *name;
    bool split_up = split(file->path, &folder, &name);
    bool good = split_up && access(folder, W_OK | X_OK) == 0;
    if (!split_up)
        fail_memory(failure);
    else if (!good)
        fail_file(failure, "write", file->name);
    free(folder);
    free(name);
    return good;
}

static bool check_target(const char *path, struct failure *failure)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return true;
    if (S_ISDIR(status.st_mode)) {
        errno = EISDIR;
        return fail_file(failure, "write", path);
    }
    if (!S_ISREG(status.st_mode))
        return fail_run(failure, "cannot write %s: not a regular file", path);
    return true;
}

/* A link stays, and what it leads to is replaced. */
static bool place(struct output_file *file, const char *path, struct failure *failure)
{
    if (!path)
        return true;
    if (!check_target(path, failure))
        return false;
    file->name = path;
    file->path = realpath(path, NULL);
    if (!file->path)
        file->path = strdup(path);
    return file->path ? check_folder(file, failure) : fail_memory(failure);
}

/* Of the inputs' type, but for what is f32 whatever they are; a gradient is as its input. */
static struct npy_header header_of(enum file_kind kind, const struct inputs *inputs)
{
    const struct file_spec *spec = file_spec(kind);
    const enum file_kind source = file_gradient_of(kind);
    struct npy_header header = {.type = inputs->files[FILE_QUERY].header.type, .dims = spec->dims};
    if (source != FILE_KINDS)
        return inputs->files[source].header;
    if (spec->type == FILE_TYPE_F32)
        header.type = ELEMENT_F32;
    for (uint32_t axis = 0; axis < spec->dims; axis++) {
        uint32_t source_axis;
        const struct input *input = &inputs->files[dimension_source(spec->shape[axis], &source_axis)];
        header.shape[axis] = input->header.shape[source_axis];
    }
    return header;
}

bool outputs_plan(struct outputs *outputs, const struct attend_options *options, const struct inputs *inputs, struct failure *failure)
{
    bool good = check_places(options, failure);
    for (enum file_kind kind = FILE_READ_KINDS; good && kind < FILE_KINDS; kind++) {
        struct output_file *file = &outputs->files[kind - FILE_READ_KINDS];
        file->header = header_of(kind, inputs);
        good = place(file, options->files[kind], failure);
    }
    return good;
}

/* Temporary files ------------------------------------------------------------------------------------------------------- */

static bool name_temporary(struct output_file *file, uint64_t token, int kind, struct failure *failure)
{
    char *folder, *name;
    bool good =
        split(file->path, &folder, &name) && asprintf(&file->temporary, "%s/.vkring-%016" PRIx64 "-%d.tmp", folder, token, kind) >= 0;
    free(folder);
    free(name);
    if (good)
        return true;
    file->temporary = NULL;
    return fail_memory(failure);
}

/* Room for all of it now is better than none after hours. */
static bool reserve(const struct output_file *file, uint64_t bytes, struct failure *failure)
{
    if (bytes > 0 && fallocate(file->fd, 0, 0, (off_t)bytes) == 0)
        return true;
    if (bytes > 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        return fail_file(failure, "write", file->name);
    return ftruncate(file->fd, (off_t)bytes) == 0 ? true : fail_file(failure, "write", file->name);
}

static bool write_start(struct output_file *file, struct failure *failure)
{
    char start[NPY_WRITTEN_MAX];
    uint64_t bytes;
    npy_write(&file->header, start);
    if (!npy_data_bytes(&file->header, &bytes) || bytes > INT64_MAX - file->header.data_offset)
        return fail_usage(failure, "%s would have more bytes than a file can have", file->name);
    if (!reserve(file, file->header.data_offset + bytes, failure))
        return false;
    if (pwrite(file->fd, start, file->header.data_offset, 0) != (ssize_t)file->header.data_offset)
        return fail_file(failure, "write", file->name);
    return true;
}

static bool is_tensor(int written_kind)
{
    return file_spec(FILE_READ_KINDS + (enum file_kind)written_kind)->dims > 0;
}

static bool create(struct output_file *file, bool tensor, struct failure *failure)
{
    file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file->fd < 0)
        return fail_file(failure, "write", file->name);
    return tensor ? write_start(file, failure) : true;
}

static bool join(struct output_file *file, bool tensor, struct failure *failure)
{
    char unused[NPY_WRITTEN_MAX];
    if (tensor)
        npy_write(&file->header, unused); /* sets data_offset */
    file->fd = open(file->temporary, O_RDWR | O_CLOEXEC);
    return file->fd >= 0 ? true : fail_file(failure, "open what rank 0 made for", file->name);
}

bool outputs_name(struct outputs *outputs, uint64_t token, struct failure *failure)
{
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++) {
        struct output_file *file = &outputs->files[kind];
        if (file->path && !name_temporary(file, token, kind, failure))
            return false;
        if (file->path && !cleanup_add(file->temporary))
            return fail_run(failure, "cannot write %s: its name is too long", file->name);
    }
    return true;
}

bool outputs_create(struct outputs *outputs, struct failure *failure)
{
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++) {
        struct output_file *file = &outputs->files[kind];
        if (file->path && !create(file, is_tensor(kind), failure))
            return false;
    }
    return true;
}

bool outputs_join(struct outputs *outputs, struct failure *failure)
{
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++) {
        struct output_file *file = &outputs->files[kind];
        if (file->path && kind != FILE_REPORT - FILE_READ_KINDS && !join(file, is_tensor(kind), failure))
            return false;
    }
    return true;
}

/* The end ---------------------------------------------------------------------------------------------------------------- */

bool outputs_flush(const struct outputs *outputs, struct failure *failure)
{
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++) {
        const struct output_file *file = &outputs->files[kind];
        if (file->fd >= 0 && fsync(file->fd) != 0)
            return fail_file(failure, "write", file->name);
    }
    return true;
}

/* Makes the new name last through a loss of power, where the system can. */
static void flush_folder(const char *path)
{
    char *folder, *name;
    if (split(path, &folder, &name)) {
        int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
            fsync(fd);
            close(fd);
        }
    }
    free(folder);
    free(name);
}

bool outputs_commit(const struct outputs *outputs, struct failure *failure)
{
    bool good = true;
    cleanup_hold_signals();
    for (int kind = 0; good && kind < FILE_WRITTEN_KINDS; kind++) {
        const struct output_file *file = &outputs->files[kind];
        if (file->path && rename(file->temporary, file->path) != 0)
            good = fail_file(failure, "write", file->name);
    }
    cleanup_release_signals();
    if (good)
        flush_folder(outputs_file(outputs, FILE_OUTPUT)->path);
    return good;
}

static void release(struct output_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    free(file->temporary);
    *file = (struct output_file){.fd = -1};
}

void outputs_free(struct outputs *outputs)
{
    for (int kind = 0; kind < FILE_WRITTEN_KINDS; kind++)
        release(&outputs->files[kind]);
}
