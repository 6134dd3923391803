/* SPDX-License-Identifier: MIT */
/* Ranks that are forked, and talk over memory that they share. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <base/clock.h>

#include "../harness/opened_device.h"
#include "fault_ranks.h"

const struct fault_range fault_range = {.sizes = {2, 3, 4, 8},
                                        .first_kind = WIRE_SOUND + 1,
                                        .last_kind = WIRE_FAULTS - 1,
                                        .kv_len = 75,
                                        .chunk_bytes = 512,
                                        .timeout_seconds = 1,
                                        .sends_wait = WAIT_EITHER_WAY,
                                        .count = 36};

static const double hang_seconds = 120;

struct process {
    pid_t id; /* 0: none */
    int orders;
    bool stopped;
};

static struct fault_job *job; /* shared */
static struct process processes[WIRE_RANKS];
static struct wire *wire; /* of a rank */

/* A rank's side ----------------------------------------------------------------------------------------------------- */

static enum vkring_status open_wire(uint32_t rank, vkring_comm **out_comm)
{
    return wire_comm_create(&job->net, rank, job->ranks, &wire, out_comm);
}

static void arm(void)
{
    wire_arm(wire);
}

static struct wire_counts count(void)
{
    return wire_count(wire);
}

static uint64_t live_requests(uint32_t rank)
{
    return job->net.live[rank];
}

static void settle(void)
{
}

/* A job for each byte that comes through `orders`, until that is closed. */
static _Noreturn void serve(uint32_t rank, int orders)
{
    static const struct fault_transport transport = {open_wire, arm, count, live_requests, settle};
    char order;
    vkring_device *device = test_device_open(NULL);
    while (read(orders, &order, 1) == 1)
        fault_rank_serve(job, rank, device, &transport);
    vkring_device_destroy(&device);
    exit(EXIT_SUCCESS);
}

/* The campaign's side ----------------------------------------------------------------------------------------------- */

static void start_process(uint32_t rank)
{
    int ends[2];
    if (pipe(ends) != 0)
        abort();
    fflush(NULL);
    pid_t id = fork();
    if (id == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ends[1]);
        for (uint32_t other = 0; other < WIRE_RANKS; other++)
            if (other != rank && processes[other].id)
                close(processes[other].orders);
        serve(rank, ends[0]);
    }
    close(ends[0]);
    processes[rank] = (struct process){.id = id, .orders = ends[1]};
}

static void forget_process(struct process *process)
{
    close(process->orders);
    *process = (struct process){0};
}

/* One that ends by itself has no device to test, or is a defect. */
static bool watch_process(uint32_t rank)
{
    struct process *process = &processes[rank];
    int status;
    if (!process->id || waitpid(process->id, &status, WNOHANG | WUNTRACED) != process->id)
        return true;
    if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED)
        exit(TEST_SKIPPED);
    if (WIFSTOPPED(status)) {
        process->stopped = true;
        return true;
    }
    forget_process(process);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    fprintf(stderr, "the process of rank %u ended with wait status %#x\n", rank, (unsigned)status);
    return false;
}

static void kill_process(struct process *process)
{
    int status;
    kill(process->id, SIGKILL);
    waitpid(process->id, &status, 0);
    forget_process(process);
}

static bool is_over(uint32_t rank)
{
    return !processes[rank].id || processes[rank].stopped || atomic_load(&job->reports[rank].done);
}

static bool wait_for_all(void)
{
    const double begin = clock_seconds();
    bool good = true;
    for (uint32_t rank = 0; rank < job->ranks;) {
        good = watch_process(rank) && good;
        if (is_over(rank))
            rank++;
        else if (clock_seconds() - begin > hang_seconds) {
            fprintf(stderr, "rank %u hangs\n", rank);
            good = false;
            kill_process(&processes[rank]);
        } else
            clock_sleep(0.001);
    }
    return good;
}

struct fault_job *fault_ranks_prepare(void)
{
    signal(SIGPIPE, SIG_IGN);
    job = mmap(NULL, sizeof(*job), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return job == MAP_FAILED ? NULL : job;
}

bool fault_ranks_run(void)
{
    for (uint32_t rank = 0; rank < job->ranks; rank++)
        if (!processes[rank].id)
            start_process(rank);
    for (uint32_t rank = 0; rank < job->ranks; rank++)
        if (write(processes[rank].orders, "", 1) != 1)
            abort();
    const bool good = wait_for_all();
    for (uint32_t rank = 0; rank < WIRE_RANKS; rank++)
        if (processes[rank].stopped)
            kill_process(&processes[rank]);
    return good;
}

void fault_ranks_dismiss(void)
{
    for (uint32_t rank = 0; rank < WIRE_RANKS; rank++) {
        const struct process process = processes[rank];
        if (!process.id)
            continue;
        close(process.orders);
        for (double begin = clock_seconds(); waitpid(process.id, NULL, WNOHANG) == 0 && clock_seconds() - begin < hang_seconds;)
            clock_sleep(0.001);
    }
}
