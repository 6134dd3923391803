/* SPDX-License-Identifier: MIT */
/* Messages over a table of functions: gathering at many sizes, and every fault a status with a rank, in time. */
#include <base/clock.h>
#include <comm/comm.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../harness/suite.h"
#include "fake_transport.h"

static const struct fake_fault no_fault = {.rank = VKRING_NONE};

/* Deadlines: of who waits for it, but longer than a busy machine keeps a thread off its cores; and of who needs none. */
static const double short_seconds = 0.5, long_seconds = 20;

/* What one rank, in its own thread, is to do and what it saw. */
struct rank_job {
    struct fake_network *network;
    uint32_t rank;
    uint64_t bytes;
    uint32_t rounds;
    double timeout_seconds;
    double stagger_seconds; /* how much later than the rank before it a rank begins */
    bool silent;
    enum vkring_status status;
    enum vkring_status status_afterwards; /* of one more allgather */
    bool right;
    struct vkring_error error;
    double seconds;
};

static unsigned char byte_of(uint32_t rank, uint32_t round, uint64_t i)
{
    return (unsigned char)(rank * 89 + round * 17 + i * 7 + i / 256);
}

static bool is_right(const unsigned char *all, uint32_t size, uint64_t bytes, uint32_t round)
{
    for (uint32_t rank = 0; rank < size; rank++)
        for (uint64_t i = 0; i < bytes; i++)
            if (all[rank * bytes + i] != byte_of(rank, round, i))
                return false;
    return true;
}

static enum vkring_status gather_once(struct rank_job *job, vkring_comm *comm, uint32_t round)
{
    const uint32_t size = job->network->size;
    unsigned char *mine = malloc(job->bytes + 1);
    unsigned char *all = malloc(size * job->bytes + 1);
    for (uint64_t i = 0; i < job->bytes; i++)
        mine[i] = byte_of(job->rank, round, i);
    memset(all, 0x55, size * job->bytes + 1);
    enum vkring_status status = comm_allgather(comm, mine, job->bytes, all, job->timeout_seconds);
    if (status == VKRING_OK)
        job->right &= is_right(all, size, job->bytes, round);
    else
        job->right &= all[0] == 0x55 && all[size * job->bytes / 2] == 0x55; /* untouched */
    job->right &= all[size * job->bytes] == 0x55;
    free(mine); /* what was given up must not touch these */
    free(all);
    return status;
}

static void *run_rank(void *argument)
{
    struct rank_job *job = argument;
    vkring_comm *comm = NULL;
    struct vkring_comm_functions table = fake_table(job->network, job->rank);
    job->right = vkring_comm_create(&table, &comm) == VKRING_OK;
    clock_sleep(job->stagger_seconds * job->rank);
    double start_seconds = clock_seconds();
    for (uint32_t round = 0; round < job->rounds && job->status == VKRING_OK; round++)
        job->status = gather_once(job, comm, round);
    job->seconds = clock_seconds() - start_seconds;
    job->error = *vkring_last_error();
    if (job->status != VKRING_OK)
        job->status_afterwards = gather_once(job, comm, 0);
    vkring_comm_destroy(&comm);
    return NULL;
}

struct network_run {
    struct fake_network network;
    struct rank_job jobs[FAKE_MOST_RANKS];
};

static void run_network(struct network_run *run, uint32_t size, struct fake_fault fault, const struct rank_job *model, uint32_t silent)
{
    pthread_t threads[FAKE_MOST_RANKS];
    fake_network_init(&run->network, size, fault);
    for (uint32_t rank = 0; rank < size; rank++) {
        run->jobs[rank] = *model;
        run->jobs[rank].network = &run->network;
        run->jobs[rank].rank = rank;
        run->jobs[rank].silent = rank == silent;
        if (!run->jobs[rank].silent)
            ck_assert_int_eq(pthread_create(&threads[rank], NULL, run_rank, &run->jobs[rank]), 0);
    }
    for (uint32_t rank = 0; rank < size; rank++)
        if (!run->jobs[rank].silent)
            pthread_join(threads[rank], NULL);
    fake_network_finish(&run->network);
}

/* Every live rank ended with status, named `culprit`, kept its outputs whole and gave every request back. */
static void assert_failed(const struct network_run *run, uint32_t rank, enum vkring_status status, uint32_t culprit)
{
    const struct rank_job *job = &run->jobs[rank];
    ck_assert_msg(job->status == status, "rank %u: %s (%s)", rank, vkring_status_string(job->status), job->error.message);
    ck_assert_int_eq(job->error.status, status);
    ck_assert_msg(job->error.rank == culprit, "rank %u: %s", rank, job->error.message);
    ck_assert(job->right);
    ck_assert_int_eq(job->status_afterwards, VKRING_ERROR_COMM);
    ck_assert_uint_eq(run->network.ranks[rank].live_requests, 0);
}

START_TEST(all_ranks_get_all_blocks)
{
    const uint32_t sizes[] = {1, 2, 3, 5, 8};
    const uint64_t bytes[] = {0, 1, 8, 1000, 65536, 65537, 200000};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        for (size_t b = 0; b < sizeof(bytes) / sizeof(bytes[0]); b++) {
            struct network_run run;
            run_network(&run, sizes[s], no_fault, &(struct rank_job){.bytes = bytes[b], .rounds = 3, .timeout_seconds = 20}, VKRING_NONE);
            for (uint32_t rank = 0; rank < sizes[s]; rank++) {
                ck_assert_msg(run.jobs[rank].status == VKRING_OK, "%s", run.jobs[rank].error.message);
                ck_assert(run.jobs[rank].right);
                ck_assert_uint_eq(run.network.ranks[rank].live_requests, 0);
                ck_assert_uint_eq(run.network.ranks[rank].abandoned_requests, 0);
            }
        }
    }
}
END_TEST

START_TEST(every_survivor_names_the_silent_rank_in_time)
{
    for (uint32_t silent = 0; silent < 5; silent++) {
        struct network_run run;
        run_network(&run, 5, no_fault, &(struct rank_job){.bytes = 100, .rounds = 1, .timeout_seconds = short_seconds}, silent);
        for (uint32_t rank = 0; rank < 5; rank++) {
            if (rank == silent)
                continue;
            assert_failed(&run, rank, VKRING_ERROR_TIMEOUT, silent);
            ck_assert(run.jobs[rank].seconds >= short_seconds && run.jobs[rank].seconds < short_seconds + 1);
            ck_assert_uint_eq(run.network.ranks[rank].abandoned_requests, 1);
        }
    }
}
END_TEST

START_TEST(a_rank_that_takes_nothing_is_named)
{
    struct network_run run;
    run_network(&run, 3, (struct fake_fault){.rank = 1, .kind = FAKE_NEVER_TAKEN},
                &(struct rank_job){.bytes = 100, .rounds = 1, .timeout_seconds = short_seconds}, VKRING_NONE);
    assert_failed(&run, 0, VKRING_ERROR_TIMEOUT, 1);
    assert_failed(&run, 2, VKRING_ERROR_TIMEOUT, 1);
    ck_assert_ptr_nonnull(strstr(run.jobs[0].error.message, "took nothing"));
    ck_assert_int_eq(run.jobs[1].status, VKRING_OK);
}
END_TEST

START_TEST(several_silent_ranks_are_counted)
{
    struct network_run run;
    run_network(&run, 3, (struct fake_fault){.rank = 2, .kind = FAKE_LOST},
                &(struct rank_job){.bytes = 8, .rounds = 1, .timeout_seconds = short_seconds}, 1);
    assert_failed(&run, 0, VKRING_ERROR_TIMEOUT, 1);
    ck_assert_str_eq(run.jobs[0].error.message, "rank 1 and 1 others sent nothing for 0.5 seconds");
    assert_failed(&run, 2, VKRING_ERROR_TIMEOUT, 1);
}
END_TEST

START_TEST(progress_moves_the_deadline)
{
    /* 6 messages, each 0.2 s late: longer in all than the deadline, shorter each */
    struct network_run run;
    run_network(&run, 2, (struct fake_fault){.rank = 1, .kind = FAKE_LATE, .seconds = 0.2},
                &(struct rank_job){.bytes = 6 * 65536, .rounds = 1, .timeout_seconds = 1}, VKRING_NONE);
    for (uint32_t rank = 0; rank < 2; rank++) {
        ck_assert_msg(run.jobs[rank].status == VKRING_OK, "%s", run.jobs[rank].error.message);
        ck_assert(run.jobs[rank].right);
    }
    ck_assert(run.jobs[0].seconds > 1.1);
}
END_TEST

START_TEST(ranks_that_come_one_after_another_are_waited_for)
{
    struct network_run run;
    run_network(&run, 6, no_fault, &(struct rank_job){.bytes = 8, .rounds = 1, .timeout_seconds = 1.5, .stagger_seconds = 0.4},
                VKRING_NONE);
    for (uint32_t rank = 0; rank < 6; rank++)
        ck_assert_msg(run.jobs[rank].status == VKRING_OK, "rank %u: %s", rank, run.jobs[rank].error.message);
    ck_assert(run.jobs[0].seconds > 1.9);
}
END_TEST

START_TEST(messages_of_the_wrong_length_name_their_sender)
{
    struct network_run run;
    run_network(&run, 3, (struct fake_fault){.rank = 2, .kind = FAKE_SHORT},
                &(struct rank_job){.bytes = 100, .rounds = 1, .timeout_seconds = long_seconds}, VKRING_NONE);
    assert_failed(&run, 0, VKRING_ERROR_PEER, 2);
    assert_failed(&run, 1, VKRING_ERROR_PEER, 2);
    ck_assert_str_eq(run.jobs[0].error.message, "rank 2 sent 99 bytes where 100 were expected");

    run_network(&run, 3, (struct fake_fault){.rank = 2, .kind = FAKE_LONG},
                &(struct rank_job){.bytes = 100, .rounds = 1, .timeout_seconds = long_seconds}, VKRING_NONE);
    assert_failed(&run, 0, VKRING_ERROR_PEER, 2);
    assert_failed(&run, 1, VKRING_ERROR_PEER, 2);
}
END_TEST

START_TEST(damaged_and_repeated_messages_name_their_sender)
{
    struct network_run run;
    run_network(&run, 3, (struct fake_fault){.rank = 2, .kind = FAKE_FLIPPED},
                &(struct rank_job){.bytes = 100, .rounds = 1, .timeout_seconds = long_seconds}, VKRING_NONE);
    assert_failed(&run, 0, VKRING_ERROR_PEER, 2);
    assert_failed(&run, 1, VKRING_ERROR_PEER, 2);

    run_network(&run, 3, (struct fake_fault){.rank = 2, .kind = FAKE_TWICE},
                &(struct rank_job){.bytes = 100, .rounds = 2, .timeout_seconds = long_seconds}, VKRING_NONE);
    assert_failed(&run, 0, VKRING_ERROR_PEER, 2);
    assert_failed(&run, 1, VKRING_ERROR_PEER, 2);
}
END_TEST

/* Rank 1 is alone in the first round, gives up, and says so: rank 0, which comes later, has its message, and then its word. */
START_TEST(a_rank_that_gives_up_tells_the_others)
{
    struct network_run run;
    struct vkring_comm_functions table;
    vkring_comm *comm = NULL;
    unsigned char mine = 0, all[2];
    fake_network_init(&run.network, 2, no_fault);
    for (uint32_t rank = 2; rank-- > 0;) {
        table = fake_table(&run.network, rank);
        ck_assert_int_eq(vkring_comm_create(&table, &comm), VKRING_OK);
        if (rank == 1) {
            ck_assert_int_eq(comm_allgather(comm, &mine, 1, all, 0), VKRING_ERROR_TIMEOUT);
        } else {
            ck_assert_int_eq(comm_allgather(comm, &mine, 1, all, 100), VKRING_OK);
            ck_assert_int_eq(comm_allgather(comm, &mine, 1, all, 100), VKRING_ERROR_PEER);
            ck_assert_uint_eq(vkring_last_error()->rank, 0); /* was silent when rank 1 came */
        }
        vkring_comm_destroy(&comm);
    }
    fake_network_finish(&run.network);
}
END_TEST

/* Also where it has gathered nothing before. */
START_TEST(a_rank_without_memory_tells_the_others)
{
    struct fake_network network;
    struct vkring_comm_functions table;
    vkring_comm *comm = NULL;
    unsigned char mine = 0, all[2];
    fake_network_init(&network, 2, no_fault);
    for (uint32_t rank = 2; rank-- > 0;) {
        table = fake_table(&network, rank);
        ck_assert_int_eq(vkring_comm_create(&table, &comm), VKRING_OK);
        if (rank == 1) {
            ck_assert_int_eq(comm_allgather(comm, &mine, UINT64_MAX / 2, all, 1), VKRING_ERROR_OUT_OF_HOST_MEMORY);
            ck_assert_int_eq(comm_allgather(comm, &mine, 1, all, 1), VKRING_ERROR_COMM);
        } else {
            ck_assert_int_eq(comm_allgather(comm, &mine, 1, all, 1), VKRING_ERROR_PEER);
            ck_assert_uint_eq(vkring_last_error()->rank, 1);
        }
        vkring_comm_destroy(&comm);
    }
    fake_network_finish(&network);
}
END_TEST

START_TEST(failures_of_the_table_reach_the_last_error)
{
    const struct {
        struct fake_fault fault;
        const char *message;
        uint32_t rank;
    } cases[] = {
        {{.rank = 0, .kind = FAKE_SEND_FAILS}, "failed to start a send with rank 1", 1},
        {{.rank = 0, .kind = FAKE_TEST_FAILS}, "failed to finish a message with rank 1", 1},
        {{.rank = 0, .kind = FAKE_NULL_REQUEST}, "null request", VKRING_NONE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct network_run run;
        run_network(&run, 2, cases[i].fault, &(struct rank_job){.bytes = 8, .rounds = 1, .timeout_seconds = 0.1}, VKRING_NONE);
        assert_failed(&run, 0, VKRING_ERROR_COMM, cases[i].rank);
        ck_assert_msg(strstr(run.jobs[0].error.message, cases[i].message) != NULL, "%s", run.jobs[0].error.message);
    }
}
END_TEST

START_TEST(incomplete_tables_are_refused)
{
    struct fake_network network;
    vkring_comm *comm = NULL;
    fake_network_init(&network, 2, no_fault);
    const struct vkring_comm_functions whole = fake_table(&network, 1);
    struct vkring_comm_functions tables[] = {whole, whole, whole, whole, whole, whole};
    tables[0].send = NULL;
    tables[1].receive = NULL;
    tables[2].test = NULL;
    tables[3].abandon = NULL;
    tables[4].rank = 2;
    tables[5].size = 0;
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(vkring_comm_create(&tables[i], &comm), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(vkring_comm_create(NULL, &comm), VKRING_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(comm);

    struct vkring_comm_functions without_destroy = whole;
    without_destroy.destroy = NULL;
    ck_assert_int_eq(vkring_comm_create(&without_destroy, &comm), VKRING_OK);
    ck_assert_uint_eq(vkring_comm_rank(comm), 1);
    ck_assert_uint_eq(vkring_comm_size(comm), 2);
    vkring_comm_destroy(&comm);
    ck_assert_ptr_null(comm);
    vkring_comm_destroy(&comm);
    vkring_comm_destroy(NULL);
    fake_network_finish(&network);
}
END_TEST

START_TEST(a_block_too_large_for_memory_is_refused)
{
    struct fake_network network;
    vkring_comm *comm = NULL;
    char byte = 0;
    fake_network_init(&network, 2, no_fault);
    struct vkring_comm_functions table = fake_table(&network, 0);
    for (uint64_t more = 0; more < 2; more++) {
        ck_assert_int_eq(vkring_comm_create(&table, &comm), VKRING_OK);
        ck_assert_int_eq(comm_allgather(comm, &byte, UINT64_MAX / 2 + more, &byte, 1), VKRING_ERROR_OUT_OF_HOST_MEMORY);
        vkring_comm_destroy(&comm);
    }
    fake_network_finish(&network);
}
END_TEST

/* Of this process; how long the machine keeps it off a core is not its doing. */
static double processor_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* The least of some tries: what else the core did meanwhile may be counted in. */
static double least_seconds_of_first_pauses(void)
{
    double least = 1;
    for (int attempt = 0; attempt < 20; attempt++) {
        struct comm_backoff backoff = {0};
        const double before = processor_seconds();
        for (int i = 0; i < 50; i++)
            comm_backoff_pause(&backoff);
        const double seconds = processor_seconds() - before;
        least = seconds < least ? seconds : least;
    }
    return least;
}

START_TEST(pauses_start_at_nothing_and_stay_short)
{
    struct comm_backoff backoff = {0};
    double longest = 0;
    for (int i = 0; i < 50; i++)
        ck_assert_double_eq(comm_backoff_next(&backoff), 0);
    for (int i = 0; i < 2000; i++) {
        const double seconds = comm_backoff_next(&backoff);
        longest = seconds > longest ? seconds : longest;
    }
    ck_assert_msg(longest > 0 && longest < 0.002, "the longest pause is of %g s", longest);
    ck_assert_msg(least_seconds_of_first_pauses() < 0.001, "50 pauses took processor time");

    backoff.idle_rounds = UINT32_MAX;
    comm_backoff_pause(&backoff);
    ck_assert_uint_eq(backoff.idle_rounds, UINT32_MAX);
}
END_TEST

START_TEST(pauses_leave_the_core_free)
{
    struct comm_backoff backoff = {0};
    const double processor_before = processor_seconds(), start_seconds = clock_seconds();
    while (clock_seconds() - start_seconds < 0.4)
        comm_backoff_pause(&backoff);
    const double waited = clock_seconds() - start_seconds, used = processor_seconds() - processor_before;
    ck_assert_msg(used < 0.5 * waited, "%g s of processor time in %g s of waiting", used, waited);
}
END_TEST

static void assert_heard(vkring_comm *comm, struct comm_line *line, const char *expected)
{
    const void *word;
    uint64_t bytes = 0;
    ck_assert_int_eq(comm_line_hear(comm, line, &word, &bytes), VKRING_OK);
    ck_assert_msg((word != NULL) == (expected != NULL), "heard %s, not %s", word ? "a word" : "nothing", expected ? "a word" : "nothing");
    if (expected) {
        ck_assert_uint_eq(bytes, COMM_WORD_BYTES);
        ck_assert_str_eq(word, expected);
    }
}

/* Also where a send is done only once its receiver takes it: then one word of a kind is under way, and others are not said. */
static void exchange_words(struct fake_fault fault)
{
    const bool untaken = fault.kind == FAKE_NEVER_TAKEN;
    const char first[COMM_WORD_BYTES] = "first", second[COMM_WORD_BYTES] = "second", last[COMM_WORD_BYTES] = "last";
    struct fake_network network;
    vkring_comm *comms[2];
    struct comm_line *lines[2], *again;
    fake_network_init(&network, 2, fault);
    for (uint32_t rank = 0; rank < 2; rank++) {
        const struct vkring_comm_functions table = fake_table(&network, rank);
        ck_assert_int_eq(vkring_comm_create(&table, &comms[rank]), VKRING_OK);
        ck_assert_int_eq(comm_line_find(comms[rank], 1 - rank, &lines[rank]), VKRING_OK);
        ck_assert_int_eq(comm_line_find(comms[rank], 1 - rank, &again), VKRING_OK);
        ck_assert_ptr_eq(again, lines[rank]);
    }
    comm_line_say(comms[0], lines[0], COMM_WORD_WAITING, first);
    comm_line_say(comms[0], lines[0], COMM_WORD_WAITING, second);
    comm_line_say(comms[0], lines[0], COMM_WORD_LAST, last);
    assert_heard(comms[1], lines[1], "first");
    if (!untaken)
        assert_heard(comms[1], lines[1], "second");
    assert_heard(comms[1], lines[1], "last");
    assert_heard(comms[1], lines[1], NULL);
    assert_heard(comms[0], lines[0], NULL);
    for (uint32_t rank = 0; rank < 2; rank++) {
        ck_assert_int_eq(comm_check_usable(comms[rank]), VKRING_OK);
        vkring_comm_destroy(&comms[rank]);
        ck_assert_uint_eq(network.ranks[rank].live_requests, 0);
    }
    fake_network_finish(&network);
}

START_TEST(words_hold_nothing_up)
{
    exchange_words(no_fault);
    exchange_words((struct fake_fault){.rank = 1, .kind = FAKE_NEVER_TAKEN});
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("comm");
    suite_add(suite, "allgather", all_ranks_get_all_blocks);
    suite_add(suite, "allgather", every_survivor_names_the_silent_rank_in_time);
    suite_add(suite, "allgather", a_rank_that_takes_nothing_is_named);
    suite_add(suite, "allgather", several_silent_ranks_are_counted);
    suite_add(suite, "allgather", progress_moves_the_deadline);
    suite_add(suite, "allgather", ranks_that_come_one_after_another_are_waited_for);
    suite_add(suite, "allgather", messages_of_the_wrong_length_name_their_sender);
    suite_add(suite, "allgather", damaged_and_repeated_messages_name_their_sender);
    suite_add(suite, "allgather", a_rank_that_gives_up_tells_the_others);
    suite_add(suite, "allgather", a_rank_without_memory_tells_the_others);
    suite_add(suite, "allgather", failures_of_the_table_reach_the_last_error);
    suite_add(suite, "allgather", a_block_too_large_for_memory_is_refused);
    suite_add(suite, "words", words_hold_nothing_up);
    suite_add(suite, "create", incomplete_tables_are_refused);
    suite_add(suite, "backoff", pauses_start_at_nothing_and_stay_short);
    suite_add(suite, "backoff", pauses_leave_the_core_free);
    return suite_run(suite);
}
