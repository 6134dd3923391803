/* SPDX-License-Identifier: MIT */
/** The sizes of the model, and how ranks share it: some share the heads and hidden units of a layer, the others the sequence. */
#ifndef VKRING_EXAMPLES_BLOCK_SIZES_H
#define VKRING_EXAMPLES_BLOCK_SIZES_H

#include "group.h"

enum { MODEL = 64, HEADS = 4, HEAD_DIM = MODEL / HEADS, HIDDEN = 160, BYTES = 256 };

/** A mesh of ranks. Comms are null where there is one rank along an axis. */
struct mesh {
    struct group *group;
    vkring_device *device;
    uint32_t parts, part;  /**< heads and hidden units are cut into so many, and this rank has that one */
    vkring_comm *sequence; /**< ranks with the same part of the layer and other rows of the sequence */
    vkring_comm *heads;    /**< ranks with the same rows and other parts */
};

#endif
