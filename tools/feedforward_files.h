/* SPDX-License-Identifier: MIT */
/** The files of vkring feedforward: which matrices they hold, and how these get to the device and back. */
#ifndef VKRING_TOOLS_FEEDFORWARD_FILES_H
#define VKRING_TOOLS_FEEDFORWARD_FILES_H

#include "feedforward_options.h"
#include "inputs.h"
#include "output_file.h"
#include "tensor_io.h"

struct feedforward_files {
    struct input inputs[FEEDFORWARD_READ];
    struct output_file outputs[FEEDFORWARD_FILES]; /**< from FEEDFORWARD_READ on */
    struct tensor_io tensors[FEEDFORWARD_FILES];   /**< without elements where there is no such matrix, or report */
    struct tensor_piece piece;
    enum element_type type; /**< on the device */
    uint64_t rows, model_dim, hidden_dim, output_dim;
};

/** Makes freeing right at any time. */
void feedforward_files_init(struct feedforward_files *files);
/** Opens the inputs and checks how they fit together; finds the places of outputs. */
bool feedforward_files_open(struct feedforward_files *files, const struct feedforward_options *options, struct failure *failure);
/** Makes the outputs, under temporary names. */
bool feedforward_files_create(struct feedforward_files *files, struct failure *failure);
/** Looks at all numbers that will be read. */
bool feedforward_files_check(struct feedforward_files *files, struct progress *progress, struct failure *failure);
/** Of a matrix on the device. */
uint64_t feedforward_files_bytes(const struct feedforward_files *files, enum feedforward_file file);
/** Reads inputs into buffers, null where there is nothing; and writes those of outputs. */
bool feedforward_files_load(struct feedforward_files *files, vkring_buffer *const *buffers, struct progress *progress,
                            struct failure *failure);
bool feedforward_files_store(struct feedforward_files *files, vkring_buffer *const *buffers, struct progress *progress,
                             struct failure *failure);
/** Gives all outputs their names. */
bool feedforward_files_commit(struct feedforward_files *files, struct failure *failure);
void feedforward_files_free(struct feedforward_files *files);

#endif
