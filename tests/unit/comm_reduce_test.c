/* SPDX-License-Identifier: MIT */
/* Merging by trees over a table of functions: the same order every time, ragged owners, and every fault a status with a rank, in time. */
#include <base/clock.h>
#include <comm/comm.h>
#include <stdlib.h>
#include <string.h>

#include "../harness/suite.h"
#include "fake_transport.h"

static const struct fake_fault no_fault = {.rank = VKRING_NONE};

/* A deadline that is waited for, but longer than a busy machine keeps a thread off its cores. */
#define SHORT_SECONDS 0.5

enum { RECORD_WORDS = 25 };

struct record {
    uint32_t words[RECORD_WORDS];
};

/* What one rank, in its own thread, is to do and what it saw. */
struct rank_job {
    struct fake_network *network;
    uint32_t rank;
    uint64_t records[FAKE_MOST_RANKS]; /* of each owner */
    uint32_t rounds;
    double timeout_seconds;
    double late_seconds; /* how late rank 1 comes */
    bool stops;          /* takes part in what goes before the tree, and is silent then */
    enum vkring_status status, status_afterwards;
    bool right;
    struct vkring_error error;
    double seconds;
};

static uint32_t word_of(uint32_t rank, uint32_t owner, uint32_t round, uint64_t record, uint32_t word)
{
    return (uint32_t)(rank * 2654435761u + owner * 40503u + round * 97u + record * 31u + word * 7u + 1u);
}

/* Neither commutative nor associative: another order shows. */
static uint32_t mixed(uint32_t into, uint32_t from)
{
    return into * 3u + (from ^ (from >> 3)) * 5u + 1u;
}

static void merge(void *context, void *into, const void *from, uint64_t records)
{
    struct record *to = into;
    const struct record *other = from;
    (void)context;
    for (uint64_t r = 0; r < records; r++)
        for (int w = 0; w < RECORD_WORDS; w++)
            to[r].words[w] = mixed(to[r].words[w], other[r].words[w]);
}

/* By recursion, as the trees are not made: the first half, a power of two, takes the second. */
static uint32_t expected_word(uint32_t size, uint32_t first, uint32_t count, uint32_t owner, uint32_t round, uint64_t record, uint32_t word)
{
    uint32_t half = 1;
    if (count == 1)
        return word_of((owner + first) % size, owner, round, record, word);
    while (2 * half < count)
        half *= 2;
    return mixed(expected_word(size, first, half, owner, round, record, word),
                 expected_word(size, first + half, count - half, owner, round, record, word));
}

static uint64_t total_records(const struct rank_job *job, uint32_t owners)
{
    uint64_t total = 0;
    for (uint32_t owner = 0; owner < owners; owner++)
        total += job->records[owner];
    return total;
}

static bool is_right(const struct rank_job *job, const struct record *own, uint32_t round)
{
    for (uint64_t record = 0; record < job->records[job->rank]; record++)
        for (uint32_t word = 0; word < RECORD_WORDS; word++)
            if (own[record].words[word] != expected_word(job->network->size, 0, job->network->size, job->rank, round, record, word))
                return false;
    return true;
}

static enum vkring_status reduce_once(struct rank_job *job, vkring_comm *comm, uint32_t round)
{
    const uint32_t size = job->network->size;
    const uint64_t total = total_records(job, size);
    const struct comm_reduction reduction = {.record_bytes = sizeof(struct record), .records = job->records, .merge = merge};
    struct record *blocks = malloc((total + 1) * sizeof(*blocks)), *at = blocks;
    for (uint32_t owner = 0; owner < size; owner++)
        for (uint64_t record = 0; record < job->records[owner]; record++, at++)
            for (uint32_t word = 0; word < RECORD_WORDS; word++)
                at->words[word] = word_of(job->rank, owner, round, record, word);
    memset(at, 0x55, sizeof(*at));
    const enum vkring_status status = comm_reduce(comm, &reduction, blocks, job->timeout_seconds);
    if (status == VKRING_OK)
        job->right &= is_right(job, blocks + total_records(job, job->rank), round);
    job->right &= at->words[0] == 0x55555555u;
    free(blocks); /* what was given up must not touch it */
    return status;
}

static void *run_rank(void *argument)
{
    struct rank_job *job = argument;
    vkring_comm *comm = NULL;
    struct vkring_comm_functions table = fake_table(job->network, job->rank);
    job->right = vkring_comm_create(&table, &comm) == VKRING_OK;
    if (job->rank == 1)
        clock_sleep(job->late_seconds);
    const double start_seconds = clock_seconds();
    if (job->stops)
        job->status = comm_allgather(comm, NULL, 0, NULL, job->timeout_seconds);
    for (uint32_t round = 0; round < job->rounds && !job->stops && job->status == VKRING_OK; round++)
        job->status = reduce_once(job, comm, round);
    job->seconds = clock_seconds() - start_seconds;
    job->error = *vkring_last_error();
    if (job->status != VKRING_OK)
        job->status_afterwards = reduce_once(job, comm, 0);
    vkring_comm_destroy(&comm);
    return NULL;
}

struct network_run {
    struct fake_network network;
    struct rank_job jobs[FAKE_MOST_RANKS];
};

static void run_network(struct network_run *run, uint32_t size, struct fake_fault fault, const struct rank_job *model, uint32_t stopped,
                        uint32_t absent)
{
    pthread_t threads[FAKE_MOST_RANKS];
    fake_network_init(&run->network, size, fault);
    for (uint32_t rank = 0; rank < size; rank++) {
        run->jobs[rank] = *model;
        run->jobs[rank].network = &run->network;
        run->jobs[rank].rank = rank;
        run->jobs[rank].stops = rank == stopped;
        if (rank != absent)
            ck_assert_int_eq(pthread_create(&threads[rank], NULL, run_rank, &run->jobs[rank]), 0);
    }
    for (uint32_t rank = 0; rank < size; rank++)
        if (rank != absent)
            pthread_join(threads[rank], NULL);
    fake_network_finish(&run->network);
}

/* The rank failed, named `culprit`, and gave every request back. */
static void assert_failed(const struct network_run *run, uint32_t rank, uint32_t culprit)
{
    const struct rank_job *job = &run->jobs[rank];
    const bool is_of_peer = job->status == VKRING_ERROR_TIMEOUT || job->status == VKRING_ERROR_PEER;
    ck_assert_msg(is_of_peer, "rank %u: %s (%s)", rank, vkring_status_string(job->status), job->error.message);
    ck_assert_int_eq(job->error.status, job->status);
    ck_assert_msg(job->error.rank == culprit, "rank %u: %s", rank, job->error.message);
    ck_assert_int_eq(job->status_afterwards, VKRING_ERROR_COMM);
    ck_assert(job->right);
    ck_assert_uint_eq(run->network.ranks[rank].live_requests, 0);
}

/* One, none, some, and more than go in a message. */
static const struct rank_job ragged = {.records = {3, 0, 1, 6000, 17, 0, 2, 5}, .rounds = 2, .timeout_seconds = 20};

START_TEST(every_owner_gets_the_parts_of_all_in_order)
{
    const uint32_t sizes[] = {1, 2, 3, 4, 5, 7, 8};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct network_run run;
        run_network(&run, sizes[s], no_fault, &ragged, VKRING_NONE, VKRING_NONE);
        for (uint32_t rank = 0; rank < sizes[s]; rank++) {
            ck_assert_msg(run.jobs[rank].status == VKRING_OK, "%s", run.jobs[rank].error.message);
            ck_assert_msg(run.jobs[rank].right, "rank %u of %u", rank, sizes[s]);
            ck_assert_uint_eq(run.network.ranks[rank].live_requests, 0);
            ck_assert_uint_eq(run.network.ranks[rank].abandoned_requests, 0);
        }
    }
}
END_TEST

START_TEST(nothing_to_merge_is_merged)
{
    struct network_run run;
    run_network(&run, 3, no_fault, &(struct rank_job){.rounds = 2, .timeout_seconds = 20}, VKRING_NONE, VKRING_NONE);
    for (uint32_t rank = 0; rank < 3; rank++)
        ck_assert_msg(run.jobs[rank].status == VKRING_OK, "%s", run.jobs[rank].error.message);
}
END_TEST

static const struct rank_job impatient = {.records = {5, 5, 5, 5, 5, 5, 5}, .rounds = 1, .timeout_seconds = SHORT_SECONDS};

START_TEST(every_survivor_names_the_rank_that_stops_in_the_tree)
{
    for (uint32_t stopped = 0; stopped < 7; stopped++) {
        struct network_run run;
        run_network(&run, 7, no_fault, &impatient, stopped, VKRING_NONE);
        for (uint32_t rank = 0; rank < 7; rank++) {
            if (rank == stopped)
                continue;
            assert_failed(&run, rank, stopped);
            ck_assert(run.jobs[rank].seconds < SHORT_SECONDS + 1);
        }
    }
}
END_TEST

START_TEST(every_survivor_names_a_rank_that_never_came)
{
    struct network_run run;
    run_network(&run, 5, no_fault, &(struct rank_job){.records = {5, 0, 5}, .rounds = 1, .timeout_seconds = SHORT_SECONDS}, VKRING_NONE, 3);
    for (uint32_t rank = 0; rank < 5; rank++)
        if (rank != 3)
            assert_failed(&run, rank, 3);
}
END_TEST

START_TEST(a_rank_that_comes_late_is_waited_for)
{
    struct network_run run;
    run_network(&run, 5, no_fault, &(struct rank_job){.records = {5, 5, 5, 5, 5}, .rounds = 1, .timeout_seconds = 2, .late_seconds = 0.5},
                VKRING_NONE, VKRING_NONE);
    for (uint32_t rank = 0; rank < 5; rank++)
        ck_assert_msg(run.jobs[rank].status == VKRING_OK && run.jobs[rank].right, "rank %u: %s", rank, run.jobs[rank].error.message);
}
END_TEST

/* Of what goes before the tree a spoiled message is found by allgather; so rank 2 begins to spoil what it sends only in the tree. */
START_TEST(damaged_messages_name_their_sender_everywhere)
{
    const struct fake_fault fault = {.rank = 2, .kind = FAKE_FLIPPED, .good_sends = 4};
    struct network_run run;
    run_network(&run, 5, fault, &(struct rank_job){.records = {5, 5, 5, 5, 5}, .rounds = 1, .timeout_seconds = 5}, VKRING_NONE,
                VKRING_NONE);
    for (uint32_t rank = 0; rank < 5; rank++) {
        if (rank == 2)
            continue;
        ck_assert_msg(run.jobs[rank].error.rank == 2, "rank %u: %s", rank, run.jobs[rank].error.message);
        ck_assert_int_eq(run.jobs[rank].status, VKRING_ERROR_PEER);
        ck_assert_msg(run.jobs[rank].seconds < 1.5, "%g s", run.jobs[rank].seconds);
    }
}
END_TEST

START_TEST(short_and_long_messages_name_their_sender)
{
    struct network_run run;
    run_network(&run, 2, (struct fake_fault){.rank = 1, .kind = FAKE_SHORT, .good_sends = 1}, &impatient, VKRING_NONE, VKRING_NONE);
    assert_failed(&run, 0, 1);
    ck_assert_str_eq(run.jobs[0].error.message, "rank 1 sent 499 bytes to be merged where 500 were expected");
    run_network(&run, 2, (struct fake_fault){.rank = 1, .kind = FAKE_LONG, .good_sends = 1}, &impatient, VKRING_NONE, VKRING_NONE);
    assert_failed(&run, 0, 1);
}
END_TEST

/* Whose own device failed, say: it takes no part and says so. */
START_TEST(a_refusal_names_who_is_to_blame)
{
    struct network_run run;
    vkring_comm *comm = NULL;
    const uint64_t records[] = {1, 1};
    const struct comm_reduction reduction = {.record_bytes = sizeof(struct record), .records = records, .merge = merge};
    struct record blocks[2] = {{{0}}};
    fake_network_init(&run.network, 2, no_fault);
    const struct vkring_comm_functions tables[] = {fake_table(&run.network, 0), fake_table(&run.network, 1)};
    ck_assert_int_eq(vkring_comm_create(&tables[1], &comm), VKRING_OK);
    ck_assert_int_eq(comm_scratch_take(comm, 100), VKRING_OK);
    comm_refuse(comm, &(struct vkring_error){.status = VKRING_ERROR_DEVICE, .rank = 1});
    vkring_comm_destroy(&comm);
    ck_assert_int_eq(vkring_comm_create(&tables[0], &comm), VKRING_OK);
    ck_assert_int_eq(comm_reduce(comm, &reduction, blocks, 100), VKRING_ERROR_PEER);
    ck_assert_uint_eq(vkring_last_error()->rank, 1);
    vkring_comm_destroy(&comm);
    fake_network_finish(&run.network);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("comm-reduce");
    suite_add(suite, "order", every_owner_gets_the_parts_of_all_in_order);
    suite_add(suite, "order", nothing_to_merge_is_merged);
    suite_add(suite, "faults", every_survivor_names_the_rank_that_stops_in_the_tree);
    suite_add(suite, "faults", every_survivor_names_a_rank_that_never_came);
    suite_add(suite, "faults", a_rank_that_comes_late_is_waited_for);
    suite_add(suite, "faults", damaged_messages_name_their_sender_everywhere);
    suite_add(suite, "faults", short_and_long_messages_name_their_sender);
    suite_add(suite, "faults", a_refusal_names_who_is_to_blame);
    return suite_run(suite);
}
