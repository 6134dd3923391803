/* SPDX-License-Identifier: MIT */
/** The text, whole in memory on every rank: it is small beside the tensors that are made from it. */
#ifndef VKRING_EXAMPLES_TEXT_FILE_H
#define VKRING_EXAMPLES_TEXT_FILE_H

#include "group.h"

struct text {
    unsigned char *bytes;
    uint64_t length; /**< at least 1 */
};

/** At most so many bytes of the file. Collective. False: the group has said why, as where ranks read different texts. */
bool text_read(struct text *text, const char *path, uint64_t most_bytes, struct group *group);
void text_free(struct text *text);

#endif
