/* SPDX-License-Identifier: MIT */
/**
 * How far this rank is: shown as a bar on the terminal by rank 0, and told to the other ranks as signs of life.
 * A thread of its own looks several times a second. All functions may be called on a zeroed struct: they then do nothing visible.
 */
#ifndef VKRING_TOOLS_PROGRESS_H
#define VKRING_TOOLS_PROGRESS_H

#include <pthread.h>

#include "ranks.h"

struct progress {
    struct ranks *ranks;
    bool draws;
    bool running;
    bool stop;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t stopped;
    const char *phase; /* null: nothing to show */
    uint64_t done, total;
    const vkring_plan *plan; /* where it is not null, done and total are the plan's */
    double phase_start;
};

/** Starts the thread. A progress that could not be started shows nothing. */
void progress_start(struct progress *progress, struct ranks *ranks, bool quiet);
/** Ends the thread and erases the bar. Accepts one that does not run. */
void progress_stop(struct progress *progress);

/** What is being done now, of how many units (0: nobody knows). phase is borrowed until the next. */
void progress_phase(struct progress *progress, const char *phase, uint64_t total);
void progress_advance(struct progress *progress, uint64_t units);
/** What is being done is a run of plan, which lives until the next phase. */
void progress_watch(struct progress *progress, const char *phase, const vkring_plan *plan);

#endif
