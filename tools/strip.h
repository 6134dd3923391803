/* SPDX-License-Identifier: MIT */
/** The part of a tensor in a file that belongs to one rank. */
#ifndef VKRING_TOOLS_STRIP_H
#define VKRING_TOOLS_STRIP_H

#include <stdint.h>

#include <vkring/vkring.h>

#include "failure.h"

/** Rows of each block of the tensor. Packed, as on the device, they follow each other. */
struct strip {
    uint64_t blocks, block_elements; /**< all of the tensor */
    uint64_t rows, row_elements;     /**< of a block */
    struct vkring_span spans[VKRING_SPANS];
};

/** Those rows of each of `blocks` blocks of `length` rows of row_elements. */
struct strip strip_of_rows(uint64_t blocks, uint64_t length, const struct vkring_span spans[VKRING_SPANS], uint64_t row_elements);

uint64_t strip_elements(const struct strip *strip);

/** The place in the tensor of the packed element `index`. */
uint64_t strip_place(const struct strip *strip, uint64_t index);

/** An open file that holds the tensor from data_offset on. */
struct strip_file {
    int fd;
    const char *path;
    uint64_t data_offset;
    uint64_t element_bytes;
};

/** Reads or writes the packed elements first … first + count - 1. */
bool strip_read(const struct strip *strip, const struct strip_file *file, uint64_t first, uint64_t count, void *to,
                struct failure *failure);
bool strip_write(const struct strip *strip, const struct strip_file *file, uint64_t first, uint64_t count, const void *from,
                 struct failure *failure);

#endif
