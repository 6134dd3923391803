/* SPDX-License-Identifier: MIT */
/**
 * Partial results of a query row and head, of some of its keys, and how two of them become one.
 *
 *   record  [value_dim] output, normalised; then its log-sum of exp2(score in base 2) in two floats, as one would lose digits of large
 * scores
 *
 * The identity is a record whose log-sum is -inf: its output does not count. By sums of weights: Milakov & Gimelshein 2018.
 */
#ifndef VKRING_CACHE_MERGE_H
#define VKRING_CACHE_MERGE_H

#include <stdint.h>

static inline uint64_t merge_record_floats(uint64_t value_dim)
{
    return value_dim + 2;
}

/** Merges so many records into others. */
void merge_records(uint64_t value_dim, float *into, const float *from, uint64_t records);

/** What follows the output of a record: of lse and lse_residual as forward writes them. */
void merge_encode_sum(float lse, float residual, float out_sum[2]);
/** The natural logarithm of it, rounded once. */
float merge_lse(const float sum[2]);

#endif
