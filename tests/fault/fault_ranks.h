/* SPDX-License-Identifier: MIT */
/** The ranks of a campaign, and what may be asked of them: processes other than the campaign's, which never touches Vulkan. */
#ifndef VKRING_TESTS_FAULT_RANKS_H
#define VKRING_TESTS_FAULT_RANKS_H

#include "fault_job.h"

enum { FAULT_SIZES = 4 };

struct fault_range {
    uint32_t sizes[FAULT_SIZES]; /* of rings; 0 after the last */
    enum wire_fault_kind first_kind, last_kind;
    uint64_t kv_len, chunk_bytes; /* of the problem */
    double timeout_seconds;
    enum { WAIT_ALWAYS, WAIT_EITHER_WAY } sends_wait; /* for their receivers; or it is drawn */
    uint64_t count;                                   /* of faults, if none is asked for */
};

extern const struct fault_range fault_range;

/** The memory in which the job is written down. Once; null on failure. */
struct fault_job *fault_ranks_prepare(void);

/**
 * Has the job's ranks run it until each is done, dead or stopped; starts those that are not there. False: one hung, or died of itself,
 * which a line on standard error says. Exits with TEST_SKIPPED where no rank can run.
 */
bool fault_ranks_run(void);

/** Ends all that are there. Those that are well keep what they compiled. */
void fault_ranks_dismiss(void);

#endif
