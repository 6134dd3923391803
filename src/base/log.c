/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>

void log_line(const struct log *log, enum vkring_log_level level, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    if (!log->callback)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    log->callback(log->user, level, line);
}
