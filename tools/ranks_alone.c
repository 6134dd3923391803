/* SPDX-License-Identifier: MIT */
/* A build without MPI: one rank. */
#include <stdlib.h>
#include <string.h>

#include "launcher.h"
#include "ranks.h"

bool ranks_start(struct ranks *ranks, int *argc, char ***argv, struct failure *failure)
{
    (void)argc;
    (void)argv;
    *ranks = (struct ranks){.size = 1, .timeout_seconds = DEFAULT_TIMEOUT_SECONDS};
    ranks->rank = (uint32_t)launcher_rank();
    if (launcher_size() > 1)
        return fail_run(failure, "started as one of %lu ranks, but this build has no MPI", launcher_size());
    return true;
}

bool ranks_exchange(struct ranks *ranks, const void *mine, size_t bytes, void *all, bool *arrived, double patience_seconds)
{
    (void)ranks;
    (void)patience_seconds;
    memcpy(all, mine, bytes);
    arrived[0] = true;
    return true;
}

void ranks_beat(struct ranks *ranks)
{
    (void)ranks;
}

enum vkring_status ranks_make_comm(struct ranks *ranks, vkring_comm **out_comm)
{
    (void)ranks;
    *out_comm = NULL;
    return VKRING_OK;
}

_Noreturn void ranks_finish(struct ranks *ranks, enum exit_status status)
{
    (void)ranks;
    exit((int)status);
}
