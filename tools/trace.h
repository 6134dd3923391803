/* SPDX-License-Identifier: MIT */
/** What --trace writes: the events of all ranks as JSON of Chrome's trace viewer (Trace Event Format), which Perfetto reads too. */
#ifndef VKRING_TOOLS_TRACE_H
#define VKRING_TOOLS_TRACE_H

#include "ranks.h"

/** How many events of a pass are kept: the latest, 64 bytes each. */
#define TRACE_EVENTS 65536

enum trace_pass { TRACE_FORWARD, TRACE_BACKWARD, TRACE_PASSES };

/** Of one rank. */
struct trace {
    struct vkring_event *events[TRACE_PASSES];
    uint64_t counts[TRACE_PASSES];
    uint64_t dropped; /**< events that were not kept */
};

/** Takes the events of the plan's last run. */
bool trace_take(struct trace *trace, enum trace_pass pass, const vkring_plan *plan, struct failure *failure);

/**
 * Collective: every rank writes its own part of the open file at path, which is empty. Times are rank 0's; the metadata says how far those
 * of a rank may be off. name is what this rank is called.
 */
bool trace_write(struct ranks *ranks, const struct trace *trace, const char *name, int fd, const char *path, struct failure *failure);

void trace_free(struct trace *trace);

#endif
