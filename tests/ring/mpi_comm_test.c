/* SPDX-License-Identifier: MIT */
/*
 * The communicator over MPI, on any number of ranks that mpirun starts. Every rank runs the same tests in step. Each test duplicates the
 * world anew, so that what one leaves unfinished cannot reach another.
 */
#include <base/clock.h>
#include <comm/comm.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vkring/mpi.h>

#include "../harness/suite.h"
#include "world.h"

static uint32_t rank, ranks;
static const double patience_seconds = 60;

static vkring_comm *make_comm(void)
{
    vkring_comm *comm = NULL;
    enum vkring_status status = vkring_comm_create_mpi(MPI_COMM_WORLD, &comm);
    ck_assert_msg(status == VKRING_OK, "%s", vkring_last_error()->message);
    return comm;
}

/* Tests the request until it is done or fails; the deadline is this test's own. */
static enum vkring_status finish(vkring_comm *comm, void **request, uint32_t peer, uint64_t *out_bytes)
{
    struct comm_backoff backoff = {0};
    double start_seconds = clock_seconds();
    bool done = false;
    while (!done) {
        enum vkring_status status = comm_test(comm, request, peer, &done, out_bytes);
        if (status != VKRING_OK)
            return status;
        if (clock_seconds() - start_seconds > patience_seconds)
            return VKRING_ERROR_TIMEOUT;
        comm_backoff_pause(&backoff);
    }
    ck_assert_ptr_null(*request);
    return VKRING_OK;
}

START_TEST(a_duplicate_has_the_ranks_and_leaves_the_parent_alone)
{
    MPI_Errhandler handler;
    vkring_comm *comm = make_comm();
    ck_assert_uint_eq(vkring_comm_rank(comm), rank);
    ck_assert_uint_eq(vkring_comm_size(comm), ranks);
    MPI_Comm_get_errhandler(MPI_COMM_WORLD, &handler);
    ck_assert(handler == MPI_ERRORS_ARE_FATAL);
    MPI_Errhandler_free(&handler);
    vkring_comm_destroy(&comm);
    ck_assert_ptr_null(comm);
}
END_TEST

START_TEST(no_communicator_is_refused)
{
    vkring_comm *comm = NULL;
    ck_assert_int_eq(vkring_comm_create_mpi(MPI_COMM_NULL, &comm), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(comm);
}
END_TEST

START_TEST(an_intercommunicator_is_refused)
{
    MPI_Comm half, between;
    vkring_comm *comm = NULL;
    if (ranks < 2)
        return;
    MPI_Comm_split(MPI_COMM_WORLD, rank == 0, 0, &half);
    MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, rank == 0 ? 1 : 0, 1, &between);
    ck_assert_int_eq(vkring_comm_create_mpi(between, &comm), VKRING_ERROR_INVALID_ARGUMENT);
    MPI_Comm_free(&between);
    MPI_Comm_free(&half);
}
END_TEST

START_TEST(destroying_waits_for_nobody)
{
    vkring_comm *comm = make_comm();
    if (rank == 0)
        vkring_comm_destroy(&comm);
    MPI_Barrier(MPI_COMM_WORLD);
    vkring_comm_destroy(&comm);
}
END_TEST

static void add_words(void *context, void *into, const void *from, uint64_t records)
{
    uint32_t *sum = into;
    const uint32_t *part = from;
    (void)context;
    for (uint64_t i = 0; i < records; i++)
        sum[i] += part[i];
}

/* Rank r owns 30000 r + 1 words: messages of all sizes. */
START_TEST(every_owner_gets_the_sum_of_all_parts)
{
    uint64_t *records = calloc(ranks, sizeof(*records)), total = 0, first = 0;
    vkring_comm *comm = make_comm();
    for (uint32_t owner = 0; owner < ranks; owner++) {
        records[owner] = 30000 * owner + 1;
        first += owner < rank ? records[owner] : 0;
        total += records[owner];
    }
    uint32_t *words = calloc(total, sizeof(*words));
    const struct comm_reduction reduction = {.record_bytes = sizeof(*words), .records = records, .merge = add_words};
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < total; i++)
            words[i] = (uint32_t)i + (1u << 24) * rank;
        const enum vkring_status status = comm_reduce(comm, &reduction, words, patience_seconds);
        ck_assert_msg(status == VKRING_OK, "%s", vkring_last_error()->message);
        for (uint64_t i = first; i < first + records[rank]; i++)
            ck_assert_uint_eq(words[i], (uint32_t)i * ranks + (1u << 24) * (ranks * (ranks - 1) / 2));
    }
    free(words);
    free(records);
    vkring_comm_destroy(&comm);
}
END_TEST

static bool all_bytes_are(const unsigned char *data, uint64_t bytes, unsigned char value)
{
    for (uint64_t i = 0; i < bytes; i++)
        if (data[i] != value)
            return false;
    return true;
}

START_TEST(all_ranks_get_all_blocks)
{
    const uint64_t sizes[] = {0, 1, 8, 4096, 65536, 65537, 1000000};
    vkring_comm *comm = make_comm();
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        uint64_t bytes = sizes[s];
        unsigned char *mine = malloc(bytes + 1), *all = malloc(bytes * ranks + 1);
        memset(mine, (int)(rank * 7 + s), bytes);
        enum vkring_status status = comm_allgather(comm, mine, bytes, all, patience_seconds);
        ck_assert_msg(status == VKRING_OK, "%s", vkring_last_error()->message);
        for (uint32_t peer = 0; peer < ranks; peer++)
            ck_assert(all_bytes_are(all + peer * bytes, bytes, (unsigned char)(peer * 7 + s)));
        free(mine);
        free(all);
    }
    vkring_comm_destroy(&comm);
}
END_TEST

/* Of several messages, of one, or nothing. */
static uint64_t share_bytes(uint32_t from, uint32_t to)
{
    return 45000 * (uint64_t)((2 * from + 3 * to) % 5);
}

static unsigned char share_value(uint32_t from, uint32_t to)
{
    return (unsigned char)(1 + 16 * from + to);
}

START_TEST(every_rank_gets_its_share_of_what_each_gives)
{
    uint64_t *given = calloc(ranks + 1, sizeof(*given)), *got = calloc(ranks + 1, sizeof(*got)), most = 0, sent = 0;
    vkring_comm *comm = make_comm();
    struct comm_gather gather;
    for (uint32_t peer = 0; peer < ranks; peer++) {
        given[peer + 1] = given[peer] + share_bytes(rank, peer);
        got[peer + 1] = got[peer] + share_bytes(peer, rank);
        for (uint32_t other = 0; other < ranks; other++)
            most = other != peer && share_bytes(peer, other) > most ? share_bytes(peer, other) : most;
        sent += peer == rank ? 0 : share_bytes(rank, peer);
    }
    unsigned char *mine = malloc(given[ranks] + 1);
    for (uint32_t peer = 0; peer < ranks; peer++)
        memset(mine + given[peer], share_value(rank, peer), given[peer + 1] - given[peer]);
    const struct comm_shares shares = {given, got, most};
    for (int round = 0; round < 2; round++) {
        const uint64_t before = comm->sent_bytes;
        enum vkring_status status = comm_exchange_start(comm, mine, &shares, &gather);
        if (status == VKRING_OK)
            status = comm_gather_wait(&gather, patience_seconds);
        ck_assert_msg(status == VKRING_OK, "%s", vkring_last_error()->message);
        const unsigned char *all = comm_gather_blocks(&gather);
        for (uint32_t peer = 0; peer < ranks; peer++)
            ck_assert(all_bytes_are(all + got[peer], got[peer + 1] - got[peer], share_value(peer, rank)));
        const uint64_t seals = comm->sent_bytes - before - sent;
        ck_assert_msg(seals <= 3 * (uint64_t)(ranks - 1) * COMM_REFUSAL_BYTES, "%llu bytes beside the shares", (unsigned long long)seals);
    }
    free(mine);
    free(given);
    free(got);
    vkring_comm_destroy(&comm);
}
END_TEST

START_TEST(messages_around_the_ring_keep_order_and_length)
{
    enum { MESSAGES = 4, MOST = 8 << 20 };
    const uint64_t bytes[MESSAGES] = {MOST, 0, 5, 100000};
    vkring_comm *comm = make_comm();
    uint32_t right = (rank + 1) % ranks, left = (rank + ranks - 1) % ranks;
    void *sends[MESSAGES], *receives[MESSAGES];
    unsigned char *out[MESSAGES], *in[MESSAGES];
    for (int m = 0; m < MESSAGES; m++) {
        in[m] = malloc(MOST);
        out[m] = malloc(MOST);
        memset(out[m], (int)(rank * 16) + m, MOST);
        ck_assert_int_eq(comm_receive(comm, in[m], MOST, left, COMM_TAG_PACKET, &receives[m]), VKRING_OK);
    }
    for (int m = 0; m < MESSAGES; m++)
        ck_assert_int_eq(comm_send(comm, out[m], bytes[m], right, COMM_TAG_PACKET, &sends[m]), VKRING_OK);
    for (int m = 0; m < MESSAGES; m++) {
        uint64_t got = UINT64_MAX;
        ck_assert_int_eq(finish(comm, &receives[m], left, &got), VKRING_OK);
        ck_assert_uint_eq(got, bytes[m]);
        ck_assert(all_bytes_are(in[m], got, (unsigned char)(left * 16 + (uint32_t)m)));
        ck_assert_int_eq(finish(comm, &sends[m], right, &got), VKRING_OK);
        free(in[m]);
        free(out[m]);
    }
    vkring_comm_destroy(&comm);
}
END_TEST

START_TEST(requests_are_used_again)
{
    vkring_comm *comm = make_comm();
    void *requests[2], *first[2] = {NULL};
    uint64_t bytes;
    char in, out = 'x';
    for (int round = 0; round < 10; round++) {
        ck_assert_int_eq(comm_receive(comm, &in, 1, rank, COMM_TAG_PACKET, &requests[0]), VKRING_OK);
        ck_assert_int_eq(comm_send(comm, &out, 1, rank, COMM_TAG_PACKET, &requests[1]), VKRING_OK);
        if (round == 0)
            memcpy(first, requests, sizeof(first));
        ck_assert(requests[0] == first[0] && requests[1] == first[1]);
        ck_assert_int_eq(finish(comm, &requests[1], rank, &bytes), VKRING_OK);
        ck_assert_int_eq(finish(comm, &requests[0], rank, &bytes), VKRING_OK);
    }
    vkring_comm_destroy(&comm);
}
END_TEST

START_TEST(a_message_too_long_names_its_sender)
{
    char buffer[200] = {0};
    void *request = NULL;
    uint64_t bytes;
    void *receive = NULL;
    if (ranks < 2) /* Open MPI 4.1 does not tell of messages to oneself */
        return;
    vkring_comm *comm = make_comm();
    uint32_t right = (rank + 1) % ranks, left = (rank + ranks - 1) % ranks;
    ck_assert_int_eq(comm_receive(comm, buffer, 50, left, COMM_TAG_PACKET, &receive), VKRING_OK);
    ck_assert_int_eq(comm_send(comm, buffer + 50, 100, right, COMM_TAG_PACKET, &request), VKRING_OK);
    ck_assert_int_eq(finish(comm, &receive, left, &bytes), VKRING_ERROR_PEER);
    ck_assert_uint_eq(vkring_last_error()->rank, left);
    ck_assert_ptr_nonnull(strstr(vkring_last_error()->message, "longer than expected"));
    ck_assert_ptr_null(receive);
    comm_abandon(comm, &request);
    vkring_comm_destroy(&comm);
}
END_TEST

START_TEST(a_message_too_large_for_mpi_is_refused)
{
    char byte = 0;
    void *request = NULL;
    vkring_comm *comm = make_comm();
    ck_assert_int_eq(comm_send(comm, &byte, (uint64_t)INT_MAX + 1, rank, COMM_TAG_PACKET, &request), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(comm_receive(comm, &byte, UINT64_MAX, rank, COMM_TAG_PACKET, &request), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(request);
    vkring_comm_destroy(&comm);
}
END_TEST

START_TEST(an_mpi_error_comes_with_its_text)
{
    char byte = 0;
    void *request = NULL;
    vkring_comm *comm = make_comm();
    ck_assert_int_eq(comm_send(comm, &byte, 1, ranks + 5, COMM_TAG_PACKET, &request), VKRING_ERROR_COMM);
    ck_assert_ptr_null(request);
    ck_assert_msg(strstr(vkring_last_error()->message, "MPI_Isend") && strstr(vkring_last_error()->message, "rank"), "%s",
                  vkring_last_error()->message);
    vkring_comm_destroy(&comm);
}
END_TEST

/* Stays, since MPI keeps a message that was given up. */
static unsigned char big[32 << 20];

/* What a rank that was stopped does when it goes on: it answers, too late. */
static void answer_late(vkring_comm *comm)
{
    char answer = 'x';
    for (uint32_t peer = 0; peer + 1 < ranks; peer++) {
        void *request;
        uint64_t bytes;
        ck_assert_int_eq(comm_send(comm, &answer, 1, peer, COMM_TAG_PACKET, &request), VKRING_OK);
        ck_assert_int_eq(finish(comm, &request, peer, &bytes), VKRING_OK);
    }
}

static void gather_without(vkring_comm *comm, uint32_t silent)
{
    unsigned char block[5] = {0}, *all = malloc(sizeof(block) * ranks);
    double start_seconds = clock_seconds();
    enum vkring_status status = comm_allgather(comm, block, sizeof(block), all, 1);
    double seconds = clock_seconds() - start_seconds;
    ck_assert_int_eq(status, VKRING_ERROR_TIMEOUT);
    ck_assert_uint_eq(vkring_last_error()->rank, silent);
    ck_assert_msg(seconds >= 1 && seconds < 2, "%g s", seconds);
    free(all);
}

/* Gives up a message each way that is not done. */
static void give_up(vkring_comm *comm, uint32_t silent, unsigned char *late)
{
    void *send, *receive;
    uint64_t bytes;
    bool done;
    ck_assert_int_eq(comm_send(comm, big, sizeof(big), silent, COMM_TAG_PACKET, &send), VKRING_OK);
    ck_assert_int_eq(comm_receive(comm, late, 1, silent, COMM_TAG_PACKET, &receive), VKRING_OK);
    ck_assert_int_eq(comm_test(comm, &send, silent, &done, &bytes), VKRING_OK);
    ck_assert(!done);
    ck_assert_int_eq(comm_test(comm, &receive, silent, &done, &bytes), VKRING_OK);
    ck_assert(!done);
    comm_abandon(comm, &send);
    comm_abandon(comm, &receive);
    ck_assert_int_eq(comm_receive(comm, late, 1, silent, COMM_TAG_PACKET, &receive), VKRING_ERROR_COMM);
}

static void destroy_at_once(vkring_comm **comm)
{
    double start_seconds = clock_seconds();
    vkring_comm_destroy(comm);
    ck_assert(clock_seconds() - start_seconds < 0.5);
}

START_TEST(a_stopped_rank_is_named_in_time_and_its_late_answer_touches_nothing)
{
    const uint32_t silent = ranks - 1;
    long process = (long)getpid();
    unsigned char late = 0x55;
    MPI_Comm survivors;
    if (ranks < 2)
        return;
    vkring_comm *gathering = make_comm(), *direct = make_comm();
    MPI_Comm_split(MPI_COMM_WORLD, rank == silent, 0, &survivors);
    MPI_Bcast(&process, 1, MPI_LONG, (int)silent, MPI_COMM_WORLD);
    if (rank == silent) {
        raise(SIGSTOP);
        answer_late(direct);
    } else {
        ck_assert(world_sees_stop(process));
        gather_without(gathering, silent);
        give_up(direct, silent, &late);
        destroy_at_once(&gathering);
        MPI_Barrier(survivors);
        if (rank == 0)
            kill((pid_t)process, SIGCONT);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    clock_sleep(0.2);
    ck_assert_uint_eq(late, 0x55);
    destroy_at_once(&direct);
    vkring_comm_destroy(&gathering);
    MPI_Comm_free(&survivors);

    /* and another communicator works */
    vkring_comm *next = make_comm();
    unsigned char block = (unsigned char)rank, *all = calloc(ranks, 1);
    ck_assert_int_eq(comm_allgather(next, &block, 1, all, patience_seconds), VKRING_OK);
    ck_assert_uint_eq(all[silent], silent);
    free(all);
    vkring_comm_destroy(&next);
}
END_TEST

static enum vkring_status gather_ranks(vkring_comm *comm)
{
    unsigned char block = (unsigned char)rank, *all = calloc(ranks, 1);
    enum vkring_status status = comm_allgather(comm, &block, 1, all, patience_seconds);
    free(all);
    return status;
}

/* A refusal of rank 0 comes when the others, which wait for nothing, have destroyed their communicator and make another. */
START_TEST(what_one_communicator_leaves_does_not_reach_the_next)
{
    const struct vkring_error error = {.status = VKRING_ERROR_COMM, .rank = 0};
    vkring_comm *comm = make_comm();
    ck_assert_int_eq(gather_ranks(comm), VKRING_OK);
    if (rank == 0) {
        clock_sleep(0.1);
        comm_refuse(comm, &error);
    }
    vkring_comm_destroy(&comm);
    comm = make_comm();
    for (int i = 0; i < 3; i++)
        ck_assert_msg(gather_ranks(comm) == VKRING_OK, "%s", vkring_last_error()->message);
    vkring_comm_destroy(&comm);
}
END_TEST

static bool is_refused(void)
{
    vkring_comm *comm = NULL;
    return vkring_comm_create_mpi(MPI_COMM_WORLD, &comm) == VKRING_ERROR_INVALID_ARGUMENT;
}

int main(int argc, char **argv)
{
    const bool refused_before = is_refused();
    int provided, number;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &number);
    rank = (uint32_t)number;
    MPI_Comm_size(MPI_COMM_WORLD, &number);
    ranks = (uint32_t)number;

    Suite *suite = suite_create("mpi_comm");
    suite_add(suite, "create", a_duplicate_has_the_ranks_and_leaves_the_parent_alone);
    suite_add(suite, "create", no_communicator_is_refused);
    suite_add(suite, "create", an_intercommunicator_is_refused);
    suite_add(suite, "create", destroying_waits_for_nobody);
    suite_add(suite, "messages", all_ranks_get_all_blocks);
    suite_add(suite, "messages", every_rank_gets_its_share_of_what_each_gives);
    suite_add(suite, "messages", every_owner_gets_the_sum_of_all_parts);
    suite_add(suite, "messages", messages_around_the_ring_keep_order_and_length);
    suite_add(suite, "messages", requests_are_used_again);
    suite_add(suite, "faults", a_message_too_long_names_its_sender);
    suite_add(suite, "faults", a_message_too_large_for_mpi_is_refused);
    suite_add(suite, "faults", an_mpi_error_comes_with_its_text);
    suite_add(suite, "faults", a_stopped_rank_is_named_in_time_and_its_late_answer_touches_nothing);
    suite_add(suite, "faults", what_one_communicator_leaves_does_not_reach_the_next);
    int status = suite_run(suite);

    vkring_comm *outliving = NULL;
    vkring_comm_create_mpi(MPI_COMM_SELF, &outliving);
    MPI_Finalize();
    vkring_comm_destroy(&outliving);
    if (!refused_before || !is_refused()) {
        fprintf(stderr, "a communicator without MPI was not refused\n");
        return EXIT_FAILURE;
    }
    return status;
}
