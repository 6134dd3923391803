/* SPDX-License-Identifier: MIT */
#include "report_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool report_file_place(struct report_file *report, const char *name, struct failure *failure)
{
    struct stat status;
    report->name = name;
    if (name && stat(name, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
        return true;
    return output_file_place(&report->file, name, failure);
}

static bool write_to(FILE *file, const char *text, size_t bytes)
{
    const bool good = file && fwrite(text, 1, bytes, file) == bytes;
    return (!file || fclose(file) == 0) && good;
}

bool report_file_write(struct report_file *report, const char *text, size_t bytes, struct failure *failure)
{
    struct output_file *file = &report->file;
    if (!report->name)
        return true;
    if (!file->path)
        return write_to(fopen(report->name, "w"), text, bytes) || fail_file(failure, "write", report->name);
    if (!output_file_name(file, output_file_token(), 0, failure) || !output_file_create(file, false, failure))
        return false;
    const int fd = dup(file->fd);
    if (fd < 0 || !write_to(fdopen(fd, "w"), text, bytes))
        return fail_file(failure, "write", report->name);
    return output_file_flush(file, failure) && output_file_rename(file, failure);
}

bool report_file_write_json(struct report_file *report, json_t *root, struct failure *failure)
{
    char *text = root && report->name ? json_dumps(root, JSON_INDENT(2)) : NULL;
    const bool good = !report->name || (text ? report_file_write(report, text, strlen(text), failure) : fail_memory(failure));
    free(text);
    json_decref(root);
    return good;
}

void report_file_release(struct report_file *report)
{
    output_file_release(&report->file);
}
