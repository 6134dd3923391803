/* SPDX-License-Identifier: MIT */
/*
 * Ranks that LAUNCH starts, WORLD of them at a time, which serve many jobs; a job that lost one ends them all. The launcher keeps the
 * survivors of a rank that died; what they say is in the file that they share with this process. PULLS_WIRES: a rank is cut off by its
 * network, for good. The build sets these, and FAULT_RANGE.
 */
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/clock.h>

#include "../harness/suite.h"
#include "fault_launched.h"
#include "fault_ranks.h"

const struct fault_range fault_range = FAULT_RANGE;

static const double start_seconds = 120, hang_seconds = 90, end_seconds = 10;

static char folder[4096], path[4096 + 8], log_path[4096 + 8];
static struct fault_launched *launched;
static pid_t launcher; /* 0: none */

static int remove_entry(const char *entry, const struct stat *about, int kind, struct FTW *place)
{
    (void)about, (void)kind, (void)place;
    remove(entry);
    return 0;
}

static void remove_files(void)
{
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void show_log(void)
{
    char line[512];
    FILE *file = fopen(log_path, "r");
    while (file && fgets(line, sizeof(line), file))
        fputs(line, stderr);
    if (file)
        fclose(file);
}

/* What launchers need as root in a container and with more ranks than cores, unless the environment says otherwise. */
static void set_environment(void)
{
    static const char *const settings[][2] = {
        {"LP_NUM_THREADS", "1"},
        {"OMPI_ALLOW_RUN_AS_ROOT", "1"},
        {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
        {"PRTE_ALLOW_RUN_AS_ROOT", "1"},
        {"PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
        {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
        {"PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"},
        {"OMPI_MCA_hwloc_base_binding_policy", "none"},
        {"PRTE_MCA_hwloc_default_binding_policy", "none"},
        {"OMPI_MCA_btl", "^tcp,ofi"},
        {"OMPI_MCA_mtl", "^ofi"},
    };
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        setenv(settings[i][0], settings[i][1], 0);
    setenv("TMPDIR", folder, 1); /* as in tests/ring/launch */
}

static _Noreturn void launch(void)
{
    const char *const command[] = {LAUNCH, path, NULL};
    const int log = open(log_path, O_WRONLY | O_CREAT | O_TRUNC, 0600), nothing = open("/dev/null", O_RDONLY);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    set_environment();
    dup2(nothing, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execvp(command[0], (char *const *)(uintptr_t)command);
    perror(command[0]);
    _exit(EXIT_FAILURE);
}

static bool launcher_ended(int *out_status)
{
    if (!launcher || waitpid(launcher, out_status, WNOHANG) != launcher)
        return false;
    launcher = 0;
    return true;
}

/* Ranks first: of a launcher that lost one, the others may be left. */
static void end_world(void)
{
    int status;
    for (int rank = 0; rank < WORLD; rank++) {
        const pid_t process = (pid_t)atomic_load(&launched->processes[rank]);
        if (launcher && process)
            kill(process, SIGKILL);
    }
    if (launcher)
        kill(launcher, SIGTERM);
    for (double begin = clock_seconds(); launcher && !launcher_ended(&status); clock_sleep(0.01))
        if (clock_seconds() - begin > end_seconds)
            kill(launcher, SIGKILL);
}

static bool all_are_ready(void)
{
    for (int rank = 0; rank < WORLD; rank++)
        if (!atomic_load(&launched->processes[rank]))
            return false;
    return true;
}

static void start_world(void)
{
    int status;
    for (int rank = 0; rank < WORLD; rank++)
        atomic_store(&launched->processes[rank], 0);
    fflush(NULL);
    launcher = fork();
    if (launcher == 0)
        launch();
    for (double begin = clock_seconds(); !all_are_ready(); clock_sleep(0.001)) {
        if (!launcher_ended(&status) && clock_seconds() - begin < start_seconds)
            continue;
        end_world();
        show_log();
        exit(!launcher && WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED ? TEST_SKIPPED : EXIT_FAILURE);
    }
}

/* What the kernel says of a rank, which is a child of others: how it ended, too, until they ask. */
static char state_of(uint32_t rank, int *out_wait_status)
{
    char name[64], line[1024] = "", state = 'X';
    snprintf(name, sizeof(name), "/proc/%d/stat", atomic_load(&launched->processes[rank]));
    FILE *file = fopen(name, "r");
    if (file) {
        const char *name_end = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
        const char *last = strrchr(line, ' ');
        if (name_end)
            state = name_end[2];
        if (last)
            *out_wait_status = atoi(last);
        fclose(file);
    }
    return state;
}

static bool is_lost(uint32_t rank)
{
    int ignored;
    return strchr("TZX", state_of(rank, &ignored)) != NULL;
}

static bool is_done(uint32_t rank)
{
    return atomic_load(&launched->job.reports[rank].done);
}

static bool may_be_lost(uint32_t rank)
{
    const struct wire_fault *fault = &launched->job.net.fault;
    return rank == fault->rank && (fault->kind == WIRE_KILL || fault->kind == WIRE_STOP);
}

static void complain(uint32_t rank, bool hangs)
{
    int status = 0;
    const char state = state_of(rank, &status);
    fprintf(stderr, "rank %u %s: it is in state %c, with wait status %#x\n", rank, hangs ? "hangs" : "ended by itself", state,
            (unsigned)status);
}

static bool wait_for_all(void)
{
    const double begin = clock_seconds();
    bool good = true;
    for (uint32_t rank = 0; rank < launched->job.ranks;) {
        const bool hangs = clock_seconds() - begin > hang_seconds;
        if (!hangs && !is_done(rank) && !is_lost(rank)) {
            clock_sleep(0.001);
            continue;
        }
        if (!is_done(rank) && !may_be_lost(rank)) {
            complain(rank, hangs);
            good = false;
        }
        rank++;
    }
    return good;
}

static bool is_well(uint32_t rank)
{
    const struct rank_report *report = &launched->job.reports[rank];
    for (int call = 0; call < FAULT_CALLS; call++)
        if (report->calls[call].error.status != VKRING_OK)
            return false;
    return is_done(rank);
}

/*
 * Whether the ranks can go on. Not where messages may be left that a rank did not ask for before it freed its communicator, which a rank
 * that is well does: Open MPI takes those for messages of a later one, and ends the process if that has no such sender.
 */
static bool is_whole(void)
{
    const struct fault_job *job = &launched->job;
    const enum wire_fault_kind kind = job->net.fault.kind;
    const bool spoils = PULLS_WIRES || kind == WIRE_DELAY || kind == WIRE_DUPLICATE;
    for (uint32_t rank = 0; rank < job->ranks; rank++)
        if (!is_done(rank) || is_well(rank) != is_well(0))
            return false;
    return !(spoils && atomic_load(&job->net.fired));
}

struct fault_job *fault_ranks_prepare(void)
{
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/vkring-faults-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(folder))
        return NULL;
    snprintf(path, sizeof(path), "%s/job", folder);
    snprintf(log_path, sizeof(log_path), "%s/log", folder);
    atexit(remove_files);
    const int file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (file < 0 || ftruncate(file, sizeof(*launched)) != 0)
        return NULL;
    launched = mmap(NULL, sizeof(*launched), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return launched == MAP_FAILED ? NULL : &launched->job;
}

bool fault_ranks_run(void)
{
    if (!launcher)
        start_world();
    atomic_fetch_add(&launched->turn, 1);
    const bool good = wait_for_all();
    if (!good) {
        clock_sleep(1); /* for what ranks said last */
        show_log();
    }
    if (!is_whole())
        end_world();
    return good;
}

void fault_ranks_dismiss(void)
{
    int status;
    atomic_store(&launched->dismissed, true);
    for (double begin = clock_seconds(); launcher && !launcher_ended(&status) && clock_seconds() - begin < end_seconds;)
        clock_sleep(0.01);
    end_world();
}
