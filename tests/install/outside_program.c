/* SPDX-License-Identifier: MIT */
/** A program that knows vkring only as installed: it needs no device, and fails where header and library do not fit. */
#include <stdio.h>
#include <string.h>

#include <vkring/vkring.h>

static int version_fits(void)
{
    char expected[32];
    snprintf(expected, sizeof(expected), "%d.%d.%d", VKRING_VERSION_MAJOR, VKRING_VERSION_MINOR, VKRING_VERSION_PATCH);
    return strcmp(expected, vkring_version()) == 0;
}

static int cuts_rows(void)
{
    uint64_t rows[3] = {0};
    return vkring_cut_rows(10, 3, NULL, rows) == VKRING_OK && rows[0] + rows[1] + rows[2] == 10;
}

int main(void)
{
    vkring_plan *plan = NULL;
    vkring_plan_destroy(&plan);
    if (!version_fits() || !cuts_rows())
        return 1;
    printf("vkring %s\n", vkring_version());
    return 0;
}
