/* SPDX-License-Identifier: MIT */
#include "strip.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct strip strip_of_rows(uint64_t blocks, uint64_t length, const struct vkring_span spans[VKRING_SPANS], uint64_t row_elements)
{
    struct strip strip = {0};
    uint64_t rows = 0;
    for (int i = 0; i < VKRING_SPANS; i++)
        rows += spans[i].rows;
    /* without elements the sizes may be anything: not even a product of them is safe */
    if (blocks == 0 || rows == 0)
        return strip;
    strip = (struct strip){.blocks = blocks, .block_elements = length * row_elements, .rows = rows, .row_elements = row_elements};
    memcpy(strip.spans, spans, sizeof(strip.spans));
    return strip;
}

uint64_t strip_elements(const struct strip *strip)
{
    return strip->blocks * strip->rows * strip->row_elements;
}

/* The place of the packed element `index`, and how many from it on lie after each other. */
static uint64_t find(const struct strip *strip, uint64_t index, uint64_t *out_rest)
{
    const uint64_t column = index % strip->row_elements, block = index / strip->row_elements / strip->rows;
    const struct vkring_span *span = strip->spans;
    uint64_t row = index / strip->row_elements % strip->rows;
    for (; row >= span->rows; span++)
        row -= span->rows;
    *out_rest = (span->stride == 1 ? span->rows - row : 1) * strip->row_elements - column;
    return block * strip->block_elements + (span->first + row * span->stride) * strip->row_elements + column;
}

uint64_t strip_place(const struct strip *strip, uint64_t index)
{
    uint64_t rest;
    return find(strip, index, &rest);
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

/* Where the packed element `first` is in the file, and how many from it on, at most count, follow each other there too. */
static uint64_t run_at(const struct strip *strip, const struct strip_file *file, uint64_t first, uint64_t count, uint64_t *out_run)
{
    uint64_t rest;
    const uint64_t place = find(strip, first, &rest);
    *out_run = strip->rows * strip->row_elements == strip->block_elements || rest > count ? count : rest;
    return file->data_offset + place * file->element_bytes;
}

bool strip_read(const struct strip *strip, const struct strip_file *file, uint64_t first, uint64_t count, void *to, struct failure *failure)
{
    char *next = to;
    while (count > 0) {
        uint64_t run;
        const uint64_t offset = run_at(strip, file, first, count, &run);
        if (!read_at(file, offset, next, run * file->element_bytes, failure))
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
        uint64_t run;
        const uint64_t offset = run_at(strip, file, first, count, &run);
        if (!write_at(file, offset, next, run * file->element_bytes, failure))
            return false;
        next += run * file->element_bytes;
        first += run;
        count -= run;
    }
    return true;
}
