/* SPDX-License-Identifier: MIT */
/* A rank that is told of another's failure while it gathers passes that on: its own message may be lost with what it gives up. */
#include <comm/comm.h>
#include <stdio.h>

#include "../harness/suite.h"
#include "wire.h"

enum { RANKS = 5, BROKEN = 1, IN_BETWEEN, EARLY, TOLD };

static struct wire_net net;

static enum vkring_status look(struct comm_gather *gather)
{
    bool progress, done;
    return comm_gather_poll(gather, &progress, &done);
}

static void start_on_all(vkring_comm *comms[RANKS], struct comm_gather gathers[RANKS])
{
    struct wire *wires[RANKS];
    /* once it has the message of rank 0, and its own are with that one and with the rank in between */
    net.fault = (struct wire_fault){.kind = WIRE_BREAK, .rank = BROKEN, .nth = 3};
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        const uint64_t mine = rank;
        ck_assert_int_eq(wire_comm_create(&net, rank, RANKS, &wires[rank], &comms[rank]), VKRING_OK);
        wire_arm(wires[rank]);
        ck_assert_int_eq(comm_gather_start(comms[rank], &mine, sizeof(mine), &gathers[rank]), VKRING_OK);
    }
}

static void assert_told(struct comm_gather *gather, uint32_t by)
{
    char expected[80];
    snprintf(expected, sizeof(expected), "rank %d failed (%s), as rank %u says", BROKEN, vkring_status_string(VKRING_ERROR_COMM), by);
    ck_assert_int_eq(look(gather), VKRING_ERROR_PEER);
    ck_assert_str_eq(vkring_last_error()->message, expected);
    ck_assert_uint_eq(vkring_last_error()->rank, BROKEN);
}

/* A rank looks at the others in turn, so the one that breaks has its message at the rank in between, and not at the last, which is told
 * before it comes to the one in between: that would wait for it for nothing. */
START_TEST(a_rank_that_is_told_passes_it_on)
{
    vkring_comm *comms[RANKS] = {NULL};
    struct comm_gather gathers[RANKS];
    start_on_all(comms, gathers);
    ck_assert_int_eq(look(&gathers[0]), VKRING_OK);
    ck_assert_int_eq(look(&gathers[EARLY]), VKRING_OK);
    ck_assert_int_eq(look(&gathers[BROKEN]), VKRING_ERROR_COMM);
    assert_told(&gathers[TOLD], BROKEN);
    assert_told(&gathers[IN_BETWEEN], TOLD);
    comm_gather_abandon(&gathers[0]);
    comm_gather_abandon(&gathers[EARLY]);
    for (uint32_t rank = 0; rank < RANKS; rank++)
        vkring_comm_destroy(&comms[rank]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("refusals");
    suite_add(suite, "gather", a_rank_that_is_told_passes_it_on);
    return suite_run(suite);
}
