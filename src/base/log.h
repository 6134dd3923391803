/* SPDX-License-Identifier: MIT */
/** The one way up besides status codes: lines for the application's log. */
#ifndef VKRING_BASE_LOG_H
#define VKRING_BASE_LOG_H

#include "status.h"

struct log {
    vkring_log_callback callback; /* may be null */
    void *user;
};

void log_line(const struct log *log, enum vkring_log_level level, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
