/* SPDX-License-Identifier: MIT */
/** The commands of vkring. Collective; argv[0] is the command's name. On a failure the line on standard error is already printed. */
#ifndef VKRING_TOOLS_COMMANDS_H
#define VKRING_TOOLS_COMMANDS_H

#include "ranks.h"

enum exit_status attend_command(struct ranks *ranks, int argc, char **argv);
enum exit_status decode_command(struct ranks *ranks, int argc, char **argv);
enum exit_status feedforward_command(struct ranks *ranks, int argc, char **argv);
enum exit_status devices_command(struct ranks *ranks, int argc, char **argv);
enum exit_status plan_command(struct ranks *ranks, int argc, char **argv);
enum exit_status tune_command(struct ranks *ranks, int argc, char **argv);

/** Rank 0 writes text to standard output. */
bool command_print(const struct ranks *ranks, const char *text, struct failure *failure);

#endif
