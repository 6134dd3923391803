/* SPDX-License-Identifier: MIT */
/** A rank's part of a tensor on its way between file and device, in pieces: what the host holds of it does not grow with the tensor. */
#ifndef VKRING_TOOLS_TENSOR_IO_H
#define VKRING_TOOLS_TENSOR_IO_H

#include "file_kinds.h"
#include "npy.h"
#include "progress.h"
#include "strip.h"

struct tensor_io {
    struct strip strip;
    struct strip_file file;
    uint64_t buffer_offset_bytes; /**< where in the buffer the part begins; for tensor_load */
    enum element_type file_type;
    enum element_type device_type;
    bool to_output;                  /**< its values come back in the output: the file's type must hold them after the device's */
    bool may_mask;                   /**< -infinity is a value */
    const struct npy_header *header; /**< of the whole tensor, for what is said of an element; only for tensor_check */
};

/** Memory for one piece at each stage. */
struct tensor_piece {
    void *in_file;
    void *on_device;
    float *between;
};

/** Makes freeing right after a failure too. */
bool tensor_piece_create(struct tensor_piece *piece, struct failure *failure);
void tensor_piece_free(struct tensor_piece *piece);

/** Reads the part and fails, with EXIT_STATUS_USAGE, on the first element that is NaN, infinite or too large for the device's type; ids
 * have no such values. */
bool tensor_check(const struct tensor_io *io, struct tensor_piece *piece, struct progress *progress, struct failure *failure);

/** Rounds to the device's type. The buffer is packed. rank: this one, for what the library says of a failure. */
bool tensor_load(const struct tensor_io *io, struct tensor_piece *piece, vkring_buffer *buffer, uint32_t rank, struct progress *progress,
                 struct failure *failure);
bool tensor_store(const struct tensor_io *io, struct tensor_piece *piece, vkring_buffer *buffer, uint32_t rank, struct progress *progress,
                  struct failure *failure);

#endif
