/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "launcher.h"
#include "now.h"

static const double look_seconds = 0.1;
/* Well below the margin by which the ranks wait longer than their deadline. */
static const double beat_seconds = 0.4;
/* What is over at once is not worth a bar. */
static const double appear_seconds = 0.3;
#define BAR_CELLS 30

/* What the thread remembers. */
struct watcher {
    char line[160]; /* on the terminal; empty: none */
    const char *phase;
    uint64_t done;
    double last_beat;
};

static void put(const char *text, size_t length)
{
    ssize_t written = write(STDERR_FILENO, text, length);
    (void)written; /* a bar that nobody sees is no error */
}

static void erase(struct watcher *watcher)
{
    if (*watcher->line)
        put(ERASE_LINE, sizeof(ERASE_LINE) - 1);
    *watcher->line = '\0';
    cleanup_set_bar(false);
}

static void draw(struct watcher *watcher, const struct progress *progress)
{
    char bar[BAR_CELLS + 1] = "";
    char line[sizeof(watcher->line)];
    double part = progress->total ? (double)progress->done / (double)progress->total : 0;
    part = part > 1 ? 1 : part;
    memset(bar, '.', BAR_CELLS);
    memset(bar, '#', (size_t)(part * BAR_CELLS));
    double seconds = now_seconds() - progress->phase_start;
    int length = progress->total
                     ? snprintf(line, sizeof(line), ERASE_LINE "%-9s %s %3.0f %%  %.0f s", progress->phase, bar, 100 * part, seconds)
                     : snprintf(line, sizeof(line), ERASE_LINE "%-9s %.0f s", progress->phase, seconds);
    if (strcmp(line, watcher->line) == 0)
        return;
    cleanup_set_bar(true);
    memcpy(watcher->line, line, sizeof(line));
    put(line, (size_t)length);
}

static void look(struct watcher *watcher, struct progress *progress)
{
    double now = now_seconds();
    if (progress->plan)
        vkring_plan_get_progress(progress->plan, &progress->done, &progress->total);
    if (progress->draws && progress->phase && now - progress->phase_start > appear_seconds)
        draw(watcher, progress);
    bool moved = progress->phase != watcher->phase || progress->done != watcher->done;
    if (!moved || now - watcher->last_beat < beat_seconds)
        return;
    ranks_beat(progress->ranks);
    watcher->phase = progress->phase;
    watcher->done = progress->done;
    watcher->last_beat = now;
}

static void wait_a_little(struct progress *progress)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(look_seconds * 1e9);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&progress->stopped, &progress->lock, &until);
}

static void *watch(void *context)
{
    struct progress *progress = context;
    struct watcher watcher = {0};
    pthread_mutex_lock(&progress->lock);
    while (!progress->stop) {
        look(&watcher, progress);
        wait_a_little(progress);
    }
    pthread_mutex_unlock(&progress->lock);
    erase(&watcher);
    return NULL;
}

/* Signals are for the thread that does the work. */
static bool start_thread(struct progress *progress)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool good = pthread_create(&progress->thread, NULL, watch, progress) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return good;
}

void progress_start(struct progress *progress, struct ranks *ranks, bool quiet)
{
    *progress = (struct progress){.ranks = ranks};
    progress->draws = !quiet && ranks->rank == 0 && launcher_shows_terminal();
    if (!progress->draws && ranks->size == 1)
        return;
    pthread_mutex_init(&progress->lock, NULL);
    pthread_cond_init(&progress->stopped, NULL);
    progress->running = start_thread(progress);
}

void progress_stop(struct progress *progress)
{
    if (!progress->running)
        return;
    pthread_mutex_lock(&progress->lock);
    progress->stop = true;
    pthread_cond_signal(&progress->stopped);
    pthread_mutex_unlock(&progress->lock);
    pthread_join(progress->thread, NULL);
    pthread_cond_destroy(&progress->stopped);
    pthread_mutex_destroy(&progress->lock);
    progress->running = false;
    progress->draws = false;
}

static void begin(struct progress *progress, const char *phase, uint64_t total, const vkring_plan *plan)
{
    if (!progress->running)
        return;
    pthread_mutex_lock(&progress->lock);
    progress->phase = phase;
    progress->done = 0;
    progress->total = total;
    progress->plan = plan;
    progress->phase_start = now_seconds();
    pthread_mutex_unlock(&progress->lock);
}

void progress_phase(struct progress *progress, const char *phase, uint64_t total)
{
    begin(progress, phase, total, NULL);
}

void progress_watch(struct progress *progress, const char *phase, const vkring_plan *plan)
{
    begin(progress, phase, 0, plan);
}

void progress_advance(struct progress *progress, uint64_t units)
{
    if (!progress->running)
        return;
    pthread_mutex_lock(&progress->lock);
    progress->done += units;
    pthread_mutex_unlock(&progress->lock);
}
