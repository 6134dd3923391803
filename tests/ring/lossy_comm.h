/* SPDX-License-Identifier: MIT */
/** A communicator that loses or spoils messages of one sender: what a network and a dying peer do. */
#ifndef VKRING_TESTS_LOSSY_COMM_H
#define VKRING_TESTS_LOSSY_COMM_H

#include <vkring/vkring.h>

struct lossy_rules {
    uint64_t good_sends; /* so many sends go out as they are; then */
    bool lose;           /* every later one is lost */
    bool spoil;          /* the next has a flipped bit */
    bool shorten;        /* the next lacks its last byte */
    bool fail;           /* the next is refused by the transport */
    bool words_wait;     /* words of ranks that wait are never taken */
    uint64_t sends;      /* counted here */
};

/** inner stays the caller's, as rules does: to be changed between calls. The result is destroyed before inner. */
enum vkring_status lossy_comm_create(vkring_comm *inner, struct lossy_rules *rules, vkring_comm **out_comm);

#endif
