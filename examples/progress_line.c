/* SPDX-License-Identifier: MIT */
#include "progress_line.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

static const double first_seconds = 1; /* what is over sooner needs no line */
static const long look_nanoseconds = 200000000;

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* mpirun reads what its processes write from pipes or terminals of its own, and copies it to where its own output goes. */
static bool launcher_has_terminal(int descriptor)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/fd/%d", (long)getppid(), descriptor);
    const int opened = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (opened < 0)
        return false;
    const bool terminal = isatty(opened);
    close(opened);
    return terminal;
}

static bool leads_to_terminal(FILE *stream, bool launched)
{
    return launched ? launcher_has_terminal(fileno(stream)) : isatty(fileno(stream));
}

/* Standard output first: a line and the table that replaces it keep their order within one stream only. */
FILE *progress_terminal(bool launched)
{
    if (leads_to_terminal(stdout, launched))
        return stdout;
    return leads_to_terminal(stderr, launched) ? stderr : NULL;
}

static void draw(const struct progress_line *line, double seconds)
{
    uint64_t done, total;
    vkring_plan_get_progress(line->plan, &done, &total);
    const double part = total ? (double)done / (double)total : 0;
    fprintf(line->terminal, "\r\033[K%s: %.0f %% in %.0f s", line->title, 100 * part, seconds);
    if (part > 0)
        fprintf(line->terminal, ", about %.0f s more", seconds * (1 - part) / part);
    fflush(line->terminal);
}

static void wait_a_little(struct progress_line *line)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += look_nanoseconds;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&line->stopped, &line->lock, &until);
}

static void *keep_drawing(void *context)
{
    struct progress_line *line = context;
    const double begin = now_seconds();
    bool shown = false;
    pthread_mutex_lock(&line->lock);
    while (!line->stop) {
        const double seconds = now_seconds() - begin;
        if (seconds > first_seconds) {
            draw(line, seconds);
            shown = true;
        }
        wait_a_little(line);
    }
    pthread_mutex_unlock(&line->lock);
    if (shown)
        fprintf(line->terminal, "\r\033[K");
    fflush(line->terminal);
    return NULL;
}

void progress_line_begin(struct progress_line *line, FILE *terminal, const char *title, const vkring_plan *plan)
{
    *line = (struct progress_line){.terminal = terminal, .title = title, .plan = plan};
    if (!terminal)
        return;
    pthread_mutex_init(&line->lock, NULL);
    pthread_cond_init(&line->stopped, NULL);
    line->running = pthread_create(&line->thread, NULL, keep_drawing, line) == 0;
}

void progress_line_end(struct progress_line *line)
{
    if (line->running) {
        pthread_mutex_lock(&line->lock);
        line->stop = true;
        pthread_cond_signal(&line->stopped);
        pthread_mutex_unlock(&line->lock);
        pthread_join(line->thread, NULL);
    }
    if (line->terminal) {
        pthread_cond_destroy(&line->stopped);
        pthread_mutex_destroy(&line->lock);
    }
}
