/* SPDX-License-Identifier: MIT */
/** Whether the headers of the inputs make sense, alone and together. */
#ifndef VKRING_TOOLS_INPUT_SHAPES_H
#define VKRING_TOOLS_INPUT_SHAPES_H

#include "inputs.h"

/** The types that a file of that kind may have, whatever the others are: for npy_read. */
unsigned input_types(enum file_kind kind);
/** The number of its dimensions. */
bool input_check_dims(const struct input *input, enum file_kind kind, struct failure *failure);
/** All that are open. */
bool inputs_check_shapes(const struct inputs *inputs, struct failure *failure);

#endif
