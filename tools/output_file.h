/* SPDX-License-Identifier: MIT */
/** A file that is written under a temporary name in its own folder, and gets its own name when it is whole. */
#ifndef VKRING_TOOLS_OUTPUT_FILE_H
#define VKRING_TOOLS_OUTPUT_FILE_H

#include "npy.h"

struct output_file {
    const char *name; /**< as the option has it, for messages; borrowed from there */
    char *path;       /**< where it goes; a symbolic link is followed. Null: not wanted */
    char *temporary;
    int fd;
    struct npy_header header; /**< of tensors; of attend also of an lse that is not wanted */
};

/** The first call: files get none of the numbers of standard streams that are closed, so that nothing said there goes into a file. */
void output_files_spare_standard(void);
/** Of count paths, null where there is none, the first so many are inputs: EXIT_STATUS_USAGE if an output is one of these, or another. */
bool output_files_apart(const char *const *paths, int inputs, int count, struct failure *failure);

/** Finds the place; path null: not wanted. Touches no file. */
bool output_file_place(struct output_file *file, const char *path, struct failure *failure);
/** A number that hardly another process has, for names of temporary files. */
uint64_t output_file_token(void);
/** Names the temporary file and puts it on the clean-up list. Token and number make the name unique. */
bool output_file_name(struct output_file *file, uint64_t token, int number, struct failure *failure);
/** Makes it; a tensor at full length, its header written. */
bool output_file_create(struct output_file *file, bool tensor, struct failure *failure);
/** Opens what another process made. */
bool output_file_join(struct output_file *file, bool tensor, struct failure *failure);
/** What was written is on the disk. */
bool output_file_flush(const struct output_file *file, struct failure *failure);
bool output_file_rename(const struct output_file *file, struct failure *failure);
/** Makes the new name last through a loss of power, where the system can. */
void output_file_flush_folder(const struct output_file *file);
/** Closes; removes nothing. Accepts one that is not wanted, with fd -1. */
void output_file_release(struct output_file *file);

#endif
