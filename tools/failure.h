/* SPDX-License-Identifier: MIT */
/** Why a command fails. The function that decides on a failure describes it; its callers pass on that there was one. */
#ifndef VKRING_TOOLS_FAILURE_H
#define VKRING_TOOLS_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

#include <vkring/vkring.h>

enum exit_status {
    EXIT_STATUS_DONE = 0,
    EXIT_STATUS_FAILED = 1, /**< a device, a peer, or a file that is missing or cannot be opened or written */
    EXIT_STATUS_USAGE = 2,  /**< wrong usage or input, malformed files included */
};

struct failure {
    enum exit_status status; /**< EXIT_STATUS_DONE: nothing failed */
    bool of_peer;            /**< the cause lies with another rank, which this one only saw failing or silent */
    bool told;               /**< or with this one, as another says; of_peer too */
    char message[4800];      /**< one line, room for a path */
};

#define PRINTF_LIKE(at, first) __attribute__((format(printf, at, first)))

/** All of these describe the failure and return false, so that a function can return what they return. */
bool fail_usage(struct failure *failure, const char *format, ...) PRINTF_LIKE(2, 3);
bool fail_run(struct failure *failure, const char *format, ...) PRINTF_LIKE(2, 3);
/** "cannot <verb> <path>: <errno in words>" */
bool fail_file(struct failure *failure, const char *verb, const char *path);
bool fail_memory(struct failure *failure);
/** What the library's last error says. Rank is this process's; it decides whether the cause lies with another. */
bool fail_library(struct failure *failure, uint32_t rank);

/** Brings a terminal's cursor to the start of its line, and the line to nothing. */
#define ERASE_LINE "\r\033[K"

/**
 * Writes "vkring: <text>" and a newline to standard error, in one piece; characters that are no text become '?'.
 * over_bar: a progress bar may stand there and is erased first.
 */
void failure_print(const char *text, bool over_bar);

#endif
