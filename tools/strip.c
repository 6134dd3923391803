/* SPDX-License-Identifier: MIT */
#include "strip.h"

#include <errno.h>
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
    strip.blocks = blocks;
    strip.block_elements = length * row_elements;
    for (int i = 0; i < VKRING_SPANS; i++) {
        strip.runs[i].first = spans[i].first * row_elements;
        strip.runs[i].elements = spans[i].rows * row_elements;
    }
    return strip;
}

/* Those of one block. */
static uint64_t elements_of_block(const struct strip *strip)
{
    return strip->runs[0].elements + strip->runs[1].elements;
}

uint64_t strip_elements(const struct strip *strip)
{
    return strip->blocks * elements_of_block(strip);
}

/* The place of the packed element `index`, and how many from it on lie in its run. */
static uint64_t find(const struct strip *strip, uint64_t index, uint64_t *out_rest)
{
    const uint64_t start = index / elements_of_block(strip) * strip->block_elements;
    uint64_t within = index % elements_of_block(strip);
    const int run = within >= strip->runs[0].elements;
    if (run == 1)
        within -= strip->runs[0].elements;
    *out_rest = strip->runs[run].elements - within;
    return start + strip->runs[run].first + within;
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
    *out_run = strip->runs[0].elements == strip->block_elements || rest > count ? count : rest;
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
