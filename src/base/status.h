/* SPDX-License-Identifier: MIT */
/** Failing: the function that decides on an error records it once, with status_fail; its callers pass the status on. */
#ifndef VKRING_BASE_STATUS_H
#define VKRING_BASE_STATUS_H

#include <vkring/vkring.h>

#if defined(__GNUC__)
#define PRINTF_LIKE(at, first) __attribute__((format(printf, at, first)))
#else
#define PRINTF_LIKE(at, first)
#endif

/** Runs call; on failure goes to label. Needs a variable `status`. */
#define TRY(call, label)                                                                                                                   \
    do {                                                                                                                                   \
        status = (call);                                                                                                                   \
        if (status != VKRING_OK)                                                                                                           \
            goto label;                                                                                                                    \
    } while (0)

/** Records the calling thread's last error and returns status. */
enum vkring_status status_fail(enum vkring_status status, const char *format, ...) PRINTF_LIKE(2, 3);
/** The same with the rank and ring step (or VKRING_NONE) where it happened. */
enum vkring_status status_fail_at(enum vkring_status status, uint32_t rank, uint32_t step, const char *format, ...) PRINTF_LIKE(4, 5);

/** What another rank did, in the words of one that was told with which status it failed: such as "was silent". */
const char *status_deed(enum vkring_status status);

#endif
