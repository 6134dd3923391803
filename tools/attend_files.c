/* SPDX-License-Identifier: MIT */
/* The files of vkring attend, from their names to the outputs' final ones. */
#include "attend.h"
#include "cleanup.h"

bool attend_open_inputs(struct attend *attend, struct failure *failure)
{
    return inputs_open(&attend->inputs, &attend->options, &attend->problem, failure) &&
           outputs_plan(&attend->outputs, &attend->options, &attend->inputs, failure);
}

bool attend_name_outputs(struct attend *attend, struct failure *failure)
{
    cleanup_on_signals(attend->ranks);
    progress_start(&attend->progress, attend->ranks, attend->options.quiet);
    return outputs_name(&attend->outputs, attend->token, failure);
}

bool attend_create_outputs(struct attend *attend, struct failure *failure)
{
    return attend->ranks->rank > 0 || outputs_create(&attend->outputs, failure);
}

bool attend_join_outputs(struct attend *attend, struct failure *failure)
{
    cleanup_expect_files(true);
    return attend->ranks->rank == 0 || outputs_join(&attend->outputs, failure);
}

/* From now on nobody knows but rank 0 which of the temporary files are still there. */
bool attend_commit_outputs(struct attend *attend, struct failure *failure)
{
    cleanup_expect_files(false);
    return attend->ranks->rank > 0 || outputs_commit(&attend->outputs, failure);
}
