/* SPDX-License-Identifier: MIT */
/** A block of rows on its way: a part of all rows, behind it the next part of all rows. */
#ifndef VKRING_CACHE_ROW_PARTS_H
#define VKRING_CACHE_ROW_PARTS_H

#include <string.h>

#include "../base/checked.h"

#define ROW_PARTS 3
/** Parts begin at multiples of it, and the block ends at one. */
#define ROW_PART_ALIGNMENT 64u
/** At most, of a block. */
#define ROW_PARTS_SLACK ((uint64_t)ROW_PARTS * ROW_PART_ALIGNMENT)

struct row_parts {
    uint64_t bytes[ROW_PARTS]; /* of a row; 0: there is no such part */
};

/** Where a part of a block of so many rows begins; that of ROW_PARTS is the end. */
static inline uint64_t row_parts_offset(const struct row_parts *parts, int part, uint64_t rows)
{
    uint64_t offset = 0;
    for (int i = 0; i < part; i++)
        offset += divide_up(rows * parts->bytes[i], ROW_PART_ALIGNMENT) * ROW_PART_ALIGNMENT;
    return offset;
}

static inline uint64_t row_parts_end(const struct row_parts *parts, uint64_t rows)
{
    return row_parts_offset(parts, ROW_PARTS, rows);
}

/** Of a row, all parts. */
static inline uint64_t row_parts_sum(const struct row_parts *parts)
{
    uint64_t sum = 0;
    for (int i = 0; i < ROW_PARTS; i++)
        sum += parts->bytes[i];
    return sum;
}

/** Copies a row of a block of so many: its parts one behind the other. */
static inline void row_parts_take(const struct row_parts *parts, const unsigned char *block, uint64_t rows, uint64_t row, unsigned char *to)
{
    for (int part = 0; part < ROW_PARTS; part++) {
        memcpy(to, block + row_parts_offset(parts, part, rows) + row * parts->bytes[part], (size_t)parts->bytes[part]);
        to += parts->bytes[part];
    }
}

/** And back. */
static inline void row_parts_put(const struct row_parts *parts, const unsigned char *from, unsigned char *block, uint64_t rows,
                                 uint64_t row)
{
    for (int part = 0; part < ROW_PARTS; part++) {
        memcpy(block + row_parts_offset(parts, part, rows) + row * parts->bytes[part], from, (size_t)parts->bytes[part]);
        from += parts->bytes[part];
    }
}

#endif
