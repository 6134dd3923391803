/* SPDX-License-Identifier: MIT */
/** What tensors in files and on devices are made of. */
#ifndef VKRING_TOOLS_ELEMENT_H
#define VKRING_TOOLS_ELEMENT_H

#include <vkring/vkring.h>

/** The library's types, by its numbers, and that of ids. */
enum element_type {
    ELEMENT_F32 = VKRING_TYPE_F32,
    ELEMENT_F16 = VKRING_TYPE_F16,
    ELEMENT_BF16 = VKRING_TYPE_BF16,
    ELEMENT_I32,
    ELEMENT_TYPES
};

uint64_t element_bytes(enum element_type type);
/** "f32" … */
const char *element_text(enum element_type type);
/** "<f4" …; null for bf16, which NumPy does not have. */
const char *element_npy_text(enum element_type type);

/** Not of ids. */
static inline enum vkring_type element_library_type(enum element_type type)
{
    return (enum vkring_type)type;
}

#endif
