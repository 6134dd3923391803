/* SPDX-License-Identifier: MIT */
#include "group.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool group_has_launcher(void)
{
    /* Open MPI; PMIx, as of Slurm; PMI, as of MPICH, Intel MPI and Slurm; MVAPICH */
    static const char *const signs[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_FD", "MPI_LOCALNRANKS"};
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        if (getenv(signs[i]))
            return true;
    }
    return false;
}

bool group_fail(struct group *group, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(group->failure, sizeof(group->failure), format, arguments);
    va_end(arguments);
    return false;
}

bool group_fail_vkring(struct group *group)
{
    const struct vkring_error *error = vkring_last_error();
    /* whoever waited in vain for another rank would do so again */
    group->broken = group->size > 1 && (error->status == VKRING_ERROR_TIMEOUT || error->status == VKRING_ERROR_COMM);
    return group_fail(group, "%s", error->message);
}

static void print_failure(const struct group *group)
{
    if (group->size > 1)
        fprintf(stderr, "%s: rank %u: %s\n", group->program, group->rank, group->failure);
    else
        fprintf(stderr, "%s: %s\n", group->program, group->failure);
}

bool group_agree(struct group *group)
{
    if (group->broken) {
        print_failure(group);
        group_abort();
    }
    const double good = group->size;
    const double first_failed = -group_most(group, group->failure[0] ? -(double)group->rank : -good);
    if (first_failed == group->rank)
        print_failure(group);
    return first_failed == good;
}

bool group_wrote(struct group *group)
{
    if (group->rank == 0 && (fflush(stdout) != 0 || ferror(stdout)))
        group_fail(group, "cannot write standard output");
    return group_agree(group);
}

uint32_t group_choose_device(const struct group *group)
{
    struct vkring_device_info infos[64];
    uint32_t count = 0, alike = 0;
    if (vkring_devices_list(infos, 64, &count) != VKRING_OK)
        return 0; /* the device cannot be created either, which then tells why */
    count = count < 64 ? count : 64;
    while (alike < count && infos[alike].supported && (infos[alike].kind == VKRING_DEVICE_CPU) == (infos[0].kind == VKRING_DEVICE_CPU))
        alike++;
    return alike ? group->host_rank % alike : 0;
}
