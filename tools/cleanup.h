/* SPDX-License-Identifier: MIT */
/** Temporary files that must not outlive the process, whatever ends it but SIGKILL. One list per process. */
#ifndef VKRING_TOOLS_CLEANUP_H
#define VKRING_TOOLS_CLEANUP_H

#include "ranks.h"

#define CLEANUP_FILES_MAX 16

/**
 * From now on a signal that ends the process first removes the files of the list.
 *
 * With one rank it also says so. Of several, a launcher mostly ends all at once: the one that finds and removes the first file speaks,
 * so that one line comes in all, and none if a failure was reported (and the files removed) before.
 */
void cleanup_on_signals(const struct ranks *ranks);

/** path is copied; there need not be such a file yet. False if it is too long or the list is full. */
bool cleanup_add(const char *path);

/** While a signal ends the process, waits for that end: another thread than the one that got the signal has nothing more to say. */
void cleanup_wait_if_ending(void);

/** Whether there are files from now on; to be told and asked, for whoever wants to know whether removing nothing means that another did. */
void cleanup_expect_files(bool expected);
bool cleanup_expects_files(void);

/** Removes the files that are still there and empties the list. Returns whether the first of the list was there. */
bool cleanup_remove(void);

/** Empties the list: the files have their final names. */
void cleanup_forget(void);

/** Whether a progress bar stands on the terminal, which a line from a signal first has to erase. */
void cleanup_set_bar(bool shown);

/** Between hold and release a signal waits, so that several files get their final names together. */
void cleanup_hold_signals(void);
/** The same of the first that wishes an end, for long work that looks whether one waits and then ends early; one that comes seconds later
 * counts at once. */
void cleanup_hold_first_signal(void);
bool cleanup_signal_waits(void);
void cleanup_release_signals(void);

#endif
