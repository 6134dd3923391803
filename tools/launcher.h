/* SPDX-License-Identifier: MIT */
/** What an MPI launcher tells a process that it starts, in its environment. */
#ifndef VKRING_TOOLS_LAUNCHER_H
#define VKRING_TOOLS_LAUNCHER_H

#include <stdbool.h>

/** Whether one started this process. */
bool launcher_is_there(void);

/** How many processes it started; 0 if it does not say. */
unsigned long launcher_size(void);

/** Which of them this is; 0 if it does not say. */
unsigned long launcher_rank(void);

/** Whether what this process writes to standard error is shown on a terminal, directly or by the launcher. */
bool launcher_shows_terminal(void);

#endif
