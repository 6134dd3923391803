/* SPDX-License-Identifier: MIT */
#include "element.h"

static const struct {
    uint64_t bytes;
    const char *text;
    const char *npy_text;
} elements[ELEMENT_TYPES] = {
    [ELEMENT_F32] = {4, "f32", "<f4"},
    [ELEMENT_F16] = {2, "f16", "<f2"},
    [ELEMENT_BF16] = {2, "bf16", NULL},
    [ELEMENT_I32] = {4, "i32", "<i4"},
};

uint64_t element_bytes(enum element_type type)
{
    return elements[type].bytes;
}

const char *element_text(enum element_type type)
{
    return elements[type].text;
}

const char *element_npy_text(enum element_type type)
{
    return elements[type].npy_text;
}
