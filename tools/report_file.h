/* SPDX-License-Identifier: MIT */
/** A text that one process writes when its work is done, into a place that it has looked at before the work began. */
#ifndef VKRING_TOOLS_REPORT_FILE_H
#define VKRING_TOOLS_REPORT_FILE_H

#include <jansson.h>

#include "output_file.h"

/** Begins as {.file.fd = -1}. */
struct report_file {
    const char *name;        /**< as the option has it; borrowed. Null: not wanted */
    struct output_file file; /**< without a path where the name is of no file, as of a pipe, which is written as it is */
};

/** name null: not wanted. Touches no file. */
bool report_file_place(struct report_file *report, const char *name, struct failure *failure);
/** True at once where it is not wanted. The file gets its name when it is whole. */
bool report_file_write(struct report_file *report, const char *text, size_t bytes, struct failure *failure);
/** Takes the reference to root; null is out of memory, where the file is wanted. */
bool report_file_write_json(struct report_file *report, json_t *root, struct failure *failure);
void report_file_release(struct report_file *report);

#endif
