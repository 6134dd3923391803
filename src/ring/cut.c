/* SPDX-License-Identifier: MIT */
#include "cut.h"

#include <inttypes.h>
#include <math.h>

#include "../base/checked.h"

__extension__ typedef unsigned __int128 uint128;

/*
 * Shares are counted in units of 2^exponent, so small that shares like 0.1, 0.2 and 0.7 are whole numbers of them, and so large that
 * the shares of all ranks, each at most `largest`, add up to less than 2^63 units.
 */
static int unit_exponent(double largest, uint32_t ranks)
{
    int largest_exponent;
    int ranks_exponent;
    frexp(largest, &largest_exponent);
    frexp((double)ranks, &ranks_exponent);
    return largest_exponent + ranks_exponent - 63;
}

/* What lies below a unit is dropped: at most 2^-30 of the largest share, and nothing at all in ordinary cases. */
static uint64_t units_of(double share, int exponent)
{
    return (uint64_t)ldexp(share, -exponent);
}

static enum vkring_status find_largest(uint32_t ranks, const double *shares, double *out_largest)
{
    double largest = 0;
    for (uint32_t r = 0; r < ranks; r++) {
        if (!isfinite(shares[r]) || shares[r] < 0)
            return status_fail_at(VKRING_ERROR_INVALID_ARGUMENT, r, VKRING_NONE,
                                  "the share of rank %" PRIu32 " is %g, not a finite number >= 0", r, shares[r]);
        largest = fmax(largest, shares[r]);
    }
    if (largest == 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "no share is above 0");
    *out_largest = largest;
    return VKRING_OK;
}

static uint64_t boundary(uint64_t rows, uint64_t units_before, uint64_t units)
{
    return (uint64_t)((uint128)rows * units_before / units);
}

static void cut_equally(uint64_t rows, uint32_t ranks, uint64_t *out_rows_of_rank)
{
    for (uint32_t r = 0; r < ranks; r++)
        out_rows_of_rank[r] = boundary(rows, (uint64_t)r + 1, ranks) - boundary(rows, r, ranks);
}

static void cut_by_shares(uint64_t rows, uint32_t ranks, const double *shares, int exponent, uint64_t *out_rows_of_rank)
{
    uint64_t units = 0;
    uint64_t units_before = 0;
    for (uint32_t r = 0; r < ranks; r++)
        units += units_of(shares[r], exponent);
    for (uint32_t r = 0; r < ranks; r++) {
        uint64_t first = boundary(rows, units_before, units);
        units_before += units_of(shares[r], exponent);
        out_rows_of_rank[r] = boundary(rows, units_before, units) - first;
    }
}

enum vkring_status vkring_cut_rows(uint64_t rows, uint32_t ranks, const double *shares, uint64_t *out_rows_of_rank)
{
    enum vkring_status status;
    double largest = 0;
    if (ranks == 0)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "rows cannot be cut over 0 ranks");
    if (!shares) {
        cut_equally(rows, ranks, out_rows_of_rank);
        return VKRING_OK;
    }
    TRY(find_largest(ranks, shares, &largest), fail);
    cut_by_shares(rows, ranks, shares, unit_exponent(largest, ranks), out_rows_of_rank);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status cut_validate(const char *field, uint64_t rows, uint32_t ranks, const uint64_t *rows_of_rank)
{
    uint64_t sum = 0;
    for (uint32_t r = 0; r < ranks; r++) {
        if (!checked_add(sum, rows_of_rank[r], &sum))
            return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s adds up to 2^64 rows or more, not %" PRIu64, field, rows);
    }
    if (sum != rows)
        return status_fail(VKRING_ERROR_INVALID_ARGUMENT, "%s adds up to %" PRIu64 " rows, not %" PRIu64, field, sum, rows);
    return VKRING_OK;
}
