/* SPDX-License-Identifier: MIT */
/* vkring: exact attention from the command line. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "output_file.h"
#include "verdict.h"

static const char help[] =
    "usage: vkring attend -q Q.npy -k K.npy -v V.npy -o O.npy [options]\n"
    "       vkring decode -q Q.npy -k K.npy -v V.npy -o O.npy [options]\n"
    "       vkring feedforward -x X.npy --w1 W1.npy --w2 W2.npy -o Y.npy [options]\n"
    "       vkring devices [--json] [--kernels]\n"
    "       vkring plan --ranks N --q-len N --head-dim N --flops F [options]\n"
    "       vkring tune [options]\n"
    "       vkring --version\n"
    "       vkring --help\n"
    "\n"
    "  attend        computes exact attention; under mpirun, the sequence cut over the ranks\n"
    "  decode        the same by a cache of keys and values, as inference fills it, many rows at a time and then few\n"
    "  feedforward   computes the feed-forward layer of a transformer, by chunks of rows\n"
    "  devices       lists the Vulkan devices of this host and what they support\n"
    "  plan          simulates a run on ranks that need not be there: seconds, memory, what fits\n"
    "  tune          looks for faster kernels on this device, and remembers them\n"
    "\n"
    "`vkring COMMAND --help` tells its options.\n";

bool command_print(const struct ranks *ranks, const char *text, struct failure *failure)
{
    if (ranks->rank > 0)
        return true;
    if (fputs(text, stdout) == EOF || fflush(stdout) != 0)
        return fail_file(failure, "write", "standard output");
    return true;
}

static bool print_version(const struct ranks *ranks, struct failure *failure)
{
    char line[64];
    snprintf(line, sizeof(line), "vkring %s\n", vkring_version());
    return command_print(ranks, line, failure);
}

static enum exit_status without_command(struct ranks *ranks, const char *word)
{
    struct failure failure = {0};
    if (!word)
        fail_usage(&failure, "no command; see vkring --help");
    else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        command_print(ranks, help, &failure);
    else if (strcmp(word, "--version") == 0)
        print_version(ranks, &failure);
    else
        fail_usage(&failure, "unknown %s %s; see vkring --help", word[0] == '-' ? "option" : "command", word);
    return verdict_agree(ranks, &failure, false);
}

static enum exit_status run_command(struct ranks *ranks, int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;
    if (word && strcmp(word, "attend") == 0)
        return attend_command(ranks, argc - 1, argv + 1);
    if (word && strcmp(word, "decode") == 0)
        return decode_command(ranks, argc - 1, argv + 1);
    if (word && strcmp(word, "feedforward") == 0)
        return feedforward_command(ranks, argc - 1, argv + 1);
    if (word && strcmp(word, "devices") == 0)
        return devices_command(ranks, argc - 1, argv + 1);
    if (word && strcmp(word, "plan") == 0)
        return plan_command(ranks, argc - 1, argv + 1);
    if (word && strcmp(word, "tune") == 0)
        return tune_command(ranks, argc - 1, argv + 1);
    return without_command(ranks, word);
}

int main(int argc, char **argv)
{
    struct ranks ranks;
    struct failure failure = {0};
    enum exit_status status = EXIT_STATUS_FAILED;
    output_files_spare_standard();
    if (ranks_start(&ranks, &argc, &argv, &failure))
        status = run_command(&ranks, argc, argv);
    else if (ranks.rank == 0)
        failure_print(failure.message, false);
    ranks_finish(&ranks, status);
}
