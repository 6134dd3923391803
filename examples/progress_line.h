/* SPDX-License-Identifier: MIT */
/** A line on the terminal that tells how far a run is and how long it still takes; a thread keeps it up to date. */
#ifndef VKRING_EXAMPLES_PROGRESS_LINE_H
#define VKRING_EXAMPLES_PROGRESS_LINE_H

#include <pthread.h>
#include <stdio.h>
#include <vkring/vkring.h>

struct progress_line {
    FILE *terminal; /* null: there is none */
    const char *title;
    const vkring_plan *plan;
    bool running, stop;
    pthread_t thread;
    pthread_mutex_t lock; /* of stop */
    pthread_cond_t stopped;
};

/** A terminal that standard output or standard error leads to, also by way of mpirun where launched is true. Null if neither does. */
FILE *progress_terminal(bool launched);

/** title and plan are borrowed until the end. Shows nothing where terminal is null. */
void progress_line_begin(struct progress_line *line, FILE *terminal, const char *title, const vkring_plan *plan);
/** Erases it. */
void progress_line_end(struct progress_line *line);

#endif
