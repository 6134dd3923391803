/* SPDX-License-Identifier: MIT */
/**
 * The files that vkring attend writes. Each is written under a temporary name in its own folder, by all ranks, and gets its own name
 * when all of them are whole. Until then the temporary is on the clean-up list.
 */
#ifndef VKRING_TOOLS_OUTPUTS_H
#define VKRING_TOOLS_OUTPUTS_H

#include "inputs.h"
#include "output_file.h"

struct outputs {
    struct output_file files[FILE_WRITTEN_KINDS]; /**< from FILE_READ_KINDS on */
};

static inline const struct output_file *outputs_file(const struct outputs *outputs, enum file_kind kind)
{
    return &outputs->files[kind - FILE_READ_KINDS];
}

/** Makes freeing right at any time. */
void outputs_init(struct outputs *outputs);

/** Finds the places. EXIT_STATUS_USAGE: one is an input, or two are the same. Touches no file. */
bool outputs_plan(struct outputs *outputs, const struct attend_options *options, const struct inputs *inputs, struct failure *failure);

/**
 * Names the temporary files and puts them on the clean-up list: on every rank, before there are any, so that whoever is left can remove
 * them. token makes the names unique and is the same on all ranks.
 */
bool outputs_name(struct outputs *outputs, uint64_t token, struct failure *failure);
/** On rank 0: makes them, at full length, headers written. */
bool outputs_create(struct outputs *outputs, struct failure *failure);
/** On the other ranks, after that: opens them, but for the report. */
bool outputs_join(struct outputs *outputs, struct failure *failure);

/** What this rank wrote is on the disk. */
bool outputs_flush(const struct outputs *outputs, struct failure *failure);
/** On rank 0, when all ranks have flushed: gives the files their names. */
bool outputs_commit(const struct outputs *outputs, struct failure *failure);

/** Closes; removes nothing. */
void outputs_free(struct outputs *outputs);

#endif
