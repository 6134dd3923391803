/* SPDX-License-Identifier: MIT */
/** What ranks tell each other in a call of a cache: first whether all make the same one, then rows. */
#ifndef VKRING_CACHE_EXCHANGE_H
#define VKRING_CACHE_EXCHANGE_H

#include <vkring/cache.h>

#include "../comm/comm.h"

/** Numbers that a rank tells of a call before its lengths and rows. */
enum exchange_field { EXCHANGE_KIND, EXCHANGE_CACHE, EXCHANGE_WORD, EXCHANGE_STATUS, EXCHANGE_FIELDS };

struct exchange {
    uint64_t batch, word_count;
    uint64_t *words;    /* [1 + ranks][word_count]: the own message, then that of each rank */
    uint64_t *before;   /* [ranks][batch]: rows of the sequence that ranks before it bring */
    uint64_t *starts;   /* [batch + 1]: where a sequence's rows begin among the call's, sequence after sequence */
    uint64_t most_rows; /* that any rank brings, of all sequences */
    uint64_t *passed;   /* [ranks], of a line: own rows of sequences before */
};

/** row_bytes: of rows that will be gathered, all parts of them, 0 if none will be; most_rows: the most that a rank brings. */
struct exchange_size {
    uint32_t ranks;
    uint64_t batch, row_bytes, most_rows;
    uint64_t dealt_bytes; /* of the communicator's memory, that other rows take */
};

/** What exchange_create will take, and the communicator for rows. */
uint64_t exchange_bytes(const struct exchange_size *size);
/** How many rows a rank will give at a time; 0 of one rank, or if none will be gathered. */
uint64_t exchange_piece_rows(const struct exchange_size *size);
enum vkring_status exchange_create(const struct exchange_size *size, struct exchange *out_exchange);
/** Accepts one that was not created. */
void exchange_destroy(struct exchange *exchange);

/** Numbers that must be the same on all ranks when a cache is made. Collective. VKRING_ERROR_MISMATCH names the one that is not. */
enum vkring_status exchange_compare(struct exchange *exchange, vkring_comm *comm, const char *const names[EXCHANGE_FIELDS],
                                    const uint64_t numbers[EXCHANGE_FIELDS], double timeout_seconds);

enum cache_call_kind { CACHE_CALL_APPEND = 1, CACHE_CALL_ATTEND = 2 };

struct cache_call {
    enum cache_call_kind kind;
    uint64_t word;        /* what else must be the same on all ranks, such as a seed */
    const uint64_t *rows; /* [batch], of this rank; not read where its own checks failed */
};

/** Of all sequences, of rows [batch]. VKRING_ERROR_INVALID_ARGUMENT: 2^64 or more. */
enum vkring_status cache_count_rows(const struct vkring_cache *cache, const uint64_t *rows, uint64_t *out_count);
/** VKRING_ERROR_INVALID_ARGUMENT: an earlier call broke off, or a run is under way on the communicator. Sends nothing. */
enum vkring_status cache_check_usable(const struct vkring_cache *cache);

/**
 * All ranks learn how many rows each brings, and decide alike. Collective. mine: how this rank's own checks went.
 *
 * Returns mine if that failed; VKRING_ERROR_PEER if another rank's did; VKRING_ERROR_MISMATCH where calls, words or lengths differ;
 * VKRING_ERROR_INVALID_ARGUMENT on all ranks if a sequence gets more than q_len rows: the cache is as it was. After other errors it is
 * lost.
 */
enum vkring_status cache_agree(struct vkring_cache *cache, const struct cache_call *call, enum vkring_status mine);

/** After a call failed on this rank that others take part in: the cache is lost, and they are told. The last error stays. */
void cache_break_off(struct vkring_cache *cache);

/** After cache_agree: rows [batch] that a rank brings, and how many of a sequence all bring together. */
const uint64_t *cache_rows_of_rank(const struct vkring_cache *cache, uint32_t rank);
uint64_t cache_new_rows(const struct vkring_cache *cache, uint64_t sequence);

/** Adds what this rank sent since cache_agree began. */
void cache_count_sent(const struct vkring_cache *cache, uint64_t *bytes);

/** Rows of a rank that follow one another, of one sequence. */
struct cache_run {
    uint64_t sequence;
    uint64_t own;   /* the first one's place among the rank's rows of the call */
    uint64_t index; /* and among the sequence's */
    uint64_t rows;
};

/** The runs of a rank's rows from own row `next` to `end`. Start it with { .rank, .next, .end }. */
struct cache_runs {
    uint32_t rank;
    uint64_t next, end;
    uint64_t sequence, passed; /* passed: own rows of sequences before */
};
/** False after the last. */
bool cache_runs_next(struct cache_runs *runs, const struct vkring_cache *cache, struct cache_run *out_run);

/** Rows of all ranks in the order in which they are attended: sequence after sequence, of each by their positions. */
struct cache_line {
    uint64_t first, count; /* own rows [first, first + count) of each rank, as far as it has them */
    uint64_t sequence, row;
    uint32_t rank;
};

/** A run of a rank's rows, and the first one's place in the line. */
struct cache_place {
    struct cache_run run;
    uint32_t rank;
    uint64_t row;
};

/** After cache_agree. One line at a time. */
struct cache_line cache_line_start(struct vkring_cache *cache, uint64_t first, uint64_t count);
/** False after the last. */
bool cache_line_next(struct cache_line *line, struct vkring_cache *cache, struct cache_place *out_place);

/**
 * Gathers a block of each rank, all of the same size. Collective, of several ranks; the cache is lost when it fails. out_blocks: those of
 * all ranks, rank after rank, until the next call with the communicator.
 */
enum vkring_status cache_gather_piece(struct vkring_cache *cache, const void *mine, uint64_t block_bytes, const unsigned char **out_blocks);

#endif
