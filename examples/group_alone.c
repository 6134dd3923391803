/* SPDX-License-Identifier: MIT */
/* A build without MPI. */
#include <stdlib.h>

#include "group.h"

static bool started_as_one_of_several(void)
{
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        const char *size = getenv(sizes[i]);
        if (size && strtoul(size, NULL, 10) > 1)
            return true;
    }
    return false;
}

void group_join(struct group *group, const char *program, int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    *group = (struct group){.program = program, .size = 1, .launched = group_has_launcher()};
    if (started_as_one_of_several())
        group_fail(group, "started as one of several ranks, but this build has no MPI");
}

double group_sum(const struct group *group, double value)
{
    (void)group;
    return value;
}

double group_most(const struct group *group, double value)
{
    (void)group;
    return value;
}

enum vkring_status group_make_comm(const struct group *group, vkring_comm **out_comm)
{
    (void)group;
    *out_comm = NULL;
    return VKRING_OK;
}

enum vkring_status group_make_part(const struct group *group, uint32_t colour, vkring_comm **out_comm)
{
    (void)colour;
    return group_make_comm(group, out_comm);
}

void group_leave(const struct group *group)
{
    (void)group;
}

_Noreturn void group_abort(void)
{
    exit(1);
}
