/* SPDX-License-Identifier: MIT */
/** The command line of vkring decode. */
#ifndef VKRING_TOOLS_DECODE_OPTIONS_H
#define VKRING_TOOLS_DECODE_OPTIONS_H

#include <vkring/cache.h>

#include "attend_options.h"

struct decode_options {
    struct attend_options
        attend; /**< of it: files but those of segments, bias and gradients, type, window, scores, device, timeout, quiet */
    bool has_steps;
    uint64_t steps;        /**< at most, where they were not given */
    uint64_t step_rows;    /**< at least 1 */
    uint64_t prefill_rows; /**< at least 1 */
    enum vkring_cache_storage storage;
    enum vkring_cache_pass pass;
};

bool decode_options_parse(struct decode_options *options, int argc, char **argv, struct failure *failure);

extern const char decode_help[];

/** As the command line spells them. */
const char *decode_storage_text(enum vkring_cache_storage storage);
const char *decode_pass_text(enum vkring_cache_pass pass);

#endif
