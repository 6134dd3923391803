/* SPDX-License-Identifier: MIT */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local struct vkring_error last_error = {.rank = VKRING_NONE, .step = VKRING_NONE};

const struct vkring_error *vkring_last_error(void)
{
    return &last_error;
}

static enum vkring_status record(enum vkring_status status, uint32_t rank, uint32_t step, const char *format, va_list arguments)
{
    /* A message may quote the one before it. */
    char message[sizeof(last_error.message)];
    vsnprintf(message, sizeof(message), format, arguments);
    last_error.status = status;
    last_error.rank = rank;
    last_error.step = step;
    snprintf(last_error.message, sizeof(last_error.message), "%s", message);
    return status;
}

enum vkring_status status_fail(enum vkring_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    record(status, VKRING_NONE, VKRING_NONE, format, arguments);
    va_end(arguments);
    return status;
}

enum vkring_status status_fail_at(enum vkring_status status, uint32_t rank, uint32_t step, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    record(status, rank, step, format, arguments);
    va_end(arguments);
    return status;
}

const char *vkring_status_string(enum vkring_status status)
{
    switch (status) {
    case VKRING_OK:
        return "ok";
    case VKRING_ERROR_INVALID_ARGUMENT:
        return "invalid argument";
    case VKRING_ERROR_OUT_OF_HOST_MEMORY:
        return "out of host memory";
    case VKRING_ERROR_OUT_OF_DEVICE_MEMORY:
        return "out of device memory";
    case VKRING_ERROR_NO_DEVICE:
        return "no device";
    case VKRING_ERROR_UNSUPPORTED:
        return "unsupported";
    case VKRING_ERROR_DEVICE:
        return "device error";
    case VKRING_ERROR_DEVICE_LOST:
        return "device lost";
    case VKRING_ERROR_SELF_TEST:
        return "self-test failed";
    case VKRING_ERROR_COMM:
        return "communication failed";
    case VKRING_ERROR_MISMATCH:
        return "ranks disagree";
    case VKRING_ERROR_PEER:
        return "another rank failed";
    case VKRING_ERROR_TIMEOUT:
        return "timeout";
    case VKRING_ERROR_CACHE_FULL:
        return "cache full";
    }
    return "unknown status";
}

#define TEXT(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *vkring_version(void)
{
    return VERSION_TEXT(VKRING_VERSION_MAJOR, VKRING_VERSION_MINOR, VKRING_VERSION_PATCH);
}

const char *status_deed(enum vkring_status status)
{
    return status == VKRING_ERROR_TIMEOUT ? "was silent" : status == VKRING_ERROR_PEER ? "sent what was not expected" : "failed";
}
