/* SPDX-License-Identifier: MIT */
#include "text_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool grow(struct text *text, uint64_t capacity)
{
    unsigned char *bytes = capacity <= SIZE_MAX / 2 ? realloc(text->bytes, (size_t)capacity) : NULL;
    if (bytes)
        text->bytes = bytes;
    return bytes;
}

/* Pipes have no length to ask for. */
static bool read_all(struct text *text, FILE *file, uint64_t most_bytes)
{
    uint64_t capacity = 1 << 16;
    while (text->length < most_bytes) {
        if (!grow(text, capacity))
            return false;
        const uint64_t wanted = (capacity < most_bytes ? capacity : most_bytes) - text->length;
        const uint64_t got = fread(text->bytes + text->length, 1, (size_t)wanted, file);
        text->length += got;
        if (got < wanted)
            return !ferror(file);
        capacity *= 2;
    }
    return true;
}

static void read_file(struct text *text, const char *path, uint64_t most_bytes, struct group *group)
{
    FILE *file = fopen(path, "rb");
    if (!file || !read_all(text, file, most_bytes))
        group_fail(group, "cannot read %s: %s", path, strerror(errno));
    else if (text->length == 0)
        group_fail(group, "%s: no bytes to predict", path);
    if (file)
        fclose(file);
}

/* FNV-1a, of which a double holds the upper half exactly. */
static double fingerprint(const struct text *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint64_t i = 0; i < text->length; i++)
        hash = (hash ^ text->bytes[i]) * 0x100000001b3u;
    return (double)(hash >> 32);
}

bool text_read(struct text *text, const char *path, uint64_t most_bytes, struct group *group)
{
    read_file(text, path, most_bytes, group);
    if (!group_agree(group))
        return false;
    const double own = fingerprint(text);
    if (group_most(group, own) != -group_most(group, -own))
        group_fail(group, "%s is not the same on every rank", path);
    return group_agree(group);
}

void text_free(struct text *text)
{
    free(text->bytes);
    *text = (struct text){0};
}
