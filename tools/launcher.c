/* SPDX-License-Identifier: MIT */
#include "launcher.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Open MPI; PMIx (Slurm, PRRTE); PMI (MPICH, Intel MPI, Slurm); MVAPICH and MPICH's hydra. */
static const char *const signs[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "PMI_FD", "MPI_LOCALNRANKS"};
static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
static const char *const places[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"};

bool launcher_is_there(void)
{
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        if (getenv(signs[i]))
            return true;
    }
    return false;
}

static unsigned long first_number(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = getenv(names[i]);
        if (text)
            return strtoul(text, NULL, 10);
    }
    return 0;
}

unsigned long launcher_size(void)
{
    return first_number(sizes, sizeof(sizes) / sizeof(sizes[0]));
}

unsigned long launcher_rank(void)
{
    return first_number(places, sizeof(places) / sizeof(places[0]));
}

static bool is_pipe(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode));
}

static bool parent_has_terminal(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/fd/%d", (long)getppid(), STDERR_FILENO);
    int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    bool terminal = fd >= 0 && isatty(fd);
    if (fd >= 0)
        close(fd);
    return terminal;
}

/* A launcher reads standard error of its processes from pipes and copies it to its own. */
bool launcher_shows_terminal(void)
{
    if (isatty(STDERR_FILENO))
        return true;
    return launcher_is_there() && is_pipe(STDERR_FILENO) && parent_has_terminal();
}
