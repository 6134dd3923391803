/* SPDX-License-Identifier: MIT */
/** Which of the rows of an append go to which rank, a piece at a time, and those rows on their way. */
#ifndef VKRING_CACHE_DEAL_H
#define VKRING_CACHE_DEAL_H

#include "exchange.h"

struct deal_size {
    uint32_t ranks;
    uint64_t row_bytes; /* all parts of a row, one behind the other */
    uint64_t call_rows; /* that all ranks bring, at most */
};

struct deal {
    struct deal_size size;
    uint64_t most_rows;   /* that a rank gives in a piece, to all; it gets no more, but for one of each rank */
    uint64_t *rows;       /* [ranks][ranks], of a piece: from which rank to which */
    uint64_t *given;      /* [ranks + 1], where in `block` rows for each rank begin, in bytes */
    uint64_t *got;        /* [ranks + 1], the same of what each gives to this rank */
    uint64_t *next;       /* [ranks], where the next row for each goes */
    unsigned char *block; /* this rank's own, by where they go */
};

/** Own rows [first, first + count) of each rank, as far as it has them. */
struct deal_piece {
    uint64_t first, count;
};

/** How many rows a rank gives in a piece at most; 0 of one rank. */
uint64_t deal_most_rows(const struct deal_size *size);
/** What deal_create will take. */
uint64_t deal_bytes(const struct deal_size *size);
/** What rows that a rank gets in a piece take at most, of the communicator's memory. */
uint64_t deal_got_bytes(const struct deal_size *size);
enum vkring_status deal_create(const struct deal_size *size, struct deal *out_deal);
/** Accepts one that was not created. */
void deal_destroy(struct deal *deal);

/** After cache_agree: the piece behind `first`, and how its rows are dealt; the same on all ranks. False: there is none. */
bool deal_piece_from(struct vkring_cache *cache, uint64_t first, struct deal_piece *out_piece);

/** Where the next of this rank's rows of the piece is put, which has that position: row_bytes. */
unsigned char *deal_place(struct deal *deal, uint64_t position);
/**
 * Sends this rank's rows to where they are stored, and gets those that are stored here. Collective, of several ranks; the cache is lost
 * when it fails. out_rows: rank after rank by whom they come from, as of `got`, each rank's in its order, until the next call with the
 * communicator. Ranks that have no row for each other tell each other so.
 */
enum vkring_status deal_exchange(struct vkring_cache *cache, const unsigned char **out_rows);

#endif
