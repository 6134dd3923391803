/* SPDX-License-Identifier: MIT */
#include "shared_clock.h"

#include <math.h>
#include <mpi.h>
#include <sched.h>
#include <stdlib.h>

#include "now.h"

enum { TAG_QUESTION = 11, TAG_ANSWER = 12 };

#define ROUNDS 32
/* Sleeping would make a round trip longer; a rank that comes late is not waited for in this way for long. */
#define YIELDING_ROUNDS 2000
static const double pause_seconds = 1e-4;

/* MPI's to write to once a message was given up. */
struct exchange {
    double question, answer;
};

static bool finish(MPI_Request *request, double patience_seconds)
{
    const double start = now_seconds();
    for (uint32_t round = 0;; round++) {
        int done = 0;
        if (MPI_Test(request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS)
            return false;
        if (done)
            return true;
        if (now_seconds() - start > patience_seconds)
            return false;
        if (round < YIELDING_ROUNDS)
            sched_yield();
        else
            sleep_seconds(pause_seconds);
    }
}

static bool send(double *value, uint32_t rank, int tag, double patience_seconds)
{
    MPI_Request request;
    return MPI_Isend(value, 1, MPI_DOUBLE, (int)rank, tag, MPI_COMM_WORLD, &request) == MPI_SUCCESS && finish(&request, patience_seconds);
}

static bool receive(double *value, uint32_t rank, int tag, double patience_seconds)
{
    MPI_Request request;
    return MPI_Irecv(value, 1, MPI_DOUBLE, (int)rank, tag, MPI_COMM_WORLD, &request) == MPI_SUCCESS && finish(&request, patience_seconds);
}

/* One rank after another, so that none is in another's way. */
static bool answer_all(struct ranks *ranks, struct exchange *exchange)
{
    const double patience = ranks->timeout_seconds;
    for (uint32_t rank = 1; rank < ranks->size; rank++) {
        for (int round = 0; round < ROUNDS; round++) {
            if (!receive(&exchange->question, rank, TAG_QUESTION, patience))
                return false;
            exchange->answer = now_seconds();
            if (!send(&exchange->answer, rank, TAG_ANSWER, patience))
                return false;
        }
    }
    return true;
}

static bool ask(struct ranks *ranks, struct exchange *exchange, struct shared_clock *clock)
{
    const double patience = ranks->timeout_seconds * ranks->rank; /* those before take their turns */
    for (int round = 0; round < ROUNDS; round++) {
        const double asked = now_seconds();
        if (!send(&exchange->question, 0, TAG_QUESTION, patience) || !receive(&exchange->answer, 0, TAG_ANSWER, patience))
            return false;
        const double answered = now_seconds(), uncertainty = (answered - asked) / 2;
        if (uncertainty < clock->uncertainty_seconds)
            *clock = (struct shared_clock){exchange->answer - (asked + answered) / 2, uncertainty};
    }
    return true;
}

void shared_clock_measure(struct ranks *ranks, struct shared_clock *out_clock)
{
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    *out_clock = (struct shared_clock){.uncertainty_seconds = ranks->rank == 0 ? 0 : INFINITY};
    const bool finished =
        !exchange || ranks->size == 1 || (ranks->rank == 0 ? answer_all(ranks, exchange) : ask(ranks, exchange, out_clock));
    if (finished)
        free(exchange);
}
