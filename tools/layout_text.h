/* SPDX-License-Identifier: MIT */
/** Layouts as options and reports spell them. */
#ifndef VKRING_TOOLS_LAYOUT_TEXT_H
#define VKRING_TOOLS_LAYOUT_TEXT_H

#include <vkring/vkring.h>

#define LAYOUT_TEXTS "contiguous, zigzag, striped or auto"

const char *layout_text(enum vkring_layout layout);
/** False, and nothing written, for what is none of LAYOUT_TEXTS. */
bool layout_find(const char *text, enum vkring_layout *out);

#endif
