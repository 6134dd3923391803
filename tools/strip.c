/* SPDX-License-Identifier: MIT */
#include "strip.h"

#include <errno.h>
#include <unistd.h>

struct strip strip_of_rows(uint64_t outer, uint64_t length, uint64_t first, uint64_t rows, uint64_t row_elements)
{
    /* without elements the sizes may be anything: not even a product of them is safe */
    if (outer == 0 || rows == 0)
        return (struct strip){0};
    return (struct strip){
        .lines = outer, .line_elements = rows * row_elements, .first = first * row_elements, .stride = length * row_elements};
}

uint64_t strip_elements(const struct strip *strip)
{
    return strip->lines * strip->line_elements;
}

uint64_t strip_place(const struct strip *strip, uint64_t index)
{
    return strip->first + index / strip->line_elements * strip->stride + index % strip->line_elements;
}

static bool read_at(const struct strip_file *file, uint64_t offset, char *to, uint64_t bytes, struct failure *failure)
{
    while (bytes > 0) {
        ssize_t got = pread(file->fd, to, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_file(failure, "read", file->path);
        if (got == 0)
            return fail_run(failure, "cannot read %s: it became shorter", file->path);
        to += got;
        offset += (uint64_t)got;
        bytes -= (uint64_t)got;
    }
    return true;
}

static bool write_at(const struct strip_file *file, uint64_t offset, const char *from, uint64_t bytes, struct failure *failure)
{
    while (bytes > 0) {
        ssize_t put = pwrite(file->fd, from, bytes, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return fail_file(failure, "write", file->path);
        from += put;
        offset += (uint64_t)put;
        bytes -= (uint64_t)put;
    }
    return true;
}

/* The packed elements from `first` on that follow each other in the file too, at most count. */
static uint64_t run_length(const struct strip *strip, uint64_t first, uint64_t count)
{
    uint64_t rest = strip->line_elements - first % strip->line_elements;
    return strip->line_elements == strip->stride || rest > count ? count : rest;
}

static uint64_t offset_of(const struct strip *strip, const struct strip_file *file, uint64_t index)
{
    return file->data_offset + strip_place(strip, index) * file->element_bytes;
}

bool strip_read(const struct strip *strip, const struct strip_file *file, uint64_t first, uint64_t count, void *to, struct failure *failure)
{
    char *next = to;
    while (count > 0) {
        uint64_t run = run_length(strip, first, count);
        if (!read_at(file, offset_of(strip, file, first), next, run * file->element_bytes, failure))
            return false;
        next += run * file->element_bytes;
        first += run;
        count -= run;
    }
    return true;
}

bool strip_write(const struct strip *strip, const struct strip_file *file, uint64_t first, uint64_t count, const void *from,
                 struct failure *failure)
{
    const char *next = from;
    while (count > 0) {
        uint64_t run = run_length(strip, first, count);
        if (!write_at(file, offset_of(strip, file, first), next, run * file->element_bytes, failure))
            return false;
        next += run * file->element_bytes;
        first += run;
        count -= run;
    }
    return true;
}
