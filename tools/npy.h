/* SPDX-License-Identifier: MIT */
/** The header of NumPy's .npy files, formats 1.0 to 3.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#ifndef VKRING_TOOLS_NPY_H
#define VKRING_TOOLS_NPY_H

#include "element.h"
#include "failure.h"

#define NPY_DIMS_MAX 32

/** A tensor of little-endian numbers in C order, which starts at data_offset of its file and fills the rest of it. */
struct npy_header {
    enum element_type type; /**< not bf16 */
    uint32_t dims;
    uint64_t shape[NPY_DIMS_MAX];
    uint64_t data_offset;
};

/** A file's header is short; NumPy itself refuses more than 10000 bytes. */
#define NPY_HEADER_MAX 65536

#define NPY_TYPE(type) (1u << (type))

/**
 * Reads the header of the open file at path, whose elements may be of the given set of types, and checks that the file is as long as it
 * says. Allocates nothing that grows with the shape. EXIT_STATUS_USAGE: not such a file. EXIT_STATUS_FAILED: it cannot be read.
 */
bool npy_read(int fd, const char *path, unsigned types, struct npy_header *out_header, struct failure *failure);

/** Bytes of the tensor; false if there are 2^63 or more. */
bool npy_data_bytes(const struct npy_header *header, uint64_t *out_bytes);

#define NPY_WRITTEN_MAX 512

/** Writes a header of format 1.0 to `to`, which has NPY_WRITTEN_MAX bytes, and sets data_offset to its length. At most 4 dimensions. */
void npy_write(struct npy_header *header, char *to);

#endif
