/* SPDX-License-Identifier: MIT */
#include "cleanup.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What was there before may take so long over a crash: UCX's handler allocates, and hangs where the crash interrupted an allocation. */
#define CRASH_SECONDS 5
/* One wish may come twice, as timeout(1) sends it to a process and to its group. */
#define ONE_WISH_SECONDS 1

/*
 * A driver that crashes leaves files too; the last REQUEST_COUNT are wishes of others. Batch systems send SIGUSR1 and SIGUSR2, libraries
 * too, to themselves.
 */
static const int endings[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGUSR1, SIGUSR2};
#define ENDING_COUNT (sizeof(endings) / sizeof(endings[0]))
#define REQUEST_COUNT 7

enum hold { HOLD_NONE, HOLD_FIRST_WISH, HOLD_ALL };

/* Read by the handler. */
static char files[CLEANUP_FILES_MAX][PATH_MAX];
static volatile sig_atomic_t file_count;
static volatile sig_atomic_t speaks_alone;
static volatile sig_atomic_t bar_shown;
static volatile sig_atomic_t ending;
static volatile sig_atomic_t held;           /* an enum hold */
static volatile sig_atomic_t waiting_signal; /* came while held */
static volatile sig_atomic_t waiting_since;  /* the first wish, in seconds of a clock */
static bool files_expected;
static struct sigaction actions_before[ENDING_COUNT];

/* Of several processes that do this at once, one finds the first file. */
static bool remove_files(void)
{
    bool removed = file_count > 0 && unlink(files[0]) == 0;
    for (sig_atomic_t i = 1; i < file_count; i++)
        unlink(files[i]);
    return removed;
}

/* What a signal handler may call is little: no sprintf. */
static size_t put_number(char *to, int number)
{
    size_t digits = number >= 100 ? 3 : number >= 10 ? 2 : 1;
    for (size_t i = digits; i-- > 0; number /= 10)
        to[i] = (char)('0' + number % 10);
    return digits;
}

static void say_ended_by(int signal_number)
{
    static const char start[] = ERASE_LINE "vkring: ended by signal ";
    const size_t skipped = bar_shown ? 0 : sizeof(ERASE_LINE) - 1;
    char line[sizeof(start) + 8];
    size_t length = sizeof(start) - 1;
    memcpy(line, start, length);
    length += put_number(line + length, signal_number);
    line[length++] = '\n';
    ssize_t written = write(STDERR_FILENO, line + skipped, length - skipped);
    (void)written;
}

static bool is_wish(int signal_number)
{
    for (size_t i = ENDING_COUNT - REQUEST_COUNT; i < ENDING_COUNT; i++)
        if (endings[i] == signal_number)
            return true;
    return false;
}

static sig_atomic_t seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (sig_atomic_t)now.tv_sec;
}

static bool has_to_wait(int signal_number)
{
    if (held != HOLD_FIRST_WISH || !is_wish(signal_number))
        return held == HOLD_ALL;
    if (!waiting_signal)
        waiting_since = seconds_now();
    return seconds_now() <= waiting_since + ONE_WISH_SECONDS;
}

/*
 * What was there before has its say about a crash, as sanitizers do. But a wish to end is fulfilled: libraries of MPI listen to SIGHUP for
 * purposes of their own.
 */
static void restore(int signal_number)
{
    const struct sigaction by_default = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < ENDING_COUNT; i++) {
        if (endings[i] == signal_number)
            sigaction(signal_number, is_wish(signal_number) ? &by_default : &actions_before[i], NULL);
    }
    sigaction(SIGALRM, &by_default, NULL);
    alarm(CRASH_SECONDS);
}

/* Any thread may run it, the driver's too: what is to keep it off cannot be a mask of one thread. */
static void on_signal(int signal_number)
{
    if (has_to_wait(signal_number)) {
        waiting_signal = signal_number;
        return;
    }
    ending = 1;
    bool removed = remove_files();
    if (removed || speaks_alone)
        say_ended_by(signal_number);
    restore(signal_number);
    raise(signal_number); /* delivered on return */
}

static bool is_private(int signal_number)
{
    return signal_number == SIGUSR1 || signal_number == SIGUSR2;
}

void cleanup_on_signals(const struct ranks *ranks)
{
    struct sigaction action = {.sa_handler = on_signal};
    speaks_alone = ranks->size == 1;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < ENDING_COUNT; i++) {
        sigaction(endings[i], NULL, &actions_before[i]);
        /* what nohup or a shell's background job ignores stays ignored, and a library's own signal the library's */
        if (actions_before[i].sa_handler != SIG_IGN && (!is_private(endings[i]) || actions_before[i].sa_handler == SIG_DFL))
            sigaction(endings[i], &action, NULL);
    }
    /* a file that is too large, and standard error that nobody reads, are errors of a call */
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

bool cleanup_add(const char *path)
{
    if (file_count == CLEANUP_FILES_MAX || strlen(path) >= PATH_MAX)
        return false;
    snprintf(files[file_count], PATH_MAX, "%s", path);
    file_count = file_count + 1;
    return true;
}

void cleanup_wait_if_ending(void)
{
    while (ending)
        pause();
}

void cleanup_expect_files(bool expected)
{
    files_expected = expected;
}

bool cleanup_expects_files(void)
{
    return files_expected;
}

bool cleanup_remove(void)
{
    bool removed = remove_files();
    file_count = 0;
    files_expected = false;
    return removed;
}

void cleanup_forget(void)
{
    file_count = 0;
}

void cleanup_set_bar(bool shown)
{
    bar_shown = shown;
}

void cleanup_hold_signals(void)
{
    held = HOLD_ALL;
}

void cleanup_hold_first_signal(void)
{
    held = HOLD_FIRST_WISH;
}

bool cleanup_signal_waits(void)
{
    return waiting_signal;
}

void cleanup_release_signals(void)
{
    held = HOLD_NONE;
    if (waiting_signal)
        raise(waiting_signal);
}
