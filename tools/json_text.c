/* SPDX-License-Identifier: MIT */
#include "json_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *json_text(const char *text)
{
    json_t *string = json_string(text);
    char *ascii = string ? NULL : strdup(text);
    for (char *c = ascii; c && *c; c++) {
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    }
    if (ascii)
        string = json_string(ascii);
    free(ascii);
    return string;
}

json_t *json_measure(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *json_size(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}
