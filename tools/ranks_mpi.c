/* SPDX-License-Identifier: MIT */
/*
 * Ranks over MPI. MPI reports no dead peer, so that nothing here waits in MPI itself but MPI_Init and MPI_Finalize, each under an alarm.
 *
 * Ranks give each other records: each sends its own to each other, so that one silent rank keeps nobody from hearing the rest. Between
 * records they send beats, a byte each, as signs of life of a rank that is busy.
 */
#include <vkring/mpi.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher.h"
#include "now.h"
#include "ranks.h"

enum { TAG_RECORD = 1, TAG_BEAT = 2 };

static const double longest_pause_seconds = 1e-3;
#define INIT_SECONDS 300
#define FINALIZE_SECONDS 10
/* Of ranks that no longer hear each other one after another speaks: the launcher ends those that are left some seconds after the first. */
#define TURNS 5
#define TURN_SECONDS 3

/* What an exchange has with one rank. */
struct contact {
    MPI_Request send, receive;
    bool sent, received;
    bool lost;        /* MPI reported an error */
    double last_sign; /* of life */
};

/* Contacts and blocks are MPI's to write to once the ranks are broken. */
struct rank_messages {
    bool beats; /* MPI takes calls from several threads */
    struct contact *contacts;
    unsigned char *blocks; /* a record of each rank */
};

static const unsigned char beat = 1;
static volatile sig_atomic_t alarm_status;
static char late_line[96]; /* empty: nothing is to be said */
static unsigned turn_seconds;

static bool messages_make(struct ranks *ranks, int thread_level, struct failure *failure)
{
    struct rank_messages *messages = calloc(1, sizeof(*messages));
    if (!messages)
        return fail_memory(failure);
    ranks->messages = messages;
    messages->beats = thread_level == MPI_THREAD_MULTIPLE;
    messages->contacts = calloc(ranks->size, sizeof(*messages->contacts));
    return messages->contacts ? true : fail_memory(failure);
}

static void messages_free(struct rank_messages *messages)
{
    if (!messages)
        return;
    free(messages->contacts);
    free(messages->blocks);
    free(messages);
}

/* A launcher lets a stopped rank go on to end it: that one does not come to its turn. */
static void end_late(int signal_number)
{
    (void)signal_number;
    if (*late_line) {
        sleep(turn_seconds);
        ssize_t written = write(STDERR_FILENO, late_line, strlen(late_line));
        (void)written;
    }
    _exit((int)alarm_status);
}

/* What this rank says, and as what it ends, if it is not done with a call of MPI then. */
static void expect_within(unsigned seconds, enum exit_status status)
{
    const unsigned long rank = launcher_rank();
    turn_seconds = TURN_SECONDS * (1 + (unsigned)(rank < TURNS ? rank : TURNS));
    alarm_status = (sig_atomic_t)status;
    signal(SIGALRM, end_late);
    alarm(seconds);
}

static bool start_mpi(int *argc, char ***argv, int *thread_level)
{
    snprintf(late_line, sizeof(late_line), "vkring: not all ranks started MPI in %d seconds\n", INIT_SECONDS);
    expect_within(INIT_SECONDS, EXIT_STATUS_FAILED);
    const bool good = MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, thread_level) == MPI_SUCCESS;
    alarm(0);
    signal(SIGALRM, SIG_DFL);
    return good;
}

bool ranks_start(struct ranks *ranks, int *argc, char ***argv, struct failure *failure)
{
    int thread_level = MPI_THREAD_SINGLE;
    int rank = 0;
    int size = 1;
    *ranks = (struct ranks){.size = 1, .timeout_seconds = DEFAULT_TIMEOUT_SECONDS};
    if (!launcher_is_there())
        return true;
    if (!start_mpi(argc, argv, &thread_level))
        return fail_run(failure, "MPI_Init_thread failed");
    ranks->launched = true;
    if (MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN) != MPI_SUCCESS || MPI_Comm_rank(MPI_COMM_WORLD, &rank) != MPI_SUCCESS ||
        MPI_Comm_size(MPI_COMM_WORLD, &size) != MPI_SUCCESS)
        return fail_run(failure, "MPI does not tell the number of ranks");
    if (size == 1)
        return true;
    ranks->rank = (uint32_t)rank;
    ranks->size = (uint32_t)size;
    return messages_make(ranks, thread_level, failure);
}

/* Exchange ---------------------------------------------------------------------------------------------------------- */

static void start_receive(struct ranks *ranks, uint32_t rank, size_t bytes)
{
    struct contact *contact = &ranks->messages->contacts[rank];
    *contact = (struct contact){.send = MPI_REQUEST_NULL, .receive = MPI_REQUEST_NULL, .last_sign = now_seconds()};
    contact->lost = MPI_Irecv(ranks->messages->blocks + rank * bytes, (int)bytes, MPI_BYTE, (int)rank, TAG_RECORD, MPI_COMM_WORLD,
                              &contact->receive) != MPI_SUCCESS;
}

static void start_send(struct ranks *ranks, uint32_t rank, size_t bytes)
{
    struct contact *contact = &ranks->messages->contacts[rank];
    const unsigned char *mine = ranks->messages->blocks + ranks->rank * bytes;
    if (!contact->lost)
        contact->lost = MPI_Isend(mine, (int)bytes, MPI_BYTE, (int)rank, TAG_RECORD, MPI_COMM_WORLD, &contact->send) != MPI_SUCCESS;
}

static bool start(struct ranks *ranks, const void *mine, size_t bytes)
{
    free(ranks->messages->blocks);
    ranks->messages->blocks = malloc(ranks->size * bytes);
    if (!ranks->messages->blocks)
        return false;
    memcpy(ranks->messages->blocks + ranks->rank * bytes, mine, bytes);
    ranks->messages->contacts[ranks->rank] = (struct contact){.sent = true, .received = true};
    for (uint32_t distance = 1; distance < ranks->size; distance++)
        start_receive(ranks, (ranks->rank + distance) % ranks->size, bytes);
    for (uint32_t distance = 1; distance < ranks->size; distance++)
        start_send(ranks, (ranks->rank + distance) % ranks->size, bytes);
    return true;
}

static void poll_request(struct contact *contact, MPI_Request *request, bool *done)
{
    int flag = 0;
    if (contact->lost || *done)
        return;
    if (MPI_Test(request, &flag, MPI_STATUS_IGNORE) != MPI_SUCCESS)
        contact->lost = true;
    else
        *done = flag;
}

static void hear_beats(struct rank_messages *messages)
{
    int there = 0;
    MPI_Status status;
    unsigned char byte;
    while (MPI_Iprobe(MPI_ANY_SOURCE, TAG_BEAT, MPI_COMM_WORLD, &there, &status) == MPI_SUCCESS && there) {
        if (MPI_Recv(&byte, 1, MPI_BYTE, status.MPI_SOURCE, TAG_BEAT, MPI_COMM_WORLD, MPI_STATUS_IGNORE) != MPI_SUCCESS)
            return;
        messages->contacts[status.MPI_SOURCE].last_sign = now_seconds();
    }
}

/* Whether there is a rank worth waiting for. */
static bool poll_ranks(struct ranks *ranks, double patience_seconds)
{
    bool waiting = false;
    hear_beats(ranks->messages);
    for (uint32_t rank = 0; rank < ranks->size; rank++) {
        struct contact *contact = &ranks->messages->contacts[rank];
        poll_request(contact, &contact->receive, &contact->received);
        poll_request(contact, &contact->send, &contact->sent);
        bool done = contact->lost || (contact->sent && contact->received);
        waiting = waiting || (!done && now_seconds() - contact->last_sign < patience_seconds);
    }
    return waiting;
}

static bool collect(struct ranks *ranks, size_t bytes, unsigned char *all, bool *arrived)
{
    bool complete = true;
    ranks->lowest_heard = ranks->rank;
    for (uint32_t rank = ranks->size; rank-- > 0;) {
        const struct contact *contact = &ranks->messages->contacts[rank];
        arrived[rank] = contact->received;
        if (contact->received)
            ranks->lowest_heard = rank;
        if (contact->received)
            memcpy(all + rank * bytes, ranks->messages->blocks + rank * bytes, bytes);
        complete = complete && contact->received && contact->sent;
    }
    return complete;
}

bool ranks_exchange(struct ranks *ranks, const void *mine, size_t bytes, void *all, bool *arrived, double patience_seconds)
{
    double pause_seconds = 0;
    memset(arrived, 0, ranks->size * sizeof(*arrived));
    memcpy((unsigned char *)all + ranks->rank * bytes, mine, bytes);
    arrived[ranks->rank] = true;
    if (ranks->size == 1)
        return true;
    ranks->broken = true;
    ranks->lowest_heard = ranks->rank;
    if (!start(ranks, mine, bytes))
        return false;
    while (poll_ranks(ranks, patience_seconds)) {
        sleep_seconds(pause_seconds);
        pause_seconds = pause_seconds < longest_pause_seconds ? pause_seconds + 2e-5 : longest_pause_seconds;
    }
    ranks->broken = !collect(ranks, bytes, all, arrived);
    return !ranks->broken;
}

/* The memory of a byte that never changes may be read at any later time: nobody waits for a beat to be taken. */
void ranks_beat(struct ranks *ranks)
{
    if (ranks->size == 1 || !ranks->messages->beats)
        return;
    for (uint32_t distance = 1; distance < ranks->size; distance++) {
        MPI_Request request;
        int rank = (int)((ranks->rank + distance) % ranks->size);
        if (MPI_Isend(&beat, 1, MPI_BYTE, rank, TAG_BEAT, MPI_COMM_WORLD, &request) == MPI_SUCCESS)
            MPI_Request_free(&request);
    }
}

/* The library, and the end ------------------------------------------------------------------------------------------- */

enum vkring_status ranks_make_comm(struct ranks *ranks, vkring_comm **out_comm)
{
    *out_comm = NULL;
    return ranks->size > 1 ? vkring_comm_create_mpi_within(MPI_COMM_WORLD, ranks->timeout_seconds, out_comm) : VKRING_OK;
}

/* Messages that were given up in the library may keep MPI_Finalize waiting, and so may a peer that died just now. */
static void finalize(enum exit_status status)
{
    *late_line = '\0';
    if (status == EXIT_STATUS_DONE)
        snprintf(late_line, sizeof(late_line), "vkring: all is done, but not all ranks left MPI in %d seconds\n", FINALIZE_SECONDS);
    expect_within(FINALIZE_SECONDS, status);
    MPI_Finalize();
    alarm(0);
}

_Noreturn void ranks_finish(struct ranks *ranks, enum exit_status status)
{
    /* A launcher ends the others when the first of them leaves with a failure: each is to leave with its own status. */
    if (status != EXIT_STATUS_DONE && ranks->size > 1)
        signal(SIGTERM, SIG_IGN);
    fflush(NULL);
    if (ranks->broken)
        _exit((int)status);
    if (ranks->launched)
        finalize(status);
    messages_free(ranks->messages);
    exit((int)status);
}
