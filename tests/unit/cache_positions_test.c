/* SPDX-License-Identifier: MIT */
/* Where rows of a cache lie, and in which order those that ranks bring follow each other. */
#include <string.h>

#include <cache/cache.h>

#include "../harness/suite.h"

enum { RANKS = 3, BATCH = 4 };

static const uint64_t rows_of[RANKS][BATCH] = {{2, 0, 5, 0}, {0, 0, 1, 0}, {3, 1, 0, 0}};

static struct vkring_cache cache;

START_TEST(positions_lie_on_ranks_in_turn)
{
    for (uint32_t ranks = 1; ranks <= 5; ranks++) {
        uint64_t held[5] = {0};
        for (uint64_t length = 0; length < 40; length++) {
            for (uint32_t rank = 0; rank < ranks; rank++) {
                const uint64_t next = positions_next(length, rank, ranks);
                ck_assert_uint_eq(positions_of_rank(length, rank, ranks), held[rank]);
                ck_assert(next >= length && next < length + ranks && next % ranks == rank);
                ck_assert_uint_eq(next / ranks, held[rank]);
            }
            held[length % ranks]++;
        }
    }
}
END_TEST

/* As if all ranks had told each other their rows. */
static void agree_on_rows(void)
{
    struct exchange *exchange = &cache.exchange;
    const struct exchange_size size = {.ranks = RANKS, .batch = BATCH, .row_bytes = 8, .most_rows = 100};
    ck_assert_int_eq(exchange_create(&size, exchange), VKRING_OK);
    cache.ranks = RANKS;
    for (uint64_t sequence = 0; sequence < BATCH; sequence++) {
        uint64_t sum = 0;
        for (uint32_t rank = 0; rank < RANKS; rank++) {
            memcpy(exchange->words + (1 + rank) * exchange->word_count + EXCHANGE_FIELDS + BATCH, rows_of[rank], sizeof(rows_of[rank]));
            exchange->before[rank * BATCH + sequence] = sum;
            sum += rows_of[rank][sequence];
        }
        exchange->starts[sequence + 1] = exchange->starts[sequence] + sum;
    }
}

/* Every row of a window is met once, in order, as part of the right sequence. */
static void check_window(uint32_t rank, uint64_t first, uint64_t end)
{
    struct cache_runs runs = {.rank = rank, .next = first, .end = end};
    struct cache_run run;
    uint64_t own = 0;
    bool more = cache_runs_next(&runs, &cache, &run);
    for (uint64_t sequence = 0; sequence < BATCH; sequence++)
        for (uint64_t row = 0; row < rows_of[rank][sequence]; row++, own++) {
            uint64_t before = 0;
            for (uint32_t other = 0; other < rank; other++)
                before += rows_of[other][sequence];
            if (own < first || own >= end)
                continue;
            if (own >= run.own + run.rows)
                more = cache_runs_next(&runs, &cache, &run);
            ck_assert(more && run.sequence == sequence && own >= run.own && own < run.own + run.rows);
            ck_assert_uint_eq(run.index + own - run.own, before + row);
        }
    ck_assert(!cache_runs_next(&runs, &cache, &run));
}

START_TEST(rows_follow_each_other_by_sequence_then_by_rank)
{
    agree_on_rows();
    for (uint32_t rank = 0; rank < RANKS; rank++)
        for (uint64_t first = 0; first < 9; first++)
            for (uint64_t end = first; end < 10; end++)
                check_window(rank, first, end);
    ck_assert_uint_eq(cache_new_rows(&cache, 0), 5);
    ck_assert_uint_eq(cache_new_rows(&cache, 3), 0);
    exchange_destroy(&cache.exchange);
}
END_TEST

/* Every row of a window of each rank's is met once, sequence after sequence, in order of its place there. */
static void check_line(uint64_t first, uint64_t count)
{
    struct cache_line line = cache_line_start(&cache, first, count);
    struct cache_place place;
    uint64_t row = 0, met[RANKS] = {0}, sequence = 0, index = 0;
    while (cache_line_next(&line, &cache, &place)) {
        const struct cache_run *run = &place.run;
        struct cache_runs runs = {.rank = place.rank, .next = run->own, .end = run->own + run->rows};
        struct cache_run its;
        ck_assert(run->sequence > sequence || (run->sequence == sequence && run->index >= index));
        ck_assert_uint_eq(place.row, row);
        ck_assert_uint_eq(run->own, first + met[place.rank]);
        ck_assert(cache_runs_next(&runs, &cache, &its) && memcmp(&its, run, sizeof(its)) == 0);
        sequence = run->sequence;
        index = run->index + run->rows;
        row += run->rows;
        met[place.rank] += run->rows;
    }
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        uint64_t own = 0;
        for (int i = 0; i < BATCH; i++)
            own += rows_of[rank][i];
        ck_assert_uint_eq(met[rank], own > first ? min_u64(own - first, count) : 0);
    }
}

START_TEST(rows_line_up_by_sequence)
{
    agree_on_rows();
    for (uint64_t first = 0; first < 9; first++)
        for (uint64_t count = 1; count < 10; count++)
            check_line(first, count);
    exchange_destroy(&cache.exchange);
}
END_TEST

/* Which row of which rank is to be stored where, counted one by one. */
static uint64_t rows_from_to(const struct deal_piece *piece, uint32_t from, uint32_t to)
{
    struct cache_runs runs = {.rank = from, .next = piece->first, .end = piece->first + piece->count};
    struct cache_run run;
    uint64_t rows = 0;
    while (cache_runs_next(&runs, &cache, &run))
        for (uint64_t i = 0; i < run.rows; i++)
            rows += (cache.lengths[run.sequence] + run.index + i) % RANKS == to;
    return rows;
}

static void check_deal(const struct deal_piece *piece, uint64_t most_got)
{
    const struct deal *deal = &cache.deal;
    for (uint32_t peer = 0; peer < RANKS; peer++) {
        uint64_t got = 0;
        for (uint32_t from = 0; from < RANKS; from++) {
            ck_assert_uint_eq(deal->rows[from * RANKS + peer], rows_from_to(piece, from, peer));
            got += deal->rows[from * RANKS + peer];
        }
        ck_assert_uint_le(got, most_got);
        ck_assert_uint_eq(deal->given[peer + 1] - deal->given[peer], rows_from_to(piece, cache.rank, peer) * deal->size.row_bytes);
        ck_assert_uint_eq(deal->got[peer + 1] - deal->got[peer], rows_from_to(piece, peer, cache.rank) * deal->size.row_bytes);
    }
}

/* Rows of so many bytes that a piece has 4 of a rank, all of it one, or 1. */
START_TEST(rows_are_dealt_in_pieces_that_fit)
{
    const uint64_t row_bytes[] = {(uint64_t)1 << 18, 64, (uint64_t)1 << 24}, most_got[] = {4, 12, 3};
    uint64_t lengths[BATCH] = {3, 3, 1, 7};
    const struct deal_size size = {.ranks = RANKS, .row_bytes = row_bytes[_i], .call_rows = 12};
    struct deal_piece piece;
    uint64_t first = 0;
    agree_on_rows();
    cache.lengths = lengths;
    cache.exchange.most_rows = 7;
    ck_assert_int_eq(deal_create(&size, &cache.deal), VKRING_OK);
    for (; first < 7; first += piece.count)
        for (cache.rank = 0; cache.rank < RANKS; cache.rank++) {
            ck_assert(deal_piece_from(&cache, first, &piece) && piece.first == first && piece.count > 0);
            check_deal(&piece, most_got[_i]);
        }
    ck_assert(!deal_piece_from(&cache, first, &piece));
    ck_assert_uint_eq(first, 7);
    ck_assert_uint_le(deal_got_bytes(&size), most_got[_i] * row_bytes[_i]);
    deal_destroy(&cache.deal);
    exchange_destroy(&cache.exchange);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache positions");
    suite_add(suite, "positions", positions_lie_on_ranks_in_turn);
    suite_add(suite, "rows", rows_follow_each_other_by_sequence_then_by_rank);
    suite_add(suite, "line", rows_line_up_by_sequence);
    TCase *deals = tcase_create("deals");
    tcase_add_loop_test(deals, rows_are_dealt_in_pieces_that_fit, 0, 3);
    suite_add_tcase(suite, deals);
    return suite_run(suite);
}
