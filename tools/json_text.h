/* SPDX-License-Identifier: MIT */
/** JSON of what others wrote and measured: names that may not be UTF-8, quotients that may not be finite. */
#ifndef VKRING_TOOLS_JSON_TEXT_H
#define VKRING_TOOLS_JSON_TEXT_H

#include <jansson.h>
#include <stdint.h>

/** What is not UTF-8 becomes '?'. */
json_t *json_text(const char *text);
/** null where it is not finite. */
json_t *json_measure(double value);
/** Above 2^63 - 1: that. */
json_t *json_size(uint64_t value);

#endif
