/* SPDX-License-Identifier: MIT */
#include "failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool describe(struct failure *failure, enum exit_status status, const char *format, va_list arguments)
{
    failure->status = status;
    failure->of_peer = false;
    failure->told = false;
    vsnprintf(failure->message, sizeof(failure->message), format, arguments);
    return false;
}

bool fail_usage(struct failure *failure, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    describe(failure, EXIT_STATUS_USAGE, format, arguments);
    va_end(arguments);
    return false;
}

bool fail_run(struct failure *failure, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    describe(failure, EXIT_STATUS_FAILED, format, arguments);
    va_end(arguments);
    return false;
}

bool fail_file(struct failure *failure, const char *verb, const char *path)
{
    return fail_run(failure, "cannot %s %s: %s", verb, path, strerror(errno));
}

bool fail_memory(struct failure *failure)
{
    return fail_run(failure, "out of host memory");
}

bool fail_library(struct failure *failure, uint32_t rank)
{
    const struct vkring_error *error = vkring_last_error();
    bool usage = error->status == VKRING_ERROR_INVALID_ARGUMENT || error->status == VKRING_ERROR_MISMATCH;
    failure->status = usage ? EXIT_STATUS_USAGE : EXIT_STATUS_FAILED;
    failure->of_peer = error->status == VKRING_ERROR_PEER || error->status == VKRING_ERROR_COMM ||
                       (error->status == VKRING_ERROR_TIMEOUT && error->rank != rank);
    failure->told = error->status == VKRING_ERROR_PEER && error->rank == rank;
    snprintf(failure->message, sizeof(failure->message), "%s", error->message);
    return false;
}

/* A path may hold anything but '/' and NUL: also a newline, which would make two lines of one. */
static bool is_text(char c)
{
    unsigned char byte = (unsigned char)c;
    return byte >= 0x20 && byte != 0x7f;
}

void failure_print(const char *text, bool over_bar)
{
    static const char start[] = ERASE_LINE "vkring: ";
    const size_t skipped = over_bar ? 0 : sizeof(ERASE_LINE) - 1;
    char line[sizeof(start) + sizeof(((struct failure *)0)->message) + 128];
    size_t length = (size_t)snprintf(line, sizeof(line) - 1, "%s%s", start, text);
    if (length > sizeof(line) - 2)
        length = sizeof(line) - 2;
    for (size_t i = sizeof(start) - 1; i < length; i++) {
        if (!is_text(line[i]))
            line[i] = '?';
    }
    line[length++] = '\n';
    ssize_t written = write(STDERR_FILENO, line + skipped, length - skipped);
    (void)written; /* there is nowhere left to complain */
}
