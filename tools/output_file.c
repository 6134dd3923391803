/* SPDX-License-Identifier: MIT */
#include "output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "now.h"

/* As many as Linux follows. */
#define LINKS_MAX 40

/* For reading: what is written there fails, as it would have. */
void output_files_spare_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", O_RDONLY);
}

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

/* Where a link leads, seen from its own folder. Null if path is no link. */
static char *link_target(const char *path)
{
    char *folder = NULL, *name = NULL, *whole = NULL;
    char target[PATH_MAX];
    const ssize_t length = readlink(path, target, sizeof(target) - 1);
    if (length < 0)
        return NULL;
    target[length] = '\0';
    if (*target == '/')
        return strdup(target);
    if (split(path, &folder, &name) && asprintf(&whole, "%s/%s", folder, target) < 0)
        whole = NULL;
    free(folder);
    free(name);
    return whole;
}

/* What a name leads to, which need not be there. Null without memory, or where links lead nowhere at all. */
static char *follow_links(const char *path)
{
    char *at = strdup(path), *next;
    for (int links = 0; at && (next = link_target(at)); links++) {
        free(at);
        at = next;
        if (links == LINKS_MAX) {
            free(at);
            errno = ELOOP;
            return NULL;
        }
    }
    return at;
}

/* The same text for all names of one place, also where there is no file yet. Null where there is no such folder. */
static char *canonical(const char *path)
{
    char *folder = NULL, *name = NULL, *real_folder = NULL, *followed, *whole = realpath(path, NULL);
    if (whole)
        return whole;
    followed = follow_links(path);
    if (followed && split(followed, &folder, &name))
        real_folder = realpath(folder, NULL);
    if (real_folder && asprintf(&whole, "%s/%s", real_folder, name) < 0)
        whole = NULL;
    free(followed);
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

bool output_files_apart(const char *const *paths, int inputs, int count, struct failure *failure)
{
    for (int i = inputs; i < count; i++) {
        for (int j = 0; paths[i] && j < i; j++) {
            if (paths[j] && same_place(paths[i], paths[j]))
                return fail_usage(failure, "%s would be written over %s", paths[i], j < inputs ? "an input" : "another output");
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

static bool is_open_as(int fd, const struct stat *file)
{
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_dev == file->st_dev && status.st_ino == file->st_ino;
}

static bool check_target(const char *path, struct failure *failure)
{
    static const char *const uses[] = {"input comes from there", "output goes there", "error goes there"};
    struct stat status;
    const size_t length = strlen(path);
    if (stat(path, &status) != 0) {
        if (errno != ENOENT || length == 0)
            return fail_file(failure, "write", path);
        errno = EISDIR;
        return path[length - 1] != '/' || fail_file(failure, "write", path);
    }
    if (S_ISDIR(status.st_mode)) {
        errno = EISDIR;
        return fail_file(failure, "write", path);
    }
    if (!S_ISREG(status.st_mode))
        return fail_run(failure, "cannot write %s: not a regular file", path);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (is_open_as(fd, &status))
            return fail_run(failure, "cannot replace %s: standard %s", path, uses[fd]);
    return true;
}

/* A link stays, and what it leads to is replaced, or made. */
bool output_file_place(struct output_file *file, const char *path, struct failure *failure)
{
    if (!path)
        return true;
    if (!check_target(path, failure))
        return false;
    file->name = path;
    file->path = realpath(path, NULL);
    if (!file->path)
        file->path = follow_links(path);
    return file->path ? check_folder(file, failure) : fail_file(failure, "write", path);
}

uint64_t output_file_token(void)
{
    uint64_t token;
    if (getrandom(&token, sizeof(token), 0) != (ssize_t)sizeof(token))
        token = (uint64_t)(now_seconds() * 1e9) ^ (uint64_t)getpid() << 40;
    return token;
}

static bool name_temporary(struct output_file *file, uint64_t token, int number, struct failure *failure)
{
    char *folder, *name;
    bool good =
        split(file->path, &folder, &name) && asprintf(&file->temporary, "%s/.vkring-%016" PRIx64 "-%d.tmp", folder, token, number) >= 0;
    free(folder);
    free(name);
    if (good)
        return true;
    file->temporary = NULL;
    return fail_memory(failure);
}

bool output_file_name(struct output_file *file, uint64_t token, int number, struct failure *failure)
{
    if (!name_temporary(file, token, number, failure))
        return false;
    return cleanup_add(file->temporary) ? true : fail_run(failure, "cannot write %s: its name is too long", file->name);
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

bool output_file_create(struct output_file *file, bool tensor, struct failure *failure)
{
    file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file->fd < 0)
        return fail_file(failure, "write", file->name);
    return tensor ? write_start(file, failure) : true;
}

bool output_file_join(struct output_file *file, bool tensor, struct failure *failure)
{
    char unused[NPY_WRITTEN_MAX];
    if (tensor)
        npy_write(&file->header, unused); /* sets data_offset */
    file->fd = open(file->temporary, O_RDWR | O_CLOEXEC);
    return file->fd >= 0 ? true : fail_file(failure, "open what rank 0 made for", file->name);
}

bool output_file_flush(const struct output_file *file, struct failure *failure)
{
    return file->fd < 0 || fsync(file->fd) == 0 ? true : fail_file(failure, "write", file->name);
}

/* A file that was there leaves its permissions, where it may. */
bool output_file_rename(const struct output_file *file, struct failure *failure)
{
    struct stat before;
    if (stat(file->path, &before) == 0)
        (void)!chmod(file->temporary, before.st_mode & 0777);
    return rename(file->temporary, file->path) == 0 ? true : fail_file(failure, "write", file->name);
}

/* Makes the new name last through a loss of power, where the system can. */
void output_file_flush_folder(const struct output_file *file)
{
    char *folder, *name;
    if (split(file->path, &folder, &name)) {
        int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
            fsync(fd);
            close(fd);
        }
    }
    free(folder);
    free(name);
}

void output_file_release(struct output_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    free(file->temporary);
    *file = (struct output_file){.fd = -1};
}
