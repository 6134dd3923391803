/* SPDX-License-Identifier: MIT */
#include "layout_text.h"

#include <string.h>

enum { LAYOUTS = VKRING_LAYOUT_AUTO + 1 };

static const char *const texts[LAYOUTS] = {
    [VKRING_LAYOUT_CONTIGUOUS] = "contiguous",
    [VKRING_LAYOUT_ZIGZAG] = "zigzag",
    [VKRING_LAYOUT_STRIPED] = "striped",
    [VKRING_LAYOUT_AUTO] = "auto",
};

const char *layout_text(enum vkring_layout layout)
{
    return texts[layout];
}

bool layout_find(const char *text, enum vkring_layout *out)
{
    for (int layout = 0; layout < LAYOUTS; layout++)
        if (strcmp(text, texts[layout]) == 0) {
            *out = (enum vkring_layout)layout;
            return true;
        }
    return false;
}
